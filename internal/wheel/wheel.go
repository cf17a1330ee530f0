// Package wheel is the one place where deadlines wait: a hashed timing wheel
// with a single goroutine, whatever the number of timers. It also is the clock
// that silence is measured by, because that clock must stand still while the
// process does.
//
// It is not a scheduler for exact times: a timer fires within one Tick after
// its deadline, never before.
package wheel

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Tick is the wheel's resolution. At 20 ms the goroutine costs less than a
	// thousandth of a core and no promise of the design is tighter than that.
	Tick = 20 * time.Millisecond
	// pause is the longest gap between two ticks that still counts as running.
	// After a longer one (SIGSTOP, a frozen machine) the peers' bytes wait unread
	// in the kernel; firing deadlines then would close everybody (design §3).
	pause = time.Second

	slots = 1024 // one turn is 20.48 s; longer deadlines wait for a later turn
)

// Timer is one deadline, set by Wheel.Set. The zero value is ready. It is meant
// to be embedded by value in what it times and must not be copied.
type Timer struct {
	// Fire is called on the wheel's goroutine, with no lock of the wheel held,
	// so it may set timers; it must not block.
	Fire func()

	next, prev *Timer
	due        int64 // tick number; 0 when not set
}

// Wheel times out. Make it with New.
type Wheel struct {
	onPause func(gap time.Duration)
	tick    atomic.Int64 // ticks that passed while running

	mu   sync.Mutex // guards slot and all timers' links
	slot [slots]Timer

	due        []*Timer // scratch of turn
	stop, done chan struct{}
	begin, end sync.Once
}

// New returns a stopped wheel. onPause, when not nil, is told of each gap in
// which the process stood still; deadlines are later by that gap.
func New(onPause func(gap time.Duration)) *Wheel {
	w := &Wheel{onPause: onPause, stop: make(chan struct{}), done: make(chan struct{})}
	for i := range w.slot {
		w.slot[i].next, w.slot[i].prev = &w.slot[i], &w.slot[i]
	}
	w.tick.Store(1)
	return w
}

// Start begins to turn. Further calls, and calls after Stop, do nothing.
func (w *Wheel) Start() { w.begin.Do(func() { go w.run() }) }

// Stop ends the turning and waits for a firing that runs, so Fire must not call
// it. No timer fires afterwards. It may be called again, and before Start.
func (w *Wheel) Stop() {
	w.end.Do(func() { close(w.stop) })
	w.begin.Do(func() { close(w.done) })
	<-w.done
}

// Now is the time the wheel has turned: pauses of the process do not count.
// It costs one atomic load.
func (w *Wheel) Now() time.Duration { return time.Duration(w.tick.Load()) * Tick }

// Set makes t fire once after d from now, in place of any earlier setting.
func (w *Wheel) Set(t *Timer, d time.Duration) {
	ticks := int64((d + Tick - 1) / Tick)
	w.mu.Lock()
	defer w.mu.Unlock()
	t.unlink()
	// One more than the wait: the current tick has partly passed, and a deadline
	// must not come early.
	t.due = w.tick.Load() + max(ticks, 0) + 1
	head := &w.slot[t.due%slots]
	t.prev, t.next = head.prev, head
	t.prev.next, t.next.prev = t, t
}

// Clear takes t back. A firing that has begun is not waited for.
func (w *Wheel) Clear(t *Timer) {
	w.mu.Lock()
	t.unlink()
	w.mu.Unlock()
}

func (t *Timer) unlink() {
	if t.due == 0 {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev, t.due = nil, nil, 0
}

func (w *Wheel) run() {
	defer close(w.done)
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	last := time.Now()
	var carry time.Duration
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
		}
		now := time.Now()
		gap := now.Sub(last)
		last = now
		if gap > pause {
			if w.onPause != nil {
				w.onPause(gap)
			}
			gap = Tick
		}
		for carry += gap; carry >= Tick; carry -= Tick {
			if !w.turn() {
				return
			}
		}
	}
}

// turn moves one tick on and fires what is due. It reports false when stopped.
func (w *Wheel) turn() bool {
	n := w.tick.Add(1)
	head := &w.slot[n%slots]
	w.mu.Lock()
	due := w.due[:0]
	for t := head.next; t != head; {
		next := t.next
		if t.due <= n {
			t.unlink()
			due = append(due, t)
		}
		t = next
	}
	w.mu.Unlock()
	w.due = due
	defer clear(due) // or what a timer is part of could not be freed
	for _, t := range due {
		select {
		case <-w.stop:
			return false
		default:
			t.Fire()
		}
	}
	return true
}
