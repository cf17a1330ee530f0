package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal notes what the parts of a list did, in order.
type journal struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Errorf("journal:\n got %q\nwant %q", j.lines, want)
	}
}

// part adds a part that notes its start and stop and returns the given errors.
func (j *journal) part(l *List, name string, startErr, stopErr error) {
	l.Add(name,
		func(context.Context) error { j.add("+" + name); return startErr },
		func(context.Context) error { j.add("-" + name); return stopErr })
}

func expectError(t *testing.T, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("error: got nil, want one with %q", wants)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error: got %q, want it to contain %q", err, want)
		}
	}
}

func TestStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var l List
	var j journal
	j.part(&l, "store", nil, nil)
	l.Add("nothing to do", nil, nil)
	j.part(&l, "tracker", nil, nil)
	j.part(&l, "door", nil, nil)
	if err := l.Start(t.Context()); err != nil {
		t.Fatalf("Start: got %v, want nil", err)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: got %v, want nil", err)
	}
	j.expect(t, "+store", "+tracker", "+door", "-door", "-tracker", "-store")
}

func TestCallsThatHaveNothingToDo(t *testing.T) {
	t.Parallel()
	var l List
	var j journal
	j.part(&l, "a", nil, nil)
	steps := []struct {
		name string
		call func(context.Context) error
	}{
		{"stop before start", l.Stop},
		{"start", l.Start},
		{"second start", l.Start},
		{"stop", l.Stop},
		{"second stop", l.Stop},
		{"start again", l.Start},
		{"stop again", l.Stop},
	}
	for _, s := range steps {
		if err := s.call(t.Context()); err != nil {
			t.Errorf("%s: got %v, want nil", s.name, err)
		}
	}
	j.expect(t, "+a", "-a", "+a", "-a")
}

func TestFailedStartStopsWhatWasStarted(t *testing.T) {
	t.Parallel()
	full, stuck := errors.New("disk full"), errors.New("would not go")
	var l List
	var j journal
	j.part(&l, "a", nil, stuck)
	j.part(&l, "b", nil, nil)
	j.part(&l, "c", full, nil)
	j.part(&l, "d", nil, nil)

	err := l.Start(t.Context())
	expectError(t, err, "start c: disk full", "stop a: would not go")
	if !errors.Is(err, full) || !errors.Is(err, stuck) {
		t.Errorf("error %q hides one of its causes", err)
	}
	j.expect(t, "+a", "+b", "+c", "-b", "-a")
	if err := l.Stop(t.Context()); err != nil {
		t.Errorf("Stop after a failed Start: got %v, want nil", err)
	}
	j.expect(t, "+a", "+b", "+c", "-b", "-a")
}

func TestStopJoinsAllErrors(t *testing.T) {
	t.Parallel()
	one, two := errors.New("one"), errors.New("two")
	var l List
	var j journal
	j.part(&l, "a", nil, one)
	j.part(&l, "b", nil, nil)
	j.part(&l, "c", nil, two)
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := l.Stop(t.Context())
	expectError(t, err, "stop a: one", "stop c: two")
	if !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("error %q hides one of its causes", err)
	}
	j.expect(t, "+a", "+b", "+c", "-c", "-b", "-a")
}

func TestLatePartJoinsAtNextStart(t *testing.T) {
	t.Parallel()
	var l List
	var j journal
	j.part(&l, "a", nil, nil)
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.part(&l, "late", errors.New("no"), nil)
	expectError(t, l.Start(t.Context()), "start late: no")
	j.expect(t, "+a", "+late") // a was up before this call and stays
	if err := l.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.expect(t, "+a", "+late", "-a")
}

func TestEndedContextStartsNothingMore(t *testing.T) {
	t.Parallel()
	var l List
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	j.part(&l, "a", nil, nil)
	l.Add("cancels", func(context.Context) error { cancel(); return nil },
		func(ctx context.Context) error { return ctx.Err() }) // its stop has time although Start's ctx ended
	j.part(&l, "b", nil, nil)
	err := l.Start(ctx)
	expectError(t, err, "start b: context canceled")
	if strings.Contains(err.Error(), "stop cancels") {
		t.Errorf("error %q: a part was stopped with an ended context", err)
	}
	j.expect(t, "+a", "-a")
}

func TestStuckPartIsLeftAndTheOthersStillStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := List{StopLimit: 10 * time.Second}
		var j journal
		free := make(chan struct{})
		j.part(&l, "store", nil, nil)
		l.Add("deaf", nil, func(context.Context) error { <-free; return nil })
		l.Add("slow but fair", nil, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err := l.Stop(t.Context())
		if took, want := time.Since(begin), 10*time.Second+lastWord; took != want {
			t.Errorf("Stop took %v, want %v", took, want)
		}
		expectError(t, err, "stop slow but fair: context deadline exceeded", "stop deaf: left running")
		j.expect(t, "+store", "-store")
		close(free)
	})
}

func TestStopLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		limit, caller time.Duration // 0: not set
		want          time.Duration
	}{
		{"default", 0, 0, DefaultStopLimit},
		{"own limit", 3 * time.Second, 0, 3 * time.Second},
		{"caller is in a greater hurry", 3 * time.Second, time.Second, time.Second},
		{"caller has more time", 3 * time.Second, time.Minute, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := List{StopLimit: tt.limit}
				l.Add("slow", nil, func(ctx context.Context) error { <-ctx.Done(); return nil })
				if err := l.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if tt.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.caller)
					defer cancel()
				}
				begin := time.Now()
				if err := l.Stop(ctx); err != nil {
					t.Errorf("Stop: got %v, want nil", err)
				}
				if took := time.Since(begin); took != tt.want {
					t.Errorf("Stop took %v, want %v", took, tt.want)
				}
			})
		})
	}
}

func TestStopInterruptsStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l List
		var j journal
		j.part(&l, "a", nil, nil)
		l.Add("waits", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, nil)
		started := make(chan error, 1)
		go func() { started <- l.Start(t.Context()) }()
		synctest.Wait()
		if err := l.Stop(t.Context()); err != nil {
			t.Errorf("Stop: got %v, want nil", err)
		}
		err := <-started
		expectError(t, err, "start waits")
		if !errors.Is(err, ErrStopped) {
			t.Errorf("Start: got %v, want ErrStopped", err)
		}
		j.expect(t, "+a", "-a")
	})
}

func TestStartThatWaitedForAStopGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l List
		var j journal
		free := make(chan struct{})
		l.Add("slow", func(context.Context) error { j.add("+slow"); return nil },
			func(context.Context) error { <-free; j.add("-slow"); return nil })
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		stopped, started := make(chan error, 1), make(chan error, 1)
		go func() { stopped <- l.Stop(t.Context()) }()
		synctest.Wait()
		go func() { started <- l.Start(t.Context()) }()
		synctest.Wait()
		close(free)
		if err := <-stopped; err != nil {
			t.Errorf("Stop: got %v, want nil", err)
		}
		if err := <-started; err != nil {
			t.Errorf("Start: got %v, want nil", err)
		}
		j.expect(t, "+slow", "-slow", "+slow")
	})
}

func TestWaitingForTheTurnRespectsTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l List
		free := make(chan struct{})
		l.Add("deaf", func(context.Context) error { <-free; return nil }, nil)
		first := make(chan error, 1)
		go func() { first <- l.Start(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expectError(t, l.Start(ctx), "waiting for another", "deadline exceeded")
		expectError(t, l.Stop(ctx), "waiting for another", "deadline exceeded")
		close(free)
		<-first
		if err := l.Stop(ctx); err != nil { // an ended ctx still stops when nobody is in the way
			t.Errorf("late Stop: got %v, want nil", err)
		}
	})
}

// Whatever order the calls arrive in, a part is never started twice without a
// stop between, never stopped unless started, and nothing stays up at the end.
func TestStressOfConcurrentStartsAndStops(t *testing.T) {
	t.Parallel()
	const goroutines, rounds, parts = 10, 50, 3
	var l List
	var up [parts]atomic.Int32
	for i := range parts {
		l.Add("p", func(context.Context) error {
			if n := up[i].Add(1); n != 1 {
				t.Errorf("part %d: started when up %d times", i, n-1)
			}
			if i > 0 && up[i-1].Load() != 1 {
				t.Errorf("part %d: started before part %d", i, i-1)
			}
			return nil
		}, func(context.Context) error {
			if n := up[i].Add(-1); n != 0 {
				t.Errorf("part %d: stopped when up %d times", i, n+1)
			}
			return nil
		})
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if err := l.Start(t.Context()); err != nil && !errors.Is(err, ErrStopped) {
					t.Errorf("Start: %v", err)
				}
				if err := l.Stop(t.Context()); err != nil {
					t.Errorf("Stop: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for i := range parts {
		if n := up[i].Load(); n != 0 {
			t.Errorf("part %d: up %d times at the end, want 0", i, n)
		}
	}
}
