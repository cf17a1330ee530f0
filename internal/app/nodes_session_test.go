package app_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func (s speaker) watch(tok, user string) {
	s.t.Helper()
	if _, err := s.SubscribeToUserIsOnline(s.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: tok, UserId: user}); err != nil {
		s.t.Fatalf("subscribe to %s: %v", user, err)
	}
}

func (s speaker) update(tok string, to isonlinev1.IsOnlineStatus) error {
	_, err := s.UpdateIsOnlineSession(s.ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: tok, Update: &isonlinev1.IsOnlineUpdate{Status: to}})
	return err
}

// TestASessionAtAnyNode: every call on a session is served at every node, before it
// is connected too, and it comes back anywhere with what it watches, also when the
// node that had it is gone.
func TestASessionAtAnyNode(t *testing.T) {
	nodes := cluster(t, 3)
	alice := []speaker{speak(t, nodes[0], "alice"), speak(t, nodes[1], "alice"), speak(t, nodes[2], "alice")}
	bob, carol := speak(t, nodes[0], "bob"), speak(t, nodes[1], "carol")
	bobs, carols := bob.make(), carol.make()
	bob.connect(bobs)
	carol.connect(carols)

	// Made at the first, filled at the second, connected at the third.
	hers := alice[0].make()
	alice[1].watch(hers, "bob")
	alice[2].watch(hers, "carol")
	if _, err := alice[2].UnsubscribeFromUserIsOnline(alice[2].ctx, &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: hers, UserId: "carol"}); err != nil {
		t.Fatalf("unsubscribe before Connect: %v", err)
	}
	if err := alice[1].update(hers, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("update before Connect: got %v, want the answer of the node that made it", err)
	}
	stream := alice[2].connect(hers)
	happens(t, "bob is told, whom the second node was asked for", func() bool { _, n := stream.last("bob"); return n > 0 })
	if _, n := stream.last("carol"); n > 0 {
		t.Error("carol is told, who was unsubscribed from")
	}
	for i, to := range []isonlinev1.IsOnlineStatus{isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY} {
		if err := alice[i].update(hers, to); err != nil {
			t.Fatalf("update at node %d: %v", i, err)
		}
		happens(t, "her update is seen", func() bool { return bob.sees("alice") == to.String() })
		beat, err := alice[i].HeartbeatIsOnlineSession(alice[i].ctx, &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: hers})
		if err != nil || !beat.GetStreamAttached() {
			t.Errorf("heartbeat at node %d: got %v, %v", i, beat, err)
		}
	}
	alice[0].watch(hers, "carol")
	happens(t, "carol is told, whom the first node was asked for", func() bool { _, n := stream.last("carol"); return n > 0 })

	// Its node says goodbye at once: what it watches is known to the others.
	left := alice[2].make()
	alice[2].connect(left)
	stop(t, nodes[2])
	again := alice[1].connect(hers)
	for _, of := range []string{"bob", "carol"} {
		happens(t, of+" is told at the next node", func() bool { _, n := again.last(of); return n > 0 })
	}
	if got := bob.sees("alice"); got != isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY.String() {
		t.Errorf("after it came back: %s", got)
	}

	// One that nobody came back to is answered for by those that are left.
	began := time.Now()
	if err := alice[0].update(left, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY); status.Code(err) != codes.Unavailable {
		t.Errorf("update of a session whose node is gone: got %v, want it to say that it must connect first", err)
	}
	if _, err := alice[0].CloseIsOnlineSession(alice[0].ctx, &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: left}); err != nil {
		t.Errorf("close of a session whose node is gone: %v", err)
	}
	// Each may wait 5 s for the log, which may have no leader just then.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("that took %v", took)
	}
	happens(t, "an update after the close is answered SESSION_GONE, also where the close is read late", func() bool {
		err := alice[1].update(left, isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY)
		if code := status.Code(err); code != codes.NotFound && code != codes.Unavailable {
			t.Errorf("update after the close: got %v, want SESSION_GONE, or at first to be asked again", err)
		}
		return status.Code(err) == codes.NotFound
	})
}
