package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster as one node sees it.
type world struct {
	mu      sync.Mutex
	self    uint64
	owner   uint64
	joined  bool
	renewed time.Time
	heard   map[uint64]time.Time
	left    map[uint64]bool
}

func (w *world) Self() uint64        { return w.self }
func (w *world) Owner([]byte) uint64 { w.mu.Lock(); defer w.mu.Unlock(); return w.owner }
func (w *world) Renewed() (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renewed, w.joined
}

func (w *world) Heard(n uint64) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard[n], w.left[n]
}

func (w *world) set(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

// counter gives terms to all nodes of a test.
type counter struct {
	mu   sync.Mutex
	last uint64
	fail bool
}

func (c *counter) next(context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail {
		return 0, errors.New("no quorum")
	}
	c.last++
	return c.last, nil
}

func newLeases(t *testing.T, w *world, c *counter) *Leases {
	return New(t.Context(), Config{Cluster: w, Term: c.next, Logger: slog.New(slog.DiscardHandler)})
}

// held asks twice: the first call may only begin to get a term.
func held(l *Leases) uint64 {
	l.Held("a")
	synctest.Wait()
	term, _ := l.Held("a")
	return term
}

// ours returns leases that have the duty under their first term; w says that it is
// theirs, and since when.
func ours(t *testing.T, w *world, c *counter) *Leases {
	t.Helper()
	l := newLeases(t, w, c)
	l.Held("a")
	pass(Length)
	if got := held(l); got != 1 {
		t.Fatalf("got term %d, want 1", got)
	}
	return l
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestTakeOver(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		heard time.Duration // before the owner changes; -1: never
		left  bool
		wait  time.Duration // from the change on
	}{
		"left with a word":       {500 * time.Millisecond, true, 0},
		"lost after 3 s":         {3 * time.Second, false, Length - 3*time.Second},
		"alive, hands it over":   {0, false, Length},
		"nobody knows of it":     {-1, false, Length},
		"lost longer than it is": {time.Minute, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := &world{self: 2, owner: 1, joined: true, heard: map[uint64]time.Time{}, left: map[uint64]bool{}}
				l := newLeases(t, w, &counter{})
				if got := held(l); got != 0 {
					t.Fatalf("another has it: got term %d", got)
				}
				pass(time.Minute)
				w.set(func() {
					w.owner, w.left[1] = 2, test.left
					if test.heard >= 0 {
						w.heard[1] = time.Now().Add(-test.heard)
					}
				})
				if test.wait > 0 {
					if got := held(l); got != 0 {
						t.Errorf("at once: got term %d", got)
					}
					pass(test.wait - time.Millisecond)
					if got := held(l); got != 0 {
						t.Errorf("a little early: got term %d", got)
					}
					pass(time.Millisecond)
				}
				w.set(func() { w.renewed = time.Now() })
				if got := held(l); got != 1 {
					t.Errorf("got term %d, want 1", got)
				}
				l.Stop()
				if got, _ := l.Held("a"); got != 0 {
					t.Errorf("stopped: got term %d", got)
				}
			})
		})
	}
}

func TestOutOfReach(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &world{self: 1, owner: 1, joined: true, renewed: time.Now().Add(Length)}
		l := ours(t, w, &counter{})
		renewed := time.Now()
		w.set(func() { w.renewed, w.joined = renewed, false })
		pass(Length - time.Millisecond)
		if got, until := l.Held("a"); got != 1 || !until.Equal(renewed.Add(Length)) {
			t.Errorf("got term %d until %v, want 1 until %v", got, until, renewed.Add(Length))
		}
		pass(time.Millisecond)
		if got := held(l); got != 0 {
			t.Errorf("too long out of reach: got term %d", got)
		}
		w.set(func() { w.renewed, w.joined = time.Now(), true })
		if got := held(l); got != 0 {
			t.Errorf("back: another may have had it, got term %d at once", got)
		}
		pass(Length)
		if got := held(l); got != 2 {
			t.Errorf("got term %d, want 2", got)
		}
		l.Stop()
	})
}

// TestCutOffWithTheQuorum: nobody hears this node and the quorum does. The others
// may call it lost, so what it has ends as if the quorum were silent, too.
func TestCutOffWithTheQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &world{self: 1, owner: 1, joined: true, renewed: time.Now().Add(Length)}
		l := ours(t, w, &counter{})
		for range 9 {
			pass(Length / 9)
			w.set(func() { w.renewed, w.joined = time.Now(), false })
		}
		if got, _ := l.Held("a"); got != 0 {
			t.Errorf("cut off for %v: has term %d still", Length, got)
		}
		l.Stop()
	})
}

func TestNoTerm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := &counter{fail: true}
		w := &world{self: 1, owner: 1, joined: true, renewed: time.Now().Add(time.Hour)}
		l := newLeases(t, w, c)
		l.Held("a")
		pass(Length)
		if got := held(l); got != 0 {
			t.Errorf("got term %d without one", got)
		}
		c.mu.Lock()
		c.fail = false
		c.mu.Unlock()
		pass(retry)
		if got := held(l); got != 1 {
			t.Errorf("got term %d, want 1", got)
		}
		l.Stop()
	})
}

// TestWithinFiveSeconds: a node that dies is heard for the last time at most half a
// second before; five seconds after that its heir has its duties, though it asks only
// as often as webhooks do.
func TestWithinFiveSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &world{self: 2, owner: 1, joined: true, heard: map[uint64]time.Time{}, left: map[uint64]bool{}}
		l := newLeases(t, w, &counter{})
		held(l)
		pass(time.Minute)
		died := time.Now()
		w.set(func() { w.heard[1] = died })
		pass(3300 * time.Millisecond) // then it is lost
		w.set(func() { w.owner = 2 })
		for {
			w.set(func() { w.renewed = time.Now() })
			if term, _ := l.Held("a"); term != 0 {
				break
			}
			if time.Since(died) > 5*time.Second {
				t.Fatal("not within 5 s")
			}
			pass(100 * time.Millisecond)
		}
		if took := time.Since(died); took < Length {
			t.Errorf("taken over after %v: the dead node could still believe in its right", took)
		}
		l.Stop()
	})
}

// TestOutdone: a term that a later one followed is given up, and another is taken
// when that one's right may have ended.
func TestOutdone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := &counter{}
		w := &world{self: 1, owner: 1, joined: true, renewed: time.Now().Add(time.Hour)}
		l := ours(t, w, c)
		c.next(t.Context()) // another node believes that the duty is its own
		l.Outdone("a", 0)   // of a former term
		if got := held(l); got != 1 {
			t.Errorf("got term %d, want 1 still", got)
		}
		l.Outdone("a", 1)
		if got := held(l); got != 0 {
			t.Errorf("outdone: got term %d", got)
		}
		pass(Length)
		if got := held(l); got != 3 {
			t.Errorf("got term %d, want 3", got)
		}
		l.Stop()
	})
}
