package roster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestBlockHidesOneWay(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx, user := context.Background(), demo("alice")
		r.present.comes("alice")
		r.present.goes(1000, "carol")
		moment := presence.At(time.Now())
		block := func(blocker, other presence.UserID, want bool) {
			t.Helper()
			if changed := must[bool](t)(r.Block(ctx, demo(blocker), other)); changed != want {
				t.Errorf("%s blocks %s: got changed %v, want %v", blocker, other, changed, want)
			}
		}
		block("alice", "bob", true)
		block("carol", "bob", true)
		block("dave", "bob", true)
		r.wantHeard("sight of bob: [alice]", "sight of bob: [carol]", "sight of bob: [dave]")
		<-time.After(time.Hour)
		r.present.goes(presence.At(time.Now()), "alice", "carol", "dave")
		block("alice", "bob", false)
		for range 2 {
			r.wantSight("bob", "alice", false, moment, moment)
			r.wantSight("bob", "carol", false, moment, 1000)
			r.wantSight("bob", "dave", false, moment, 0)
			r.wantSight("bob", "bob", true, 0, 0)
			r.wantSight("alice", "bob", true, 0, 0)
			if r.Sight(user) != nil {
				t.Error("who blocks has a Sight: want nil")
			}
			r.restart()
		}
		block("alice", "carol", true)
		if got := must[[]presence.UserID](t)(r.Blocks(ctx, user)); !slices.Equal(got, []presence.UserID{"bob", "carol"}) {
			t.Errorf("Blocks: got %v, want bob and carol", got)
		}
		r.heard.take()
		if !must[bool](t)(r.Unblock(ctx, user, "bob")) || must[bool](t)(r.Unblock(ctx, user, "bob")) {
			t.Error("unblocking twice: want a change once")
		}
		r.wantHeard("sight of bob: [alice]")
		r.wantSight("bob", "alice", true, 0, 0)
		r.restart()
		r.wantSight("bob", "alice", true, 0, 0)
		r.wantSight("bob", "carol", false, moment, 1000)
	})
}

// TestBlockRefusedHalfWay: a block that was stored, and then not stored again
// with a later last seen, is read back and holds, although its caller was told
// to try again.
func TestBlockRefusedHalfWay(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		r.present.comes("alice")
		looks := 0
		r.present.mu.Lock()
		r.present.asked = func(presence.UserID) {
			if looks++; looks == 2 { // she leaves while the block is on its way to the disk
				<-time.After(time.Second)
				r.present.goes(presence.At(time.Now()), "alice")
				r.store.RefuseRosters(errors.New("the disk is full"))
			}
		}
		r.present.mu.Unlock()
		_, err := r.Block(context.Background(), demo("alice"), "bob")
		wantKind(t, err, fault.FriendsUnavailable)
		r.store.RefuseRosters(nil)
		pass(time.Minute)
		if s := r.Sight(demo("bob")); s == nil {
			t.Fatal("the block is stored and nobody knows of it before the next start")
		}
		r.wantHeard("sight of bob: [alice]")
	})
}
