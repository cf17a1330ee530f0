package roster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestOnlyFriendsSeeEachOther(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.add("alice", "bob")
		r.add("alice", "carol")
		r.add("alice", "dave")
		r.present.comes("bob", "erin")
		r.present.goes(500, "carol")
		r.session("alice", 1)
		r.wantSight("alice", "alice", true, 0, 0)
		r.wantSight("alice", "bob", true, 0, 0)
		r.wantSight("alice", "erin", false, 0, 0) // never a friend: as one never heard of
		r.heard.take()

		moment := presence.At(time.Now())
		for _, id := range []presence.UserID{"bob", "carol", "dave"} {
			must[bool](t)(r.Remove(ctx, demo("alice"), id, false))
		}
		r.wantHeard("friends of alice: +[] -[bob]", "sight of alice: [bob]", "friends of alice: +[] -[carol]", "sight of alice: [carol]",
			"friends of alice: +[] -[dave]", "sight of alice: [dave]")
		pass(time.Hour)
		r.present.goes(presence.At(time.Now()), "bob", "carol", "dave")
		for range 2 {
			r.wantSight("alice", "bob", false, moment, moment)
			r.wantSight("alice", "carol", false, moment, 500)
			r.wantSight("alice", "dave", false, moment, 0)
			r.restart()
			r.wantSight("alice", "bob", false, 0, 0) // nobody holds alice: she sees nobody
			r.session("alice", 1)
		}
		r.heard.take()
		r.add("alice", "bob")
		r.wantHeard("sight of alice: [bob]", "friends of alice: +[bob] -[]")
		r.wantSight("alice", "bob", true, 0, 0)
		// A direct query reads what it needs.
		r.add("frank", "bob")
		r.restart()
		s, err := r.SightOf(ctx, demo("frank"))
		if err != nil {
			t.Fatal(err)
		}
		if visible, _, _ := s.Of("bob"); !visible {
			t.Error("SightOf frank: bob is not visible, want it: he is on the list")
		}
		if visible, _, _ := s.Of("alice"); visible {
			t.Error("SightOf frank: alice is visible, want it not: she is on no list of his")
		}
	})
}

// TestVeilsOverlap: who is blocked and no friend any more is shown the older
// moment, whichever of the two ends first.
func TestVeilsOverlap(t *testing.T) {
	t.Parallel()
	for _, blockFirst := range []bool{true, false} {
		inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
			ctx := context.Background()
			r.add("alice", "bob")
			r.session("alice", 1)
			r.present.comes("bob")
			moment := presence.At(time.Now())
			block := func() { must[bool](t)(r.Block(ctx, demo("bob"), "alice")) }
			remove := func() { must[bool](t)(r.Remove(ctx, demo("alice"), "bob", false)) }
			first, second := block, remove
			if !blockFirst {
				first, second = remove, block
			}
			first()
			pass(time.Minute)
			second()
			for range 2 {
				r.wantSight("alice", "bob", false, moment, moment)
				r.restart()
				r.session("alice", 1)
			}
			if blockFirst {
				must[bool](t)(r.Unblock(ctx, demo("bob"), "alice"))
			} else {
				r.add("alice", "bob")
			}
			r.wantSight("alice", "bob", false, moment, moment)
			must[bool](t)(r.Unblock(ctx, demo("bob"), "alice"))
			r.add("alice", "bob")
			r.wantSight("alice", "bob", true, 0, 0)
		})
	}
}

// TestBlockOfSomebodyWhoLeavesMeanwhile: between the freezing and the disk the
// watcher may be told that he left, and that must not be taken back.
func TestBlockOfSomebodyWhoLeavesMeanwhile(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		r.present.comes("bob")
		asked := 0
		r.present.asked = func(presence.UserID) {
			if asked++; asked == 2 { // after the first save
				<-time.After(20 * time.Millisecond)
				r.present.goes(presence.At(time.Now()), "bob")
			}
		}
		begin := presence.At(time.Now())
		must[bool](t)(r.Block(context.Background(), demo("bob"), "alice"))
		r.wantSight("alice", "bob", false, begin, begin+20)
		r.restart()
		r.wantSight("alice", "bob", false, begin, begin+20)
	})
}

// TestAppsChange: what an app's users may see, and where its lists are, can
// change under sessions that are open.
func TestAppsChange(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		set := func(a AppConfig) {
			t.Helper()
			r.heard.take()
			r.SetApps(map[presence.AppID]AppConfig{"demo": a, "new": {}})
			if a.Visibility == Friends {
				r.wantSight("alice", "carol", false, 0, 0) // at once, before the list is read
			}
			synctest.Wait()
		}
		r.add("alice", "bob")
		r.session("alice", 1)
		r.wantSight("alice", "carol", true, 0, 0)
		set(AppConfig{Visibility: Friends})
		r.wantHeard("sight of alice: all")
		r.wantSight("alice", "bob", true, 0, 0)
		r.wantSight("alice", "carol", false, 0, 0)

		b := &backend{lists: map[presence.UserID][]presence.UserID{"alice": {"carol"}}}
		r.wantFollow("alice", "bob")
		set(AppConfig{Visibility: Friends, Source: b})
		if heard := r.heard.take(); !slices.Contains(heard, "friends of alice: +[carol] -[bob]") {
			t.Errorf("another source: the listener heard %q, want the difference of the lists", heard)
		}
		r.wantFollow("alice", "carol")
		set(AppConfig{})
		r.wantSight("alice", "dave", true, 0, 0)
		r.wantFollow("alice", "carol") // what the source said last, and we kept
		// Who comes back while everybody sees everybody is no former friend any more.
		r.add("alice", "bob")
		set(AppConfig{Visibility: Friends})
		must[bool](t)(r.Remove(context.Background(), demo("alice"), "bob", false))
		r.wantSight("alice", "bob", false, presence.At(time.Now()), 0)
		r.restart()
		r.wantFriends("alice", "carol")
		r.session("alice", 1)
		set(AppConfig{})
		r.SetApps(nil) // an app that is gone keeps its last configuration
		r.wantFollow("alice", "carol")
		r.Gone(presence.SessionID{1})
		set(AppConfig{Visibility: Friends})
		r.wantHeard()
	})
}

// TestUnknownResults: what became of a write is not known; what is stored
// counts, and is told.
func TestUnknownResults(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{true, false} {
		inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
			ctx := context.Background()
			r.session("alice", 1)
			r.add("alice", "bob")
			r.heard.take()
			r.store.LoseRosters(1, stored)
			_, err := r.Add(ctx, demo("alice"), "carol", false)
			wantKind(t, err, fault.FriendsUnavailable)
			r.store.RefuseRosters(errors.New("off"))
			pass(20 * time.Second)
			r.store.RefuseRosters(nil)
			pass(time.Minute) // nobody asks: it is looked up behind
			want := []presence.UserID{"bob"}
			if stored {
				want = append(want, "carol")
				if got := r.heard.take(); !slices.Contains(got, "friends of alice: +[carol] -[]") {
					t.Errorf("stored: the listener heard %q, want that carol came", got)
				}
			}
			r.wantFriends("alice", want...)
			r.wantSight("alice", "carol", stored, 0, 0)
			changed, err := r.Add(ctx, demo("alice"), "carol", false)
			if err != nil || changed == stored {
				t.Errorf("again: got changed %v, %v, want %v", changed, err, !stored)
			}

			r.heard.take()
			r.store.LoseRosters(1, stored)
			_, err = r.Block(ctx, demo("bob"), "alice")
			wantKind(t, err, fault.FriendsUnavailable)
			pass(time.Minute)
			if stored {
				r.wantHeard("sight of alice: [bob]")
			} else {
				r.wantHeard()
			}
			changed, err = r.Block(ctx, demo("bob"), "alice")
			if err != nil || changed == stored {
				t.Errorf("block again: got changed %v, %v, want %v", changed, err, !stored)
			}
			r.store.LoseRosters(1, stored)
			_, err = r.Unblock(ctx, demo("bob"), "alice")
			wantKind(t, err, fault.FriendsUnavailable)
			if got, err := r.Blocks(ctx, demo("bob")); err != nil || len(got) == 1 == stored {
				t.Errorf("Blocks after an unknown end: got %v, %v, want what is stored", got, err)
			}
		})
	}
}

// TestBothDirectionsAreMended: what a crash left between two lists, a repeat
// mends.
func TestBothDirectionsAreMended(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.store.LoseRosters(1, true)
		if _, err := r.Add(ctx, demo("bob"), "alice", true); err == nil {
			t.Fatal("a write with an unknown result: got no error, want one")
		}
		r.restart()
		if !must[bool](t)(r.Add(ctx, demo("bob"), "alice", true)) {
			t.Error("the repeat changed nothing, want the other half")
		}
		r.wantFriends("alice", "bob")
		r.wantFriends("bob", "alice")
		if must[bool](t)(r.Add(ctx, demo("alice"), "bob", true)) {
			t.Error("the same from the other side changed something, want nothing")
		}
		r.store.LoseRosters(1, true)
		if _, err := r.Remove(ctx, demo("bob"), "alice", true); err == nil {
			t.Fatal("a write with an unknown result: got no error, want one")
		}
		if !must[bool](t)(r.Remove(ctx, demo("bob"), "alice", true)) {
			t.Error("the repeat changed nothing, want the other half")
		}
		r.wantFriends("alice")
		r.wantFriends("bob")
	})
}

func TestRefusedWritesChangeNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
		ctx := context.Background()
		r.add("alice", "bob")
		r.session("alice", 1)
		r.heard.take()
		r.store.RefuseRosters(errors.New("disk full"))
		_, err := r.Add(ctx, demo("alice"), "carol", true)
		wantKind(t, err, fault.FriendsUnavailable)
		_, err = r.Block(ctx, demo("bob"), "alice")
		wantKind(t, err, fault.FriendsUnavailable)
		wantKind(t, r.Erase(ctx, demo("alice")), fault.FriendsUnavailable)
		_, err = r.Friends(ctx, demo("carol"))
		wantKind(t, err, fault.FriendsUnavailable)
		wantKind(t, r.Hold(ctx, demo("carol"), presence.SessionID{2}), fault.FriendsUnavailable)
		r.wantHeard()
		r.wantFriends("alice", "bob")
		r.wantSight("alice", "bob", true, 0, 0)
		r.store.RefuseRosters(nil)
		r.wantFriends("carol")
	})
}

// TestOnlyFriendsSeeEachOtherFromNowOn: the lists of a source go on under another
// visibility, also while it is down; nobody is told that he has no friends.
func TestOnlyFriendsSeeEachOtherFromNowOn(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
			r.session("alice", 1)
			r.wantFollow("alice", "bob", "carol")
			r.heard.take()
			if down {
				b.fail(errDown)
			}
			app := r.app("demo")
			app.Visibility = Friends
			r.SetApps(map[presence.AppID]AppConfig{"demo": app})
			synctest.Wait()
			r.wantHeard("sight of alice: all")
			r.wantSight("alice", "bob", true, 0, 0)
			r.wantSight("alice", "dave", false, 0, 0)
			b.fail(nil)
			pass(31 * time.Second)
			r.heard.take()
			// It was stored, so that a restart while the source is down knows it.
			b.fail(errDown)
			r.restart()
			r.session("alice", 1)
			r.wantSight("alice", "carol", true, 0, 0)
		})
	}
}
