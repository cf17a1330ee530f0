package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

const (
	// lateAttempts is how often a delivery is tried that is older than Retry.For
	// when it begins.
	lateAttempts = 4
	// maxRetryAfter bounds what a receiver may ask for: a slip of its clock must
	// not stop a lane for a year.
	maxRetryAfter = time.Hour
	// defaultPause is that of a breaker that says none.
	defaultPause = 30 * time.Second
)

// try is how one attempt went.
type try struct {
	Verdict
	number   int // of the attempt; set on the last
	timeout  bool
	answered bool
	// held attempts met an open breaker: its pause is theirs, so that all lanes go
	// on as soon as it closes.
	held  bool
	ended bool // the run ends: nothing was tried, or nothing was answered
	last  bool // no further attempt
}

// again makes attempts, numbered from 1, until one is the last, and returns
// that. f may end sooner than its ctx; a pause ends with ctx.
func (r Retry) again(ctx context.Context, f func(ctx context.Context, number int) try) try {
	var newest try
	policy := retrypolicy.NewBuilder[try]().
		HandleIf(func(t try, err error) bool { return err == nil && !t.last }).
		AbortIf(func(t try, err error) bool { return err != nil || t.last }).
		WithMaxRetries(-1).
		WithDelayFunc(func(x failsafe.ExecutionAttempt[try]) time.Duration {
			t := x.LastResult()
			if t.held {
				return min(t.RetryAfter, maxRetryAfter)
			}
			return r.pause(x.Attempts(), t.RetryAfter)
		}).
		ReturnLastFailure().Build()
	_, _ = failsafe.With(policy).WithContext(ctx).GetWithExecution(func(x failsafe.Execution[try]) (try, error) {
		newest = f(x.Context(), x.Attempts())
		return newest, nil
	})
	if !newest.last {
		newest.ended = true // in a pause, or before the first
	}
	return newest
}

// pause is how long to wait after so many failed attempts.
func (r Retry) pause(failed int, asked time.Duration) time.Duration {
	d := r.First
	for range failed - 1 {
		if d *= 2; d >= r.Most {
			break
		}
	}
	if r.Most > 0 {
		d = min(d, r.Most)
	}
	return max(d, min(asked, maxRetryAfter))
}

// over says whether the failed attempt was the last of a delivery that may be
// tried until then.
func (r Retry) over(t try, number int, until time.Time) bool {
	switch {
	case t.Outcome != Failed:
		return true
	case r.Attempts > 0 && number >= r.Attempts:
		return true
	case r.For > 0 && number >= lateAttempts:
		return time.Now().Add(r.pause(number, t.RetryAfter)).After(until)
	}
	return false
}

// breaker is an endpoint's. Whoever enters leaves.
type breaker struct {
	p     Breaker
	lanes int
	cb    circuitbreaker.CircuitBreaker[any]

	mu      sync.Mutex // guards what follows
	row     int        // failures since the last success
	rowLane int        // the lane of the first of them
	several bool       // they are of several lanes
	waiting []*entrant
	timer   *time.Timer
}

// entrant waits for an open breaker.
type entrant struct {
	failed int // attempts that its delivery has behind it
	let    chan struct{}
}

func newBreaker(p Breaker, lanes int) *breaker {
	if p.Pause <= 0 {
		p.Pause = defaultPause
	}
	build := circuitbreaker.NewBuilder[any]().WithDelay(p.Pause).WithSuccessThreshold(1)
	if p.Share > 0 {
		build = build.WithFailureRateThreshold(float64(p.Share)/100, uint(max(p.Attempts, 1)), p.Window)
	} else {
		build = build.WithFailureThresholdPeriod(1<<30, time.Hour) // opened by hand alone
	}
	return &breaker{p: p, lanes: lanes, cb: build.Build()}
}

// enter waits until an attempt may be made. failed is how many attempts of the
// delivery failed: who failed least goes first when one may be tried.
func (b *breaker) enter(ctx context.Context, failed int) error {
	b.mu.Lock()
	if len(b.waiting) == 0 && b.cb.TryAcquirePermit() {
		b.mu.Unlock()
		return nil
	}
	w := &entrant{failed: failed, let: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.arm()
	b.mu.Unlock()
	select {
	case <-w.let:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiting {
		if b.waiting[i] == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	return nil // let in at the last moment: the attempt ends by its ctx, and leaves
}

// arm sees to it that someone who waits is let in once the pause is over. The
// caller holds mu.
func (b *breaker) arm() {
	if b.timer != nil || len(b.waiting) == 0 {
		return
	}
	b.timer = time.AfterFunc(b.cb.RemainingDelay(), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.timer = nil
		b.admit()
	})
}

// admit lets in as many as may be, least failed first. The caller holds mu.
func (b *breaker) admit() {
	for len(b.waiting) > 0 && b.cb.TryAcquirePermit() {
		best := 0
		for i, w := range b.waiting {
			if w.failed < b.waiting[best].failed {
				best = i
			}
		}
		close(b.waiting[best].let)
		b.waiting = append(b.waiting[:best], b.waiting[best+1:]...)
	}
	if b.cb.State() == circuitbreaker.OpenState {
		b.arm()
	}
}

// leave says how the attempt of a lane went.
func (b *breaker) leave(lane int, t try) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case t.ended:
		if b.cb.State() == circuitbreaker.HalfOpenState {
			b.cb.Open() // its permit would be lost
		}
	case t.Outcome != Failed || b.p.TimeoutsOnly && !t.timeout:
		b.row, b.several = 0, false
		b.cb.RecordSuccess()
	default:
		b.failed(lane)
	}
	b.admit()
}

func (b *breaker) failed(lane int) {
	if b.row++; b.row == 1 {
		b.rowLane = lane
	}
	b.several = b.several || lane != b.rowLane || b.lanes == 1
	b.cb.RecordFailure() // opens a half-open one, and one with a share that is reached
	if b.p.Consecutive > 0 && b.row >= b.p.Consecutive && b.several {
		b.cb.Open()
	}
}

// state is for people: the word and the rest of the pause.
func (b *breaker) state() (string, time.Duration) {
	switch left := b.cb.RemainingDelay(); {
	case b.cb.IsOpen() && left == 0:
		return "half-open", 0 // the next one is let in
	case b.cb.IsOpen():
		return "open", left
	case b.cb.IsHalfOpen():
		return "half-open", 0
	}
	return "closed", 0
}

func (b *breaker) closed() bool { return b.cb.IsClosed() }
