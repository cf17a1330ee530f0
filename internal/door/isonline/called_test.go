package isonline

import (
	"slices"
	"sync"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Every call is told of with its reason, whatever its dialect.
func TestCallsAreTold(t *testing.T) {
	t.Parallel()
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		in(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			var mu sync.Mutex
			var got []string
			n.door.cfg.Called = func(method, code string, took time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if took < 0 {
					method = "stream " + method
				}
				got = append(got, method+" "+code)
			}
			alice := n.device("alice").make()
			alice.api.GetUserIsOnline(alice.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: "\x00"})
			firstError(alice, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: "x"})
			alice.api.CloseIsOnlineSession(alice.ctx(), &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: "x"})
			mu.Lock()
			defer mu.Unlock()
			for _, want := range []string{"MakeIsOnlineSession OK", "GetUserIsOnline FIELD_INVALID", "CloseIsOnlineSession SESSION_TOKEN_INVALID", "stream ConnectToIsOnlineSession SESSION_TOKEN_INVALID"} {
				if !slices.Contains(got, want) {
					t.Errorf("got %q, want %q in it", got, want)
				}
			}
		})
	})
}
