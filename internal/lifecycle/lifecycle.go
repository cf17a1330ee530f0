// Package lifecycle starts the named parts of a program in order and stops
// them in reverse, within a time limit, so that what a part leans on is there
// before it and goes after it.
//
// It is a list, not a container: it finds no dependencies, restarts nothing
// and watches nobody's health. Which parts there are, and in which order, is
// said where they are wired together.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// DefaultStopLimit is how long a Stop may take when List.StopLimit is not
	// set: long enough to drain connections and write a checkpoint, short enough
	// for the 30 s that process supervisors commonly grant before they kill.
	DefaultStopLimit = 25 * time.Second

	// lastWord is what each part still gets when the limit is used up. Without
	// it one stuck part would keep all those it leans on, the store among them,
	// from being closed.
	lastWord = 500 * time.Millisecond
)

// ErrStopped is in the error of a Start that a Stop interrupted.
var ErrStopped = errors.New("stopped while starting")

// List holds the parts in the order they start. The zero value is an empty
// list. All methods may be called from several goroutines at once; Start and
// Stop take turns. A List must not be copied.
type List struct {
	// StopLimit bounds one whole Stop; 0 means DefaultStopLimit. Set it before
	// the first Start.
	StopLimit time.Duration

	mu       sync.Mutex // guards what follows; never held while a part runs
	parts    []part
	started  int                     // parts[:started] are up
	turn     chan struct{}           // holds one token; its holder is starting or stopping
	abandon  context.CancelCauseFunc // of the Start under way; nil when none is
	stopping int                     // Stops that wait or run: no Start goes on meanwhile
}

type part struct {
	name        string
	start, stop func(context.Context) error
}

// Add puts a part at the end. The name appears in errors. start returns when
// the part is ready for those after it, and cleans up after itself when it
// fails; its ctx ends with the Start, so goroutines that outlive start need
// another one. stop returns when nothing of the part runs any more; its ctx
// says how long it may take. Either may be nil. A part that is added to a
// started list is started by the next Start.
func (l *List) Add(name string, start, stop func(ctx context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts = append(l.parts, part{name, start, stop})
}

// Start starts, in order, the parts that are not started. When one fails, or
// ctx ends, or Stop is called, those that this call started are stopped again
// in reverse and the error names the part and joins what went wrong while
// stopping. A Start of a started list returns nil.
func (l *List) Start(ctx context.Context) error {
	release, err := l.take(ctx)
	if err != nil {
		return fmt.Errorf("start: waiting for another start or stop to end: %w", err)
	}
	defer release()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first, err := l.beginStart(cancel)
	if err != nil {
		return err
	}
	defer l.endStart()
	for {
		p, n := l.next()
		if n < 0 {
			return nil
		}
		if err := startOne(ctx, p); err != nil {
			// The caller's ctx may be what ended; the parts that are up still
			// deserve their orderly stop.
			return errors.Join(err, l.stopDownTo(context.WithoutCancel(ctx), first))
		}
		l.setStarted(n + 1)
	}
}

// Stop stops every started part in reverse, interrupting a Start that is under
// way. It takes at most StopLimit, or less when ctx ends sooner; each part that
// is still to stop then gets a short last word with an ended ctx, and is left
// running when it does not use it. All errors are joined, each with its part's
// name. A Stop before Start, or a second one, returns nil.
func (l *List) Stop(ctx context.Context) error {
	l.beginStop()
	release, err := l.take(ctx)
	if err != nil {
		l.endStop()
		return fmt.Errorf("stop: waiting for another start or stop to end: %w", err)
	}
	defer release()
	defer l.endStop() // before the release: a Start that waited for this Stop goes on
	return l.stopDownTo(ctx, 0)
}

// take waits for the turn to start or stop. A free turn is taken even when ctx
// has ended, so that a late Stop still stops.
func (l *List) take(ctx context.Context) (release func(), err error) {
	l.mu.Lock()
	if l.turn == nil {
		l.turn = make(chan struct{}, 1)
	}
	turn := l.turn
	l.mu.Unlock()

	release = func() { <-turn }
	select {
	case turn <- struct{}{}:
		return release, nil
	default:
	}
	select {
	case turn <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *List) beginStart(abandon context.CancelCauseFunc) (first int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping > 0 {
		return 0, fmt.Errorf("start: %w", ErrStopped)
	}
	l.abandon = abandon
	return l.started, nil
}

func (l *List) endStart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandon = nil
}

func (l *List) beginStop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping++
	if l.abandon != nil {
		l.abandon(ErrStopped)
	}
}

func (l *List) endStop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping--
}

// next returns the first part that is not started and its place, or -1.
func (l *List) next() (part, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started == len(l.parts) {
		return part{}, -1
	}
	return l.parts[l.started], l.started
}

func (l *List) setStarted(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = n
}

func startOne(ctx context.Context, p part) error {
	if ctx.Err() != nil {
		return fmt.Errorf("start %s: %w", p.name, context.Cause(ctx))
	}
	if p.start == nil {
		return nil
	}
	if err := p.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

// stopDownTo stops parts[n:started] from the last to the first. The caller
// holds the turn.
func (l *List) stopDownTo(ctx context.Context, n int) error {
	limit := l.StopLimit
	if limit <= 0 {
		limit = DefaultStopLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	var errs []error
	for {
		p, at := l.last(n)
		if at < 0 {
			return errors.Join(errs...)
		}
		if err := stopOne(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
		l.setStarted(at)
	}
}

// last returns the last started part and its place, or -1 when no more than n
// parts are up.
func (l *List) last(n int) (part, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started <= n {
		return part{}, -1
	}
	return l.parts[l.started-1], l.started - 1
}

// stopOne runs p.stop on a goroutine of its own, because a part that ignores
// its ctx must not hold up those before it.
func stopOne(ctx context.Context, p part) error {
	if p.stop == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- p.stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(lastWord)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("left running: %w", context.Cause(ctx))
	}
}
