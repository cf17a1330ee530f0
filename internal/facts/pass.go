package facts

import (
	"context"
	"errors"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// pass is one reading of the log with a fold of its own.
type pass struct {
	r     *Reader
	wants func(presence.User) bool // nil: everybody
	tell  Position                 // events behind it are told
	fold  *fold
	facts []presence.Fact
	left  []*Event // read and not given yet

	next    uint64 // message to read next
	through *[store.Shards]uint64
	base    uint64 // its position; shards are asked for their through until then
}

// baseTries is how often a base is chosen that is dropped while it is read.
const baseTries = 3

// begin makes a pass that tells what is behind a position.
func (r *Reader) begin(ctx context.Context, tell Position, wants func(presence.User) bool) (*pass, error) {
	for try := 1; ; try++ {
		p := &pass{r: r, wants: wants, tell: tell, fold: newFold()}
		base, err := r.baseAt(ctx, tell)
		if err == nil {
			err = p.load(ctx, base, func() error { return nil })
		}
		if err == nil {
			return p, nil
		}
		if try == baseTries || !errors.Is(err, store.ErrGap) {
			return nil, err
		}
	}
}

// baseAt chooses the newest base at or before a position. Without any it
// returns the zero Base, if the log still has its beginning, else a GapError.
func (r *Reader) baseAt(ctx context.Context, tell Position) (store.Base, error) {
	// First the bases, then the ends: a base that the log was cut behind since
	// is found out by load.
	all, err := r.store.Bases(ctx)
	if err != nil {
		return store.Base{}, err
	}
	first, next, err := r.store.Ends(ctx)
	if err != nil {
		return store.Base{}, err
	}
	need := tell.need()
	if need > next {
		return store.Base{}, &BeyondError{tell, End(next - 1)}
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Position < need {
			return all[i], nil
		}
	}
	if first <= 1 {
		return store.Base{From: 1}, nil
	}
	if len(all) > 0 {
		return store.Base{}, &GapError{tell, End(all[0].Position)}
	}
	base, err := r.store.SaveBase(ctx) // the first reader of a log that was cut
	if err != nil {
		return store.Base{}, fmt.Errorf("the log begins at %d and no base is left to begin at: %w", first, err)
	}
	if base.Position < need {
		return base, nil
	}
	return store.Base{}, &GapError{tell, End(base.Position)}
}

// load takes the users of a base over, as long as enough does not say no.
func (p *pass) load(ctx context.Context, base store.Base, enough func() error) error {
	p.next, p.base = base.From, base.Position
	if base.Position == 0 {
		return nil
	}
	p.through = new([store.Shards]uint64)
	for n := range p.through {
		p.through[n] = base.From - 1
	}
	return p.r.store.ReadBase(ctx, base.Position, 0, store.Shards-1, func(n int, through uint64, state []byte) error {
		p.through[n] = through
		_, err := store.ParseShard(state, func(user presence.User, folded *presence.Folded) error {
			_, nameless := store.NamelessMark(user)
			if nameless || p.wants == nil || p.wants(user) {
				p.fold.set(user, folded, base.At)
			}
			return enough()
		})
		return err
	})
}

// message folds one message and returns what is to be told of it.
func (p *pass) message(sequence uint64, records []presence.Record) (events []*Event, err error) {
	for i := range records {
		r := &records[i]
		if p.wants != nil && !p.wants(r.User) {
			continue
		}
		if sequence <= p.base && sequence <= p.through[store.Shard(r.User)] {
			continue
		}
		if p.facts, err = p.fold.apply(r, p.facts[:0]); err != nil {
			return nil, err
		}
		for j := range p.facts {
			f := &p.facts[j]
			at := Position{sequence, uint32(i), uint32(j)}
			if f.Kind == presence.RecordMoved || !p.tell.Before(at) {
				continue // nobody outside is told that a session moved
			}
			events = append(events, &Event{at, *f})
		}
	}
	p.next = sequence + 1
	if p.next > p.base {
		p.through = nil
	}
	return events, nil
}

// errEnough ends a replay early.
var errEnough = errors.New("facts: enough for now")

// read returns the next events of a request, of the messages before `to`; through
// is the position up to which they are all. What it read beyond them waits in
// left.
func (p *pass) read(ctx context.Context, q request, to uint64) (events []*Event, through Position, err error) {
	if len(p.left) < q.most && p.next < to {
		_, err = p.r.store.Replay(ctx, p.next, func(sequence uint64, records []presence.Record) error {
			more, err := p.message(sequence, records)
			if err != nil {
				return err
			}
			if p.left = append(p.left, more...); len(p.left) >= q.most || p.next >= to {
				return errEnough
			}
			return nil
		})
		switch {
		case err == nil || errors.Is(err, errEnough):
		case errors.Is(err, store.ErrGap) && len(p.left) > 0: // what was read before it comes first
		default:
			return nil, p.tell, p.gap(ctx, err)
		}
	}
	n := min(q.most, len(p.left))
	for q.whole && n > 0 && n < len(p.left) && p.left[n].Position.wholeRecord() == p.left[n-1].Position.wholeRecord() {
		n++
	}
	events, p.left = p.left[:n:n], p.left[n:]
	if len(p.left) > 0 {
		return events, events[n-1].Position, nil
	}
	p.left = nil
	if through = End(p.next - 1); through.Before(p.tell) {
		through = p.tell
	}
	return events, through, nil
}

// gap says where to go on when the log was cut before what is next. Of what need
// not be told it says nothing: another base may do.
func (p *pass) gap(ctx context.Context, err error) error {
	if !errors.Is(err, store.ErrGap) || p.next < p.tell.need() {
		return err
	}
	first, _, ends := p.r.store.Ends(ctx)
	if ends != nil {
		return err
	}
	from := End(p.next - 1)
	if from.Before(p.tell) {
		from = p.tell
	}
	to := End(first)
	all, bases := p.r.store.Bases(ctx)
	if bases == nil && len(all) > 0 {
		to = End(all[0].Position)
	}
	return &GapError{from, to}
}
