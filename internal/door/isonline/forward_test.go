package isonline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// next is the other node of a pair, which has every session.
type next struct {
	node  *node
	calls int
	away  bool
}

func (o *next) Elsewhere(tracker.Ref, uint64) (uint64, bool) { return 2, true }

func (o *next) Forward(ctx context.Context, node uint64, b []byte) ([]byte, error) {
	o.calls++
	if o.away {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "node %d does not answer", node)
	}
	return o.node.door.Forwarded(ctx, b)
}

// TestForward: every call on a session is served by the node that has it, with
// its answer and its errors, in every dialect.
func TestForward(t *testing.T) {
	t.Parallel()
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		in(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, here *node) {
			there := newNode(t, tracker.Policy{}, admit.Limits{})
			other := &next{node: there}
			here.door.cfg.Nodes = other
			there.door.cfg.Nodes = &next{node: here} // must not be asked: it would go round and round

			alice := there.device("alice").make()
			stream := alice.connect(nil)
			bob := there.device("bob").make()
			bob.connect(nil)
			far := here.device("alice")
			far.tok = alice.tok
			far.subscribe("bob")
			synctest.Wait()
			if list := stream.take(); len(list) < 2 {
				t.Errorf("got %v, want a snapshot of bob where the session is", list)
			}
			far.must(far.update(&isonlinev1.IsOnlineUpdate{Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY}))
			if got := bob.query("alice").GetSessions(); len(got) != 1 || got[0].GetStatus() != isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY {
				t.Errorf("got %v, want alice busy", got)
			}
			beat, err := far.api.HeartbeatIsOnlineSession(far.ctx(), &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: far.tok})
			if err != nil || !beat.GetStreamAttached() {
				t.Errorf("got %v, %v, want the answer of the other node", beat, err)
			}
			_, err = far.api.SubscribeToUserIsOnline(far.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: far.tok})
			if got := refusalOf(err); got.code != codes.InvalidArgument || got.reason != "FIELD_INVALID" {
				t.Errorf("without a user: got %v, want the other node's words", err)
			}
			was := other.calls
			_, err = far.api.HeartbeatIsOnlineSession(here.device("carol").ctx(), &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: far.tok})
			if got := refusalOf(err); got.reason != "SESSION_TOKEN_NOT_YOURS" || other.calls != was {
				t.Errorf("somebody else's token: got %v after %d calls, want it refused here", err, other.calls-was)
			}
			other.away = true
			err = far.update(&isonlinev1.IsOnlineUpdate{})
			if got := refusalOf(err); got.code != codes.Unavailable || got.reason != "NODE_UNAVAILABLE" || got.retry == 0 {
				t.Errorf("the node is away: got %v", err)
			}
			other.away = false
			far.must(closeSession(far, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT))
			if err := far.update(&isonlinev1.IsOnlineUpdate{}); refusalOf(err).reason != "SESSION_GONE" {
				t.Errorf("after the close: got %v", err)
			}
		})
	})
}

// Who gives rubbish gets an error and nothing else.
func FuzzForwarded(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x05hello\x00\x00"))
	f.Add([]byte("\x13/x/MakeIsOnlineSess\x00\x00\x01"))
	door := &Door{}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := door.Forwarded(t.Context(), b); err == nil {
			t.Errorf("%q was served without an access token", b)
		}
	})
}
