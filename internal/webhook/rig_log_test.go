package webhook

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// fakeLog is a log of one app's facts in memory: each record is one message.
type fakeLog struct {
	mu     sync.Mutex
	users  map[presence.UserID]*presence.Folded
	events []*facts.Event
	next   uint64
	first  uint64 // what is before is gone
	grown  chan struct{}
	asked  int // calls of Follow
	erased map[presence.UserID]bool
	held   chan struct{} // when not nil, nothing is read before it is closed
}

func newFakeLog() *fakeLog {
	return &fakeLog{users: map[presence.UserID]*presence.Folded{}, erased: map[presence.UserID]bool{}, next: 1, grown: make(chan struct{})}
}

// append claims something now.
func (l *fakeLog) append(kind presence.RecordKind, user string, session byte, more ...func(*presence.Record)) []*facts.Event {
	r := record(kind, session, presence.At(time.Now()), more...)
	r.User.ID = presence.UserID(user)
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[r.User.ID]
	if u == nil {
		u = &presence.Folded{}
		l.users[r.User.ID] = u
	}
	r.Revision = u.Seq + 1
	var mine []*facts.Event
	for n, f := range u.Apply(&r, nil) {
		mine = append(mine, &facts.Event{Fact: f, Position: Position{Sequence: l.next, Ordinal: uint32(n)}})
	}
	l.next++
	l.events = append(l.events, mine...)
	close(l.grown)
	l.grown = make(chan struct{})
	return mine
}

// counter grows with the log, so that a session opens anew.
func (l *fakeLog) counter() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint32(l.next)
}

func nth(counter uint32) func(*presence.Record) {
	return func(r *presence.Record) { r.Epoch.Counter = counter }
}

func because(reason presence.Reason) func(*presence.Record) {
	return func(r *presence.Record) { r.Reason = reason }
}

func (l *fakeLog) after(p facts.Params) (events []*facts.Event, through Position, grown chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := p.After
	if at.Sequence+1 < l.first {
		return nil, at, nil, &facts.GapError{From: at, To: facts.End(l.first - 1)}
	}
	i, _ := slices.BinarySearchFunc(l.events, at, func(e *facts.Event, p Position) int { return e.Position.Compare(p) })
	for _, e := range l.events[i:] {
		if !at.Before(e.Position) || p.Only != nil && !p.Only(e.User.ID) {
			continue
		}
		if len(events) >= 100 && events[len(events)-1].Position.Sequence != e.Position.Sequence {
			return events, facts.End(e.Position.Sequence - 1), nil, nil
		}
		events = append(events, e)
	}
	return events, newer(at, facts.End(l.next-1)), l.grown, nil
}

func (l *fakeLog) Follow(ctx context.Context, p facts.Params, f func([]*facts.Event, Position) error) error {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	if l.held != nil {
		select {
		case <-l.held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		events, through, grown, err := l.after(p)
		if err != nil {
			return err
		}
		if p.After.Before(through) {
			if err := f(events, through); err != nil {
				return err
			}
			p.After = through
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if grown != nil {
			select {
			case <-grown:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (l *fakeLog) End(context.Context) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return facts.End(l.next - 1), nil
}

func (l *fakeLog) Oldest(context.Context) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == 0 {
		return Position{}, nil
	}
	return facts.End(l.first - 1), nil
}

func (l *fakeLog) At(_ context.Context, t time.Time) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Time >= presence.At(t) {
			return recordStart(e.Position), nil
		}
	}
	return facts.End(l.next - 1), nil
}

func (l *fakeLog) Hides(_ context.Context, e *facts.Event) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.erased[e.User.ID], nil
}

func (l *fakeLog) seq(_ context.Context, user presence.User) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.users[user.ID]; u != nil {
		return u.Seq, nil
	}
	return 0, nil
}
