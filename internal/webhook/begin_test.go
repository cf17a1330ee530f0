package webhook

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Where an endpoint begins, at a start and at a reload, and where it ends.

// TestUnreadAfterAStart: until the log is read to where it ended at the start
// nobody knows what waits, and the status does not say that all is well.
func TestUnreadAfterAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		synctest.Wait()
		r.receiver.answers(func(request) (int, time.Duration) { return 503, 0 })
		r.log.append(opened, "alice", 1)
		elapse(time.Second)
		r.stop()
		r.receiver.answers(nil)
		r.log.held = make(chan struct{})
		r.start()
		defer r.stop()
		synctest.Wait()
		if s := r.status(); s.Doing != "behind" || !s.Unread || s.Waiting != 0 {
			t.Errorf("got %+v before anything is read, want it behind", s)
		}
		close(r.log.held)
		elapse(time.Second)
		if s := r.status(); s.Doing != "live" || s.Unread || s.Delivered != 1 {
			t.Errorf("got %+v, want it live and alice told", s)
		}
	})
}

// TestBeginsWithItsStart: what happens after Start or SetEndpoints returned is
// told, even if nothing was served yet.
func TestBeginsWithItsStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		defer r.stop()
		r.log.append(opened, "alice", 1)
		late := r.main
		late.Name = "late"
		r.set(r.main, late)
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		got := r.receiver.events()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"alice 1 opened", "bob 1 opened", "bob 1 opened"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		synctest.Wait()
		r.stop()
		r.log.append(opened, "alice", 1) // while nothing runs
		r.start()
		elapse(time.Second)
		r.stop()
		if diff := cmp.Diff([]string{"alice 1 opened"}, r.receiver.events()); diff != "" {
			t.Errorf("what happened between two runs (-want +got):\n%s", diff)
		}
		late := r.main
		late.Name = "late"
		oldest := late
		oldest.Name, oldest.FromOldest = "oldest", true
		r.receiver = newReceiver()
		r.start()
		r.set(late)
		elapse(time.Second)
		if got := r.receiver.events(); len(got) != 0 {
			t.Errorf("got %q at an endpoint that is new, want nothing of before", got)
		}
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		r.set(late, oldest)
		elapse(time.Second)
		got := r.receiver.events()
		slices.Sort(got[1:]) // two lanes
		if diff := cmp.Diff([]string{"bob 1 opened", "alice 1 opened", "bob 1 opened"}, got); diff != "" {
			t.Errorf("new from the end, and new from the oldest (-want +got):\n%s", diff)
		}
		r.stop()
	})
}

// TestReload: what does not change is not disturbed; what changes, goes and
// comes back loses nothing and repeats nothing.
func TestReload(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		asked := r.log.asked
		r.set(r.main)
		elapse(time.Second)
		if r.log.asked != asked {
			t.Error("the same endpoints again began a reading, want nothing to happen")
		}
		var want []string
		for i := range 50 {
			for _, e := range r.log.append(opened, "alice", byte(i)) {
				want = append(want, fmt.Sprintf("alice %d opened", e.Seq))
			}
			elapse(7 * ms)
			changed := r.main
			switch i % 5 {
			case 0:
				changed.Format = &plain{policy: patient(), secret: fmt.Sprint("rotated ", i)}
			case 1:
				changed.URL += fmt.Sprint("/", i)
			case 2:
				r.set()
				if _, err := r.d.Endpoint(t.Context(), "demo", "main"); !errors.Is(err, ErrNoEndpoint) {
					t.Errorf("got %v, want ErrNoEndpoint", err)
				}
				continue
			case 3:
				changed.Lanes = 1 + i%7
			}
			r.set(changed)
		}
		elapse(time.Minute)
		if diff := cmp.Diff(want, r.receiver.events()); diff != "" {
			t.Errorf("over reloads (-want +got):\n%s", diff)
		}
		bad := r.main
		bad.URL = "nowhere"
		if err := r.d.SetEndpoints(t.Context(), []Endpoint{bad}); err == nil {
			t.Error("a bad endpoint was taken")
		}
		if err := r.d.SetEndpoints(t.Context(), []Endpoint{r.main, r.main}); err == nil {
			t.Error("one endpoint was taken twice")
		}
	})
}

func TestGone(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		r.receiver.answers(func(request) (int, time.Duration) { return 410, 0 })
		r.log.append(opened, "alice", 1)
		elapse(24 * time.Hour)
		if n := len(r.receiver.requests()); n != 1 || r.status().Doing != "gone" {
			t.Errorf("got %d requests and %s, want one and gone", n, r.status().Doing)
		}
		r.receiver.answers(nil)
		r.set(r.main) // a reload
		elapse(time.Second)
		if diff := cmp.Diff([]string{"alice 1 opened", "alice 1 opened"}, r.receiver.events()); diff != "" || r.status().Doing != "live" {
			t.Errorf("got %s after a reload (-want +got):\n%s", r.status().Doing, diff)
		}
	})
}

// TestGoneSaysWhere: who answered 410 is said to have got so far.
func TestGoneSaysWhere(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		r.receiver.answers(func(request) (int, time.Duration) { return 410, 0 })
		r.log.append(opened, "alice", 1)
		elapse(time.Minute)
		if s := r.status(); s.Doing != "gone" || s.Position.Sequence != 1 || !s.Unread {
			t.Errorf("got %+v, want it gone behind the first", s)
		}
	})
}

// lease is an owner whose right ends.
type lease struct {
	mu    sync.Mutex // guards what follows
	term  uint64
	until time.Time
}

func (l *lease) Owned(presence.AppID, string) (uint64, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.until
}

func (l *lease) set(term uint64, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.until = term, until
}

func TestOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		synctest.Wait()
		r.stop()
		mine := &lease{term: 2, until: time.Now().Add(ownerMargin)}
		r.owner = mine
		r.start()
		defer r.stop()
		elapse(ms)
		r.log.append(opened, "alice", 1)
		elapse(time.Minute)
		if n := len(r.receiver.requests()); n != 0 {
			t.Errorf("got %d requests although the time-out may outlive the right, want none", n)
		}
		mine.set(2, time.Now().Add(11*time.Second))
		elapse(time.Second)
		if n := len(r.receiver.requests()); n != 1 {
			t.Errorf("got %d requests with the right renewed, want one", n)
		}
		mine.set(0, time.Time{})
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		if s := r.status(); len(r.receiver.requests()) != 1 || s.Doing != "stopped" {
			t.Errorf("got %d requests and %+v, want it stopped", len(r.receiver.requests()), s)
		}
		mine.set(3, time.Time{})
		elapse(2 * time.Minute)
		if got := r.receiver.events(); !slices.Equal(got, []string{"alice 1 opened", "bob 1 opened"}) {
			t.Errorf("got %q, want it taken up again", got)
		}
		// Somebody with a later term wrote the cursors: this node serves it no more.
		r.store.mu.Lock()
		c := r.store.cursors[store.Endpoint{App: "demo", Name: "main"}]
		c.Term = 9
		r.store.cursors[c.Endpoint] = c
		r.store.mu.Unlock()
		r.log.append(opened, "carol", 1)
		elapse(time.Second)
		if s := r.status(); s.Doing != "stopped" {
			t.Errorf("got %+v, want it stopped by the later term", s)
		}
	})
}
