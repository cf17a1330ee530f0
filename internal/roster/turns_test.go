package roster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestRejoinWaitsForTheStore: sessions that come back while the store cannot be
// read see only themselves, and are told when they see again.
func TestRejoinWaitsForTheStore(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{Visibility: Friends}, func(t *testing.T, r *rig) {
		r.add("alice", "bob")
		r.restart()
		r.heard.take()
		r.store.RefuseRosters(errors.New("off"))
		var got []presence.UserID
		r.Rejoin(demo("alice"), presence.SessionID{1}, func(friends []presence.UserID) error {
			got = slices.Clone(friends)
			return errors.New("the session went")
		})
		pass(10 * time.Second)
		r.wantSight("alice", "bob", false, 0, 0)
		r.store.RefuseRosters(nil)
		pass(30 * time.Second)
		r.wantHeard("sight of alice: all")
		r.wantSight("alice", "bob", true, 0, 0)
		if !slices.Equal(got, []presence.UserID{"bob"}) {
			t.Errorf("the session was given %v, want bob", got)
		}
	})
}

// TestNothingChangesWhileAListIsTaken: what is added while somebody begins to
// follow is either on the list he got or told after.
func TestNothingChangesWhileAListIsTaken(t *testing.T) {
	t.Parallel()
	inBubble(t, AppConfig{}, func(t *testing.T, r *rig) {
		r.add("alice", "bob")
		r.heard.take()
		var wg sync.WaitGroup
		err := r.Follow(context.Background(), demo("alice"), func(friends []presence.UserID) error {
			wg.Go(func() { r.add("alice", "carol") })
			synctest.Wait()
			r.wantHeard()
			if len(friends) != 1 {
				t.Errorf("got %v, want bob alone", friends)
			}
			// Others are not held up, and who waits can give up.
			r.add("dave", "erin")
			r.wantHeard("friends of dave: +[erin] -[]")
			short, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if _, err := r.Remove(short, demo("alice"), "bob", false); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a change meanwhile, with a limit: got %v, want DeadlineExceeded", err)
			}
			return errors.New("marked")
		})
		if err == nil || !strings.Contains(err.Error(), "marked") {
			t.Errorf("Follow: got %v, want use's error", err)
		}
		wg.Wait()
		r.wantHeard("friends of alice: +[carol] -[]")
		r.wantFriends("alice", "bob", "carol")
	})
}

// TestManyAtOnce: whatever happens at the same time, who listens from the
// beginning knows in the end what is there, and nobody waits for ever.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, Friends)
	defer w.stop()
	w.mirror.world = nil // its checks are rapid's
	told := &told{lists: map[presence.UserID][]presence.UserID{}}
	w.listener = told
	w.restart()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			pick := func() presence.UserID { return w.users[rnd.IntN(len(w.users))] }
			ctx := context.Background()
			for n := range 200 {
				a, b := demo(pick()), pick()
				id := presence.SessionID{byte(i), byte(n)}
				switch rnd.IntN(13) {
				case 0, 1, 2:
					_, _ = w.Add(ctx, a, b, rnd.IntN(2) == 0)
				case 3, 4:
					_, _ = w.Remove(ctx, a, b, rnd.IntN(2) == 0)
				case 5:
					_, _, _ = w.Replace(ctx, a, []presence.UserID{b, pick()})
				case 6:
					_, _ = w.Block(ctx, a, b)
				case 7:
					_, _ = w.Unblock(ctx, a, b)
				case 8:
					_ = w.Hold(ctx, a, id)
					_ = w.Follow(ctx, a, func([]presence.UserID) error { return nil })
					w.Gone(id)
				case 9:
					w.Rejoin(a, id, func([]presence.UserID) error { return nil })
					w.Gone(id)
				case 10:
					w.store.LoseRosters(1, rnd.IntN(2) == 0)
				case 11:
					_ = w.Erase(ctx, a)
				case 12:
					w.SetApps(map[presence.AppID]AppConfig{"demo": {Visibility: Visibility(rnd.IntN(2)), MaxFriends: 3}})
				}
				if s := w.Sight(a); s != nil {
					s.Of(b)
				}
			}
		})
	}
	wg.Wait()
	w.store.Recover()
	w.SetApps(w.apps)
	for _, user := range w.users {
		got, err := w.Friends(context.Background(), demo(user))
		if err != nil {
			t.Fatal(err)
		}
		if !sameSet(got, told.lists[user]) {
			t.Errorf("friends of %s: who listens knows %v, want %v", user, told.lists[user], got)
		}
		if _, err := w.Blocks(context.Background(), demo(user)); err != nil {
			t.Fatal(err)
		}
	}
	// What is in memory is what is stored.
	before := w.everything(t)
	w.restart()
	if after := w.everything(t); before != after {
		t.Errorf("before the restart:\n%s\nand after:\n%s", before, after)
	}
}

func sameSet(a, b []presence.UserID) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// everything is what all users see of all, as text.
func (w *world) everything(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, user := range w.users {
		s, err := w.SightOf(context.Background(), demo(user))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := w.Blocks(context.Background(), demo(user))
		fmt.Fprintln(&b, user, "blocks", blocks, err)
		for _, target := range w.users {
			visible, since, seen := s.Of(target)
			fmt.Fprintln(&b, user, target, visible, since, seen)
		}
	}
	return b.String()
}

// told keeps lists by what it hears.
type told struct {
	mu    sync.Mutex // guards lists
	lists map[presence.UserID][]presence.UserID
}

func (l *told) FriendsChanged(user presence.User, added, removed []presence.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists[user.ID] = append(without(l.lists[user.ID], removed), added...)
}

func (l *told) SightChanged(presence.User, []presence.UserID) {}
