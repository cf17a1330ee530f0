package facts

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// MaxChanges is the most events that Changes returns at once.
const MaxChanges = 10_000

// ChangesParams say which changes are wanted.
type ChangesParams struct {
	App   presence.AppID
	After Position
	Limit int           // 0: 1,024; at most MaxChanges
	Wait  time.Duration // for the first event, when there is none yet
}

// Changes is a part of what Follow would give.
type Changes struct {
	Events  []*Event // shared: they must not be changed
	Through Position // ask with this next
	More    bool     // there is more at once
}

// Changes is Follow by pull: up to Limit events of an app behind a position.
// When there is none, it waits for one, and returns without any when Wait is
// over. What was stored before the call is told whatever Wait is. Errors are as
// Follow's. Who asks on within a minute for what follows is
// answered without folding anew.
func (r *Reader) Changes(ctx context.Context, p ChangesParams) (Changes, error) {
	t, err := r.join()
	if err != nil {
		return Changes{}, err
	}
	defer r.leave()
	if p.Limit <= 0 {
		p.Limit = handful
	}
	c := &pull{r: r, t: t, p: p, want: Params{App: p.App, After: p.After}, at: p.After}
	c.p.Limit = min(p.Limit, MaxChanges)
	if _, c.stored, err = r.store.Ends(ctx); err != nil {
		return Changes{}, err
	}
	timer := time.NewTimer(p.Wait)
	defer timer.Stop()
	select {
	case <-t.ready:
	case <-ctx.Done():
		return Changes{}, ctx.Err()
	}
	for {
		events, more, grown, err := c.next(ctx)
		if err != nil {
			return Changes{}, err
		}
		if err := r.erased.refresh(ctx); err != nil {
			return Changes{}, err
		}
		if events = r.visible(events); len(events) > 0 {
			return Changes{events, c.at, more}, nil
		}
		if grown == nil {
			continue
		}
		over := timer.C
		if c.at.need() < c.stored { // the tail is about to read it
			over = nil
		}
		select {
		case <-grown:
		case <-over:
			return Changes{nil, c.at, false}, nil
		case <-ctx.Done():
			return Changes{}, ctx.Err()
		}
	}
}

// pull is one call of Changes.
type pull struct {
	r    *Reader
	t    *tail
	p    ChangesParams
	want Params
	at   Position
	// stored is what the next message would have got when the call came.
	stored uint64
}

// next takes what the ring has, or a page of a pass; grown is not nil when
// there is nothing more yet.
func (c *pull) next(ctx context.Context) (events []*Event, more bool, grown <-chan struct{}, err error) {
	messages, next, grown, err := c.t.take(c.at)
	switch {
	case errors.Is(err, errBehind):
		var end uint64
		events, c.at, end, err = c.r.page(ctx, request{c.p.App, &c.want, c.at, c.p.Limit, false})
		return events, c.at.need() < end, nil, err
	case err != nil:
		return nil, false, nil, err
	case grown != nil:
		_, end, err := c.r.store.Ends(ctx)
		if err == nil && c.at.need() > end {
			err = &BeyondError{c.at, End(end - 1)}
		}
		return nil, false, grown, err
	}
	events = chosen(messages, &c.want, c.at)
	if len(events) > c.p.Limit {
		events = events[:c.p.Limit]
		c.at = events[c.p.Limit-1].Position
		return events, true, nil, nil
	}
	c.at = End(next - 1)
	return events, next < c.stored || !c.t.reached(next), nil, nil
}
