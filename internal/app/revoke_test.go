package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// issuedAt is a call by a user of the demo app whose access token is of that
// moment.
func issuedAt(t *testing.T, user presence.UserID, at time.Time) context.Context {
	t.Helper()
	iss, err := config.Development().Issuer("demo")
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := token.Sign(iss, user, time.Hour, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+jwt)
}

// TestRevokedTokens: a drop that revokes makes tokens of before void at every
// call, also those that were believed before, over a restart and until the user
// is erased; newer ones and other users' are good.
func TestRevokedTokens(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	a := running(t, p)
	now := time.Now()
	old, other := issuedAt(t, "bob", now.Add(-time.Minute)), issuedAt(t, "carol", now.Add(-time.Minute))
	wants := func(a *app.App, name string, ctx context.Context, void bool) {
		t.Helper()
		conn, _ := dial(t, a)
		_, err := isonlinev1.NewIsOnlineServiceClient(conn).GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "alice"})
		why := ""
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				why = info.GetReason()
			}
		}
		if void && why != "JWT_EXPIRED" || !void && err != nil {
			t.Errorf("%s: got %v (%s), want it void: %v", name, err, why, void)
		}
	}
	wants(a, "before", old, false)
	if got := server(t, a, "DELETE", "/users/bob/sessions", ""); strings.Contains(got, "revoked") {
		t.Errorf("a drop without revoke_tokens answers %s", got)
	}
	wants(a, "after a drop alone", old, false)
	if got := server(t, a, "DELETE", "/users/bob/sessions?revoke_tokens=true", ""); !strings.Contains(got, `"revoked_before":"`) {
		t.Errorf("a drop with revoke_tokens answers %s", got)
	}
	fresh := issuedAt(t, "bob", time.Now().Add(20*time.Second)) // within the leeway of clocks
	wants(a, "of before", old, true)
	wants(a, "of after", fresh, false)
	wants(a, "of another user", other, false)

	stop(t, a)
	p.GRPC, p.HTTP = nil, nil
	b := running(t, p)
	wants(b, "of before, after a restart", old, true)
	server(t, b, "DELETE", "/users/bob", "")
	wants(b, "of before, after an erasure", old, false)
}
