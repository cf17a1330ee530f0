package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// farBehind is how many messages of the log the lanes of one pass may be apart
// when a run begins: those that are further behind are read for on their own, so
// that the others need not wait for it.
const farBehind = 4096

// errMerged ends a pass whose lanes have all caught up, or left.
var errMerged = errors.New("webhook: the pass has no lane any more")

// pass is one reading of the log for some lanes of a run. The live pass reads
// at the end of the log and never ends; what lanes missed that were too slow for
// it a second pass reads again, until they have caught up.
type pass struct {
	run *run
	// live is nil for the live pass itself.
	live *pass
	// only, when not nil, chooses the users that are read; nil: all.
	only func(presence.UserID) bool
	// reading is through where the pass reads, or has read; guarded by run.mu.
	reading Position
}

// follow reads from a position on until ctx ends or the pass has no lane.
func (p *pass) follow(ctx context.Context, from Position) error {
	p.run.mu.Lock()
	p.reading = from
	p.run.mu.Unlock()
	params := facts.Params{App: p.run.endpoint.App, After: recordStart(from), Only: p.only}
	err := p.run.d.cfg.Reader.Follow(ctx, params, func(events []*facts.Event, through Position) error {
		return p.take(ctx, events, through)
	})
	if errors.Is(err, errMerged) {
		return nil
	}
	return err
}

// take puts a stretch of the log into the lanes.
func (p *pass) take(ctx context.Context, events []*facts.Event, through Position) error {
	p.run.mu.Lock()
	p.reading = newer(p.reading, through)
	p.run.mu.Unlock()
	now := time.Now()
	for _, e := range p.run.seen(events) {
		if p.run.keeper.delivered(&e) {
			continue
		}
		q := queued{Event: e, read: now}
		if p.run.holder != nil {
			q.hold = p.run.holder.Hold(&e)
		}
		if err := p.run.lanes[laneOf(e.User.ID, len(p.run.lanes))].put(ctx, p, q); err != nil {
			return err
		}
	}
	for _, l := range p.run.lanes {
		l.passed(p, through)
	}
	signal(p.run.keeper.passed)
	if p.live != nil && p.merged() {
		return errMerged
	}
	return nil
}

// merged gives lanes that have caught up with the live pass to it. It reports
// whether the pass has no lane left.
func (p *pass) merged() bool {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	left := false
	for _, l := range p.run.lanes {
		l.mu.Lock()
		if l.from == p {
			// What the live pass is about to skip for this lane, because it is not
			// its lane yet, must be in its queue.
			if !l.taken.Before(p.live.reading) {
				l.from = p.live
			} else {
				left = true
			}
		}
		l.mu.Unlock()
	}
	return !left
}

// suffers says whether other lanes of the pass want for something because it
// waits for l.
func (p *pass) suffers(l *lane) bool {
	if !p.run.breaker.closed() {
		return false // all wait
	}
	failing := l.failing()
	for _, o := range p.run.lanes {
		if o == l || !o.of(p) {
			continue
		}
		if o.idle() || failing && !o.failing() {
			return true
		}
	}
	return false
}

func (l *lane) of(p *pass) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from == p
}

// recovered wants the lane to be read for again.
func (r *run) recovered(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behind[l] {
		return
	}
	r.behind[l] = true
	signal(r.wanted)
}

// catchUp reads for lanes that are behind, until ctx ends.
func (r *run) catchUp(ctx context.Context) error {
	for {
		select {
		case <-r.wanted:
		case <-ctx.Done():
			return nil
		}
		for {
			again, err := r.readAgain(ctx)
			if err != nil || ctx.Err() != nil {
				return err
			}
			if !again {
				break
			}
		}
	}
}

// readAgain makes one pass for the lanes that are behind. It ends when they
// have caught up, and begins anew when more lanes want it.
func (r *run) readAgain(ctx context.Context) (again bool, err error) {
	p := &pass{run: r, live: r.live}
	from, any := r.gather(p)
	if !any {
		return false, nil
	}
	one, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.follow(one, from) }()
	select {
	case err = <-done:
	case <-r.wanted:
		cancel()
		<-done
		again = true
	}
	r.release(p)
	if err != nil && ctx.Err() == nil {
		return false, r.skipGap(ctx, err)
	}
	return again || r.anyBehind(), nil
}

// gather makes all lanes that nobody reads for and that have room the pass's,
// and says where it must begin.
func (r *run) gather(p *pass) (from Position, any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := make([]bool, len(r.lanes))
	for i, l := range r.lanes {
		l.mu.Lock()
		if l.behind() {
			if l.from, mine[i] = p, true; !any {
				from, any = l.taken, true
			}
			from = older(from, l.taken)
		}
		l.mu.Unlock()
		delete(r.behind, l)
	}
	p.only = func(user presence.UserID) bool { return mine[laneOf(user, len(mine))] }
	return from, any
}

// release makes what is left of an ended pass's lanes want another.
func (r *run) release(p *pass) {
	for _, l := range r.lanes {
		l.leave(p)
	}
}

func (r *run) anyBehind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.behind) > 0
}
