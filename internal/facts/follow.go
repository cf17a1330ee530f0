package facts

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// quiet is how long a follower is not called when there is nothing for him.
const quiet = time.Second

// Follow calls f with all events of an app behind a position, in order, and
// goes on with what happens until ctx ends or f returns an error, which it
// returns. through is the position up to which f has now been given everything:
// following behind it goes on without loss or repetition. It is told without
// events too, at most once a second, when there was nothing for this follower.
//
// A slow f holds nobody else up: it falls out of the ring, and is caught up by a
// pass of its own. What it is given is shared: it must not be changed, and may
// be kept. Other errors are a *GapError when the history from After on is gone,
// also for a follower so slow that it was cut behind his back, a *BeyondError
// for a position of another log, and what wraps store.ErrClosed.
func (r *Reader) Follow(ctx context.Context, p Params, f func(events []*Event, through Position) error) error {
	t, err := r.join()
	if err != nil {
		return err
	}
	defer r.leave()
	fl := &follower{r: r, t: t, p: p, at: p.After, f: f, told: time.Now()}
	for {
		if err := fl.shared(ctx); !errors.Is(err, errBehind) {
			return err
		}
		if err := fl.alone(ctx); err != nil {
			return err
		}
	}
}

// follower is one call of Follow.
type follower struct {
	r    *Reader
	t    *tail
	p    Params
	at   Position // everything up to here was given
	f    func([]*Event, Position) error
	told time.Time
	// checked: at is a position of this log.
	checked bool
}

// shared gives what the tail reads, until it is behind.
func (fl *follower) shared(ctx context.Context) error {
	select {
	case <-fl.t.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		messages, next, grown, err := fl.t.take(fl.at)
		if err != nil {
			return err
		}
		if grown == nil {
			if err := fl.give(ctx, chosen(messages, &fl.p, fl.at), End(next-1)); err != nil {
				return err
			}
			continue
		}
		if err := fl.check(ctx); err != nil {
			return err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// check refuses, once, a position that the log has not reached yet.
func (fl *follower) check(ctx context.Context) error {
	if fl.checked {
		return nil
	}
	fl.checked = true
	_, next, err := fl.r.store.Ends(ctx)
	if err == nil && fl.at.need() > next {
		err = &BeyondError{fl.at, End(next - 1)}
	}
	return err
}

// alone gives what a pass reads, until the tail has what is next.
func (fl *follower) alone(ctx context.Context) error {
	for !fl.t.covers(fl.at) {
		events, through, _, err := fl.r.page(ctx, request{&fl.p, &fl.p, fl.at, handful, true})
		if err != nil {
			return err
		}
		if err := fl.give(ctx, events, through); err != nil {
			return err
		}
	}
	return nil
}

// request is a page that somebody wants of a pass: behind `at`, at most so many
// events, or, when it is to end with a whole record, a few more. The pass is
// parked for `of`.
type request struct {
	of    any
	p     *Params
	at    Position
	most  int
	whole bool
}

// page reads a page, with a pass that was parked there or a new one. end is the
// message that the log was about to get.
func (r *Reader) page(ctx context.Context, q request) (events []*Event, through Position, end uint64, err error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	if _, end, err = r.store.Ends(ctx); err != nil {
		return nil, q.at, 0, err
	}
	ps, err := r.passes.take(ctx, parking{q.of, q.at})
	if err != nil {
		return nil, q.at, 0, err
	}
	defer func() { r.passes.done(ps, parking{q.of, through}, err) }()
	for try := 1; ; try++ {
		if ps == nil {
			if ps, err = r.begin(ctx, q.at, q.p.wants); err != nil {
				return nil, q.at, 0, err
			}
		}
		events, through, err = ps.read(ctx, q, end)
		if try == baseTries || !errors.Is(err, store.ErrGap) {
			return events, through, end, err
		}
		ps = nil // cut behind its back, before anything that is to be told
	}
}

// give calls f when it is due.
func (fl *follower) give(ctx context.Context, events []*Event, through Position) error {
	if err := fl.r.erased.refresh(ctx); err != nil {
		return err
	}
	events = fl.r.visible(events)
	fl.at = through
	if len(events) == 0 && time.Since(fl.told) < quiet {
		return nil
	}
	fl.told = time.Now()
	if err := ctx.Err(); err != nil {
		return err
	}
	return fl.f(events, through)
}

// Hides reports whether an event that was given must not be told any more: its
// user was erased since.
func (r *Reader) Hides(ctx context.Context, e *Event) (bool, error) {
	if err := r.erased.refresh(ctx); err != nil {
		return false, err
	}
	return r.erased.hide(e), nil
}

// visible leaves out what erasures hide.
func (r *Reader) visible(events []*Event) []*Event {
	if r.erased.none() {
		return events
	}
	for i, e := range events {
		if r.erased.told(e) == e {
			continue
		}
		kept := append([]*Event(nil), events[:i]...)
		for _, e := range events[i:] {
			if e := r.erased.told(e); e != nil {
				kept = append(kept, e)
			}
		}
		return kept
	}
	return events
}

// chosen are the events behind a position that a follower wants.
func chosen(messages []told, p *Params, after Position) (events []*Event) {
	for _, m := range messages {
		for _, e := range m.events {
			if after.Before(e.Position) && p.wants(e.User) {
				events = append(events, e)
			}
		}
	}
	return events
}

// join counts a follower and begins the tail for the first.
func (r *Reader) join() (*tail, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil || r.stopped {
		return nil, store.ErrClosed
	}
	r.follows++
	if r.idle != nil {
		r.idle.Stop()
		r.idle = nil
	}
	if r.tail == nil {
		ctx, cancel := context.WithCancel(r.ctx)
		r.tail = &tail{r: r, end: cancel, most: r.cfg.Ring, ready: make(chan struct{}), grown: make(chan struct{})}
		r.finished.Add(1)
		go func(t *tail) {
			defer r.finished.Done()
			t.run(ctx)
		}(r.tail)
	}
	return r.tail, nil
}

// leave ends the tail a while after the last follower.
func (r *Reader) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.follows--; r.follows > 0 || r.tail == nil || r.stopped {
		return
	}
	t := r.tail
	r.idle = time.AfterFunc(r.cfg.Linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.follows == 0 && r.tail == t {
			t.end()
			r.tail = nil
		}
	})
}

// bound ends a caller's context with the reader's.
func (r *Reader) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	mine := r.ctx
	r.mu.Unlock()
	if mine == nil {
		cancel()
		return ctx, cancel
	}
	stop := context.AfterFunc(mine, cancel)
	return ctx, func() { stop(); cancel() }
}
