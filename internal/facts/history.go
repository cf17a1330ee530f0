package facts

import (
	"context"
	"errors"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// MaxHistory is the most events of one page.
	MaxHistory = 1000

	// historyWork is how many messages of the log one page looks at, about: it
	// goes back by whole stretches between two bases.
	historyWork = 100_000
)

// HistoryParams say which part of a user's history is wanted.
type HistoryParams struct {
	User   presence.User
	Before Position // the zero Position: from the newest on
	Limit  int      // 0: 100; at most MaxHistory
}

// History is a page of what happened to a user, the newest first.
type History struct {
	Events []*Event
	// Next is what to ask Before with for what is older.
	Next Position
	// More: there may be older events. A page may be empty and have more.
	More bool
}

// stretch is a part of the log between two bases.
type stretch struct {
	base store.Base
	to   uint64 // its last message
}

// History returns a page of a user's facts, as far back as the log and the
// oldest base reach. It looks at a bounded part of the log, so that a page may
// have fewer events than Limit, or none, and still More.
func (r *Reader) History(ctx context.Context, p HistoryParams) (History, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	if p.Limit <= 0 {
		p.Limit = 100
	}
	p.Limit = min(p.Limit, MaxHistory)
	stretches, err := r.stretches(ctx, p.Before)
	if err != nil {
		return History{}, err
	}
	h := History{Next: p.Before}
	for work := 0; len(stretches) > 0; {
		s := stretches[len(stretches)-1]
		stretches = stretches[:len(stretches)-1]
		events, err := r.stretch(ctx, s, &p)
		if errors.Is(err, store.ErrGap) {
			break // it was cut since: this is the end
		}
		if err != nil {
			return History{}, err
		}
		work += int(s.to + 1 - s.base.From)
		if h.add(events, &p) {
			h.More = true
			return h, nil
		}
		h.Next = Position{Sequence: s.base.Position + 1}
		if work >= historyWork && len(stretches) > 0 {
			h.More = true
			return h, nil
		}
	}
	h.Next = Position{}
	return h, nil
}

// add takes events of a stretch, oldest first, and reports whether some are
// left that would not fit.
func (h *History) add(events []*Event, p *HistoryParams) (full bool) {
	for _, e := range slices.Backward(events) {
		if !p.Before.IsZero() && !e.Position.Before(p.Before) {
			continue
		}
		if len(h.Events) == p.Limit {
			return true
		}
		h.Events = append(h.Events, e)
		h.Next = e.Position
	}
	return false
}

// stretches returns the parts of the log that hold anything before a position,
// oldest first.
func (r *Reader) stretches(ctx context.Context, before Position) (list []stretch, err error) {
	all, err := r.store.Bases(ctx)
	if err != nil {
		return nil, err
	}
	first, next, err := r.store.Ends(ctx)
	if err != nil {
		return nil, err
	}
	if first <= 1 {
		all = slices.Insert(all, 0, store.Base{From: 1})
	}
	to := next - 1
	if !before.IsZero() {
		to = min(to, before.Sequence)
	}
	for i, b := range all {
		end := to
		if i+1 < len(all) {
			end = min(end, all[i+1].Position)
		}
		if b.Position < end {
			list = append(list, stretch{b, end})
		}
	}
	return list, nil
}

// stretch returns what a stretch tells of a user before a position: the newest,
// one more than a page has.
func (r *Reader) stretch(ctx context.Context, s stretch, of *HistoryParams) (events []*Event, err error) {
	user, most := of.User, of.Limit+1
	p := &pass{r: r, wants: func(u presence.User) bool { return u == user }, tell: End(s.base.Position), fold: newFold(), next: s.base.From, base: s.base.Position}
	shard := store.Shard(user)
	if p.base > 0 {
		p.through = new([store.Shards]uint64)
		p.through[shard] = s.base.From - 1
		err := r.store.ReadBase(ctx, p.base, shard, shard, func(_ int, through uint64, state []byte) error {
			p.through[shard] = through
			_, err := store.ParseShard(state, func(u presence.User, folded *presence.Folded) error {
				if mark, ok := store.NamelessMark(u); u == user || ok && mark == store.UserMark(user) {
					p.fold.set(u, folded, s.base.At)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	err = r.store.ReplayUser(ctx, user, s.base.From, s.to+1, func(sequence uint64, records []presence.Record) error {
		more, err := p.message(sequence, records)
		if err == nil {
			err = r.erased.refresh(ctx)
		}
		for _, e := range r.visible(more) {
			if of.Before.IsZero() || e.Position.Before(of.Before) {
				events = append(events, e)
			}
		}
		if len(events) > 2*most {
			events = slices.Delete(events, 0, len(events)-most)
		}
		return err
	})
	return r.visible(events[max(0, len(events)-most):]), err // once more: he may be erased meanwhile
}
