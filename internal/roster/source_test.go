package roster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// backend is a source in memory that can be down or slow.
type backend struct {
	mu    sync.Mutex // guards all below
	lists map[presence.UserID][]presence.UserID
	down  error
	takes time.Duration
	asked int
}

func (b *backend) Friends(ctx context.Context, user presence.User) ([]presence.UserID, error) {
	b.mu.Lock()
	b.asked++
	list, down, takes := slices.Clone(b.lists[user.ID]), b.down, b.takes
	b.mu.Unlock()
	if takes <= 0 { // timers of no time that run at once crash the race detector in a bubble (golang/go#78156)
		return list, down
	}
	select {
	case <-time.After(takes):
		return list, down
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *backend) set(user presence.UserID, friends ...presence.UserID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists[user] = friends
}

func (b *backend) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

// took returns how often it was asked since the last took.
func (b *backend) took() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.asked
	b.asked = 0
	return n
}

var errDown = errors.New("down")

// inSourced runs f with a rig whose lists a backend has; they are good for 30 s.
func inSourced(t *testing.T, v Visibility, f func(t *testing.T, r *rig, b *backend)) {
	t.Helper()
	b := &backend{lists: map[presence.UserID][]presence.UserID{"alice": {"bob", "carol"}}}
	inBubble(t, AppConfig{Visibility: v, MaxFriends: 5, Source: b}, func(t *testing.T, r *rig) { f(t, r, b) })
}

// pass lets time pass, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// session holds a session n of a user.
func (r *rig) session(user presence.UserID, n byte) presence.SessionID {
	r.t.Helper()
	id := presence.SessionID{n}
	if err := r.Hold(context.Background(), demo(user), id); err != nil {
		r.t.Fatalf("Hold: got %v, want no error", err)
	}
	return id
}

// follow follows user's list and returns it.
func (r *rig) follow(user presence.UserID) (friends []presence.UserID, err error) {
	err = r.Follow(context.Background(), demo(user), func(list []presence.UserID) error {
		friends = slices.Clone(list)
		return nil
	})
	return friends, err
}

func (r *rig) wantFollow(user presence.UserID, want ...presence.UserID) {
	r.t.Helper()
	if got, err := r.follow(user); err != nil || !slices.Equal(got, want) {
		r.t.Errorf("Follow of %s: got %v, %v, want %v", user, got, err, want)
	}
}

func wantAsked(t *testing.T, b *backend, want int) {
	t.Helper()
	if got := b.took(); got != want {
		t.Errorf("the source was asked %d times, want %d", got, want)
	}
}

func TestSourceAges(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		r.wantFollow("alice", "bob", "carol")
		wantAsked(t, b, 1)
		b.set("alice", "bob", "dave")
		pass(29 * time.Second)
		r.wantFollow("alice", "bob", "carol")
		wantAsked(t, b, 0)
		// Beyond its age a list is used once more, and asked for behind.
		pass(2 * time.Second)
		r.wantFollow("alice", "bob", "carol")
		synctest.Wait()
		wantAsked(t, b, 1)
		r.wantFollow("alice", "bob", "dave")
		// Much later it is asked for first.
		b.set("alice", "bob")
		pass(61 * time.Second)
		r.wantFollow("alice", "bob")
		wantAsked(t, b, 1)
		// With a session that follows, it is kept young.
		id := r.session("alice", 1)
		r.wantFollow("alice", "bob")
		r.heard.take()
		b.set("alice", "dave", "erin")
		pass(31 * time.Second)
		r.wantHeard("friends of alice: +[dave erin] -[bob]")
		wantAsked(t, b, 1)
		pass(10 * time.Minute)
		if n := b.took(); n < 18 || n > 21 {
			t.Errorf("in ten minutes the source was asked %d times, want each 30 s", n)
		}
		r.Gone(id)
		pass(10 * time.Minute)
		if n := b.took(); n > 1 {
			t.Errorf("without a session the source was asked %d times, want none", n)
		}
	})
}

func TestStaleIsUsedOnlyWhileTheSourceAnswers(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		r.wantFollow("alice", "bob", "carol")
		b.fail(errDown)
		pass(29 * time.Second)
		r.wantFollow("alice", "bob", "carol") // young enough
		pass(2 * time.Second)
		r.wantFollow("alice", "bob", "carol") // a little old, and nobody knows that it is down
		for range downAfter {
			_, err := r.follow("bob")
			wantKind(t, err, fault.FriendsUnavailable)
		}
		_, err := r.follow("alice")
		wantKind(t, err, fault.FriendsUnavailable)
		synctest.Wait()
		got := r.Counts().Sources["demo"]
		if want := (SourceCounts{Answered: 1, Failed: 5, Down: true}); got != want {
			t.Errorf("Counts: got %+v, want %+v", got, want)
		}
	})
}

func TestSourceDown(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		b.fail(errDown)
		used := false
		err := r.Follow(context.Background(), demo("alice"), func([]presence.UserID) error { used = true; return nil })
		wantKind(t, err, fault.FriendsUnavailable)
		var f *fault.Error
		if errors.As(err, &f); f.RetryAfter <= 0 || used {
			t.Errorf("got a retry after %v and use called %v, want one and not called", f.RetryAfter, used)
		}
		_, err = r.Friends(context.Background(), demo("alice"))
		wantKind(t, err, fault.FriendsUnavailable)
		b.fail(nil)
		r.session("alice", 1)
		r.wantFollow("alice", "bob", "carol")
		// Who follows goes on while it is down, and is told what changed after.
		b.fail(errDown)
		b.set("alice", "bob")
		pass(10 * time.Minute)
		r.wantHeard()
		if n := b.took(); n < 15 || n > 60 {
			t.Errorf("in ten minutes down the source was asked %d times, want it with a growing pause", n)
		}
		b.fail(nil)
		pass(31 * time.Second)
		r.wantHeard("friends of alice: +[] -[carol]")
	})
}

func TestBadAnswersOfASource(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		b.set("alice", "bob", "alice", "bob", "carol")
		r.wantFollow("alice", "bob", "carol")
		b.set("bob", "a", "b", "c", "d", "e", "f")
		_, err := r.follow("bob")
		wantKind(t, err, fault.LimitFriends)
		b.set("carol", "x", "")
		_, err = r.follow("carol")
		wantKind(t, err, fault.FriendsUnavailable)
		for _, write := range []func() error{
			func() error { _, err := r.Add(context.Background(), demo("alice"), "x", false); return err },
			func() error { _, err := r.Remove(context.Background(), demo("alice"), "x", false); return err },
			func() error { _, _, err := r.Replace(context.Background(), demo("alice"), nil); return err },
		} {
			wantKind(t, write(), fault.FieldInvalid)
		}
	})
}

func TestOneRequestForManyWhoNeedAList(t *testing.T) {
	t.Parallel()
	inSourced(t, Everyone, func(t *testing.T, r *rig, b *backend) {
		b.takes = time.Second
		short, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if i == 0 {
					// Who is not waiting any more takes nothing from the others.
					if err := r.Follow(short, demo("alice"), nil); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("beyond its time: got %v, want DeadlineExceeded", err)
					}
					return
				}
				r.wantFollow("alice", "bob", "carol")
			})
		}
		wg.Wait()
		if n := b.took(); n > 2 {
			t.Errorf("the source was asked %d times, want once, or twice if the first gave up", n)
		}
	})
}

func TestPush(t *testing.T) {
	t.Parallel()
	for _, v := range []Visibility{Everyone, Friends} {
		inSourced(t, v, func(t *testing.T, r *rig, b *backend) {
			ctx := context.Background()
			push := func(added, removed []presence.UserID) error { return r.Push(ctx, demo("alice"), added, removed) }
			if err := push([]presence.UserID{"x"}, nil); err != nil {
				t.Errorf("push of what nobody asked for: got %v, want no error", err)
			}
			r.wantFollow("alice", "bob", "carol")
			r.heard.take()
			if err := push([]presence.UserID{"dave", "bob"}, []presence.UserID{"carol", "nobody"}); err != nil {
				t.Fatal(err)
			}
			want := []string{"friends of alice: +[dave] -[carol]"}
			if v == Friends {
				want = []string{"sight of alice: [dave]", want[0], "sight of alice: [carol]"}
			}
			r.wantHeard(want...)
			if err := push([]presence.UserID{"dave"}, []presence.UserID{"carol"}); err != nil {
				t.Fatal(err)
			}
			r.wantHeard()
			r.wantFollow("alice", "bob", "dave")
			wantKind(t, push([]presence.UserID{"1", "2", "3", "4"}, nil), fault.LimitFriends)
			wantKind(t, push([]presence.UserID{""}, nil), fault.FieldInvalid)
			wantKind(t, push(nil, []presence.UserID{"alice"}), fault.FieldInvalid)
			r.wantFollow("alice", "bob", "dave")
			// Invalidate asks again, at once for a session.
			r.session("alice", 1)
			b.set("alice", "erin")
			b.took()
			r.heard.take()
			r.Invalidate(demo("alice"))
			synctest.Wait()
			wantAsked(t, b, 1)
			if got := r.heard.take(); !slices.Contains(got, "friends of alice: +[erin] -[bob dave]") {
				t.Errorf("after Invalidate the listener heard %q, want the difference", got)
			}
			r.Invalidate(demo("nobody"))
		})
	}
}
