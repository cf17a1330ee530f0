package isonline

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

// A device is told the times of its platform.
func TestTimesOfAPlatform(t *testing.T) {
	t.Parallel()
	policy := tracker.Policy{Platforms: map[string]tracker.PlatformPolicy{"iOS": {HeartbeatTimeout: 90 * time.Second, Grace: 20 * time.Second}}}
	inBubble(t, policy, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice")
		for platform, want := range map[string][2]time.Duration{"ios": {30 * time.Second, 20 * time.Second}, "web": {35 * time.Second / 3, 6 * time.Second}} {
			r, err := d.api.MakeIsOnlineSession(d.ctx(), &isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{Platform: platform}})
			d.must(err)
			n.log.Secret(r.GetSessionToken())
			if r.GetHeartbeatInterval().AsDuration() != want[0] || r.GetGrace().AsDuration() != want[1] {
				t.Errorf("%s: interval %v, grace %v; want %v", platform, r.GetHeartbeatInterval().AsDuration(), r.GetGrace().AsDuration(), want)
			}
		}
	})
}

// Other keys, limits and apps count from the next call on; streams stay, also
// those of an app that is gone.
func TestSettingsChangeUnderStreams(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{HeartbeatTimeout: 30 * time.Second}, admit.Limits{}, func(t *testing.T, n *node) {
		alice := n.device("alice").make()
		stream := alice.connect(nil)
		stream.take()
		n.tracker.SetPolicies(map[presence.AppID]tracker.Policy{"other": {}})
		next := doortest.OtherIssuer()
		next.Keys = []token.Key{{ID: "o2", Secret: []byte("the next secret of the other app, of thirty-two bytes or more")}}
		verifier, err := token.NewVerifier([]token.Issuer{next}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		n.gate.SetVerifier(verifier)
		n.gate.SetLimits(map[presence.AppID]admit.Limits{"other": {Batch: 7}})

		refused := func(what, jwt string) {
			t.Helper()
			_, err := alice.api.GetUserIsOnline(alice.bearer("Bearer "+jwt), &isonlinev1.GetUserIsOnlineRequest{UserId: "bob"})
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("%s: got %v, want Unauthenticated", what, err)
			}
		}
		refused("a token of the app that is gone", alice.jwt)
		refused("a token of the old key", n.sign(doortest.OtherIssuer(), "bob", time.Hour))
		bob := &device{n: n, user: "bob", jwt: n.sign(next, "bob", time.Hour), conn: alice.conn, api: alice.api}
		r, err := bob.api.MakeIsOnlineSession(bob.ctx(), &isonlinev1.MakeIsOnlineSessionRequest{})
		bob.must(err)
		n.log.Secret(r.GetSessionToken())
		if got := r.GetLimits().GetMaxBatch(); got != 7 {
			t.Errorf("batch of the other app: %d, want 7", got)
		}
		wait(2 * time.Minute)
		for _, m := range stream.take() {
			if m.GetKeepAlive() == nil {
				t.Errorf("the stream got %v, want keep-alives alone", m)
			}
		}
		stream.stands()
	})
}
