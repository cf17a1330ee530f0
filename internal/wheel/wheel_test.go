package wheel_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// turning runs f in a bubble with a wheel that turns.
func turning(t *testing.T, onPause func(time.Duration), f func(t *testing.T, w *wheel.Wheel)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(onPause)
		w.Start()
		defer w.Stop()
		f(t, w)
	})
}

// wait lets fake time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// firing is a timer that notes when it fired.
type firing struct {
	wheel.Timer
	at []time.Duration // since the test began
}

func newFiring(began time.Time) *firing {
	f := &firing{}
	f.Fire = func() { f.at = append(f.at, time.Since(began)) }
	return f
}

func TestFiresOnceWithinATickAndNeverEarly(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		-time.Hour, 0, 1, time.Millisecond, wheel.Tick - 1, wheel.Tick, wheel.Tick + 1, 50 * time.Millisecond, time.Second,
		20480 * time.Millisecond, 20480*time.Millisecond + 1, 35 * time.Second, 400 * time.Second, time.Hour,
	} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			turning(t, nil, func(t *testing.T, w *wheel.Wheel) {
				wait(7 * time.Millisecond) // in the middle of a tick
				f := newFiring(time.Now())
				w.Set(&f.Timer, d)
				wait(max(d, 0) + time.Minute)
				// The tick that runs, and the one it fires in.
				if len(f.at) != 1 || f.at[0] < d || f.at[0] > max(d, 0)+2*wheel.Tick {
					t.Errorf("set for %v: fired at %v, want once, from then until 2 ticks (%v) later", d, f.at, 2*wheel.Tick)
				}
			})
		})
	}
}

// TestAnyOrder sets, moves and clears timers at random and compares with a list.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	type op struct {
		timer, what int
		d           time.Duration
	}
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{rapid.IntRange(0, 7).Draw(t, "timer"), rapid.IntRange(0, 3).Draw(t, "what"),
			time.Duration(rapid.Int64Range(0, int64(45*time.Second)).Draw(t, "d"))}
	}), 1, 60)
	rapid.Check(t, func(rt *rapid.T) {
		list := ops.Draw(rt, "ops")
		var wrong string
		turning(t, nil, func(_ *testing.T, w *wheel.Wheel) {
			var timers [8]wheel.Timer
			var due [8]time.Time // zero: not set
			for i := range timers {
				timers[i].Fire = func() {
					if late := time.Since(due[i]); due[i].IsZero() || late < 0 || late > 2*wheel.Tick {
						wrong = "a timer fired that was not set, or at the wrong time"
					}
					due[i] = time.Time{}
				}
			}
			for _, o := range list {
				switch o.what {
				case 0, 1:
					due[o.timer] = time.Now().Add(o.d)
					w.Set(&timers[o.timer], o.d)
				case 2:
					due[o.timer] = time.Time{}
					w.Clear(&timers[o.timer])
				case 3:
					wait(o.d)
				}
			}
			wait(time.Minute)
			for i := range due {
				if !due[i].IsZero() {
					wrong = "a timer that was set never fired"
				}
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func TestFireMaySetTimers(t *testing.T) {
	t.Parallel()
	turning(t, nil, func(t *testing.T, w *wheel.Wheel) {
		began, count := time.Now(), 0
		var timer, other wheel.Timer
		cleared := false
		other.Fire = func() { cleared = true }
		timer.Fire = func() {
			if count++; count < 5 {
				w.Set(&timer, time.Second)
			}
			w.Clear(&other)
		}
		w.Set(&timer, time.Second)
		w.Set(&other, 1500*time.Millisecond)
		wait(10 * time.Second)
		if count != 5 || cleared {
			t.Errorf("fired %d times (other: %v) in %v, want 5 times and the other cleared", count, cleared, time.Since(began))
		}
	})
}

// TestPause stops the wheel's goroutine for a while, as SIGSTOP would: what was
// due meanwhile must wait until what others sent meanwhile was read.
func TestPause(t *testing.T) {
	t.Parallel()
	var gaps []time.Duration
	turning(t, func(gap time.Duration) { gaps = append(gaps, gap) }, func(t *testing.T, w *wheel.Wheel) {
		began := time.Now()
		var stuck wheel.Timer
		stuck.Fire = func() { <-time.After(30 * time.Second) }
		late := newFiring(began)
		w.Set(&stuck, time.Second)
		w.Set(&late.Timer, 5*time.Second)
		wait(30 * time.Second)
		before := w.Now()
		if before > 2*time.Second {
			t.Errorf("the wheel's clock in a pause: got %v, want it to stand still at about 1 s", before)
		}
		wait(10 * time.Second)
		if len(gaps) != 1 || gaps[0] < 30*time.Second || gaps[0] > 31*time.Second {
			t.Errorf("gaps told: got %v, want one of about 30 s", gaps)
		}
		// Four of its five seconds were left when the pause began.
		if len(late.at) != 1 || late.at[0] < 35*time.Second || late.at[0] > 35*time.Second+5*wheel.Tick {
			t.Errorf("a timer of 5 s with a pause of 30 s: fired at %v, want once at about 35 s", late.at)
		}
	})
}

// TestCatchesUp delays the goroutine for less than a pause: time is made up.
func TestCatchesUp(t *testing.T) {
	t.Parallel()
	turning(t, func(gap time.Duration) { t.Errorf("a gap of %v was told, want none", gap) }, func(t *testing.T, w *wheel.Wheel) {
		began := time.Now()
		var slow wheel.Timer
		slow.Fire = func() { <-time.After(900 * time.Millisecond) }
		next := newFiring(began)
		w.Set(&slow, time.Second)
		w.Set(&next.Timer, 1500*time.Millisecond)
		wait(3 * time.Second)
		if len(next.at) != 1 || next.at[0] > 2*time.Second {
			t.Errorf("a timer of 1.5 s behind a firing that takes until 1.9 s: fired at %v, want once by 2 s", next.at)
		}
		if lag := time.Since(began) - w.Now(); lag > 3*wheel.Tick {
			t.Errorf("the wheel's clock is %v behind, want it to have caught up", lag)
		}
	})
}

func TestStartAndStopTolerate(t *testing.T) {
	t.Parallel()
	never := wheel.New(nil)
	never.Stop()
	never.Stop()
	never.Start()
	w := wheel.New(nil)
	w.Start()
	w.Start()
	w.Stop()
	w.Stop()
	var timer wheel.Timer
	timer.Fire = func() { t.Error("a timer fired after Stop") }
	w.Set(&timer, 0)
	w.Clear(&timer)
}

func TestStopFiresNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := wheel.New(nil)
		var first, second wheel.Timer
		second.Fire = func() { t.Error("the second timer fired although Stop was called during the first") }
		first.Fire = func() { go w.Stop(); synctest.Wait() }
		w.Set(&first, time.Second)
		w.Set(&second, time.Second)
		w.Start()
		wait(time.Minute)
		w.Stop()
	})
}

// TestRaces lets many set and clear the same timers while the wheel turns; the
// race detector and the links of the wheel are what is tested.
func TestRaces(t *testing.T) {
	t.Parallel()
	turning(t, nil, func(t *testing.T, w *wheel.Wheel) {
		var fired atomic.Int64
		timers := make([]wheel.Timer, 64)
		for i := range timers {
			timers[i].Fire = func() { fired.Add(1) }
		}
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				for i := range 2000 {
					timer := &timers[(i*7+g)%len(timers)]
					if (i+g)%3 == 0 {
						w.Clear(timer)
					} else {
						w.Set(timer, time.Duration(i%50)*time.Millisecond)
					}
					if i%200 == 0 {
						<-time.After(wheel.Tick)
					}
				}
			})
		}
		all.Wait()
		before := fired.Load()
		for i := range timers {
			w.Set(&timers[i], time.Second)
		}
		wait(5 * time.Second)
		if got := fired.Load() - before; before == 0 || got != int64(len(timers)) {
			t.Errorf("after the races each timer was set once: %d fired (%d before), want %d", got, before, len(timers))
		}
	})
}
