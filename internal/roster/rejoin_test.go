package roster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestRejoinTriesUntilItWorks(t *testing.T) {
	t.Parallel()
	for _, v := range []Visibility{Everyone, Friends} {
		inSourced(t, v, func(t *testing.T, r *rig, b *backend) {
			b.fail(errDown)
			var used [3][]presence.UserID
			for i := range used {
				r.Rejoin(demo("alice"), presence.SessionID{byte(i)}, func(friends []presence.UserID) error {
					if used[i] != nil {
						t.Errorf("session %d was given a list twice", i)
					}
					used[i] = slices.Clone(friends)
					return nil
				})
			}
			r.Rejoin(demo("bob"), presence.SessionID{9}, nil)
			pass(time.Minute)
			r.wantSight("alice", "bob", v == Everyone, 0, 0)
			r.wantSight("alice", "alice", true, 0, 0)
			r.Gone(presence.SessionID{1})
			if n := b.took(); n < 6 || n > 60 {
				t.Errorf("in a minute the source was asked %d times, want it with a growing pause", n)
			}
			b.fail(nil)
			r.heard.take()
			pass(30 * time.Second)
			for i, want := range [][]presence.UserID{{"bob", "carol"}, nil, {"bob", "carol"}} {
				if !slices.Equal(used[i], want) {
					t.Errorf("session %d: got %v, want %v", i, used[i], want)
				}
			}
			r.wantSight("alice", "bob", true, 0, 0)
			if heard := r.heard.take(); v == Friends && !slices.Contains(heard, "sight of alice: all") {
				t.Errorf("the listener heard %q, want that alice sees again", heard)
			}
			b.set("alice", "bob")
			pass(31 * time.Second)
			if heard := r.heard.take(); !slices.Contains(heard, "friends of alice: +[] -[carol]") {
				t.Errorf("the listener heard %q, want what changed since", heard)
			}
		})
	}
}

// A device that connects again and again while its list cannot be read waits once.
func TestRejoinAgainAndAgain(t *testing.T) {
	t.Parallel()
	inSourced(t, Friends, func(t *testing.T, r *rig, b *backend) {
		b.fail(errDown)
		for range 100 {
			r.Rejoin(demo("alice"), presence.SessionID{1}, nil)
		}
		if n := r.Counts().Waiting; n != 1 {
			t.Errorf("one session waits %d times, want once", n)
		}
		r.Gone(presence.SessionID{1})
		if n := r.Counts().Waiting; n != 0 {
			t.Errorf("after it went: got %d that wait, want none", n)
		}
		b.fail(nil)
		pass(time.Minute)
	})
}

func TestRejoinEndsWithTheNode(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		b.takes = time.Hour
		for i := range 200 {
			r.Rejoin(demo(presence.UserID(fmt.Sprint("user ", i))), presence.SessionID{byte(i)}, func([]presence.UserID) error {
				t.Error("a list was given, want none")
				return nil
			})
		}
		synctest.Wait()
		wantAsked(t, b, workers)
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took > 0 {
			t.Errorf("Stop took %v, want no waiting", took)
		}
	})
}

// TestHoldNeedsTheList: where only friends see each other a session cannot begin
// without knowing whom it may see.
func TestHoldNeedsTheList(t *testing.T) {
	t.Parallel()
	inSourced(t, Friends, func(t *testing.T, r *rig, b *backend) {
		b.fail(errDown)
		wantKind(t, r.Hold(context.Background(), demo("alice"), presence.SessionID{1}), fault.FriendsUnavailable)
		_, err := r.SightOf(context.Background(), demo("alice"))
		wantKind(t, err, fault.FriendsUnavailable)
		pass(time.Hour)
		if n := b.took(); n != 2 {
			t.Errorf("after Hold failed the source was asked %d times, want only when called", n)
		}
		b.fail(nil)
		r.session("alice", 1)
		r.wantSight("alice", "carol", true, 0, 0)
		// The source goes down and the node restarts: what was known is known.
		r.present.comes("carol")
		b.set("alice", "bob")
		pass(31 * time.Second)
		at := presence.At(time.Now())
		_, since, seen := r.Sight(demo("alice")).Of("carol")
		if since == 0 || since != seen || since > at || since < at-31_000 {
			t.Errorf("carol went out of sight at %d, last seen %d, want the moment when the list was read", since, seen)
		}
		b.fail(errDown)
		for range 2 {
			r.session("alice", 2) // what was known will do to see, and not to follow
			_, err = r.follow("alice")
			pass(61 * time.Second)
			r.wantSight("alice", "bob", true, 0, 0)
			r.wantSight("alice", "carol", false, since, seen)
			if _, err := r.SightOf(context.Background(), demo("alice")); err != nil {
				t.Errorf("SightOf: got %v, want what was known", err)
			}
			r.restart()
		}
		wantKind(t, err, fault.FriendsUnavailable)
		r.session("alice", 1)
		b.fail(nil)
		b.set("alice", "bob", "dave")
		pass(31 * time.Second)
		r.wantSight("alice", "dave", true, 0, 0)
	})
}
