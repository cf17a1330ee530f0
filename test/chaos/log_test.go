package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// logged is what the log says: its fold, and every fact on the way.
type logged struct {
	users   map[presence.User]*presence.Folded
	facts   []presence.Fact
	records int
}

func newLogged() *logged { return &logged{users: map[presence.User]*presence.Folded{}} }

func (g *logged) fold(records []presence.Record) {
	for i := range records {
		u := g.users[records[i].User]
		if u == nil {
			u = &presence.Folded{}
			g.users[records[i].User] = u
		}
		g.facts = u.Apply(&records[i], g.facts)
		g.records++
	}
}

// checkStore opens the directory of a stopped server and holds the log, its
// fold and the checkpoint against what devices know (R4).
func (w *world) checkStore(t *testing.T) *logged {
	t.Helper()
	bus, err := natsbus.New(natsbus.Config{Dir: w.node.data()})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.WithoutCancel(t.Context()))
	s, err := natsstore.Open(t.Context(), natsstore.Config{Bus: bus, Usage: natsstore.Room(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.WithoutCancel(t.Context()))

	g := newLogged()
	var after []message // again, for what the checkpoint does not hold
	var positions positionCheck
	if _, err := s.Replay(t.Context(), 0, func(sequence uint64, records []presence.Record) error {
		w.blameAll(positions.next(sequence, len(records)))
		after = append(after, message{sequence, records})
		g.fold(records)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.history.note(func() { w.blameAll(checkLog(w.history.lives, g)) })
	kept := map[presence.User]*presence.Folded{}
	if _, err := s.Load(t.Context(), func(n int, through uint64, shard []byte) error {
		users, err := parseShard(shard)
		for u, f := range users {
			kept[u] = catchUp(u, f, through, after)
		}
		return err
	}, func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.blameAll(checkCheckpoint(kept, g.users))
	t.Logf("the log: %d messages, %d records, %d facts of %d users; the checkpoint holds %d users", len(after), g.records, len(g.facts), len(g.users), len(kept))
	return g
}

type message struct {
	sequence uint64
	records  []presence.Record
}

// catchUp applies to the present of one user, as of a position, what the log
// has after it.
func catchUp(u presence.User, f *presence.Folded, through uint64, log []message) *presence.Folded {
	for _, m := range log {
		for i := range m.records {
			if m.sequence > through && m.records[i].User == u {
				f.Apply(&m.records[i], nil)
			}
		}
	}
	return f
}

// parseShard reads the presents in a shard of the checkpoint; what follows
// them is the tracker's.
func parseShard(b []byte) (map[presence.User]*presence.Folded, error) {
	if len(b) == 0 {
		return nil, errors.New("an empty shard")
	}
	count, rest, err := presence.ParseNumber(b[1:])
	users := map[presence.User]*presence.Folded{}
	for range count {
		var u presence.User
		var f *presence.Folded
		if u, f, rest, err = presence.ParseFolded(rest); err != nil {
			return nil, err
		}
		users[u] = f
	}
	return users, err
}

// positionCheck sees that positions grow without a gap.
type positionCheck struct{ last uint64 }

func (c *positionCheck) next(sequence uint64, records int) (found []string) {
	if c.last > 0 && sequence != c.last+1 {
		found = append(found, fmt.Sprintf("in the log message %d follows %d", sequence, c.last))
	}
	if records == 0 {
		found = append(found, fmt.Sprintf("message %d of the log is empty", sequence))
	}
	c.last = sequence
	return found
}

// checkLog finds acknowledged openings and closings that the log does not have,
// and facts in it that no device explains.
func checkLog(lives map[string]*life, g *logged) (found []string) {
	bad := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	opened, reasons := map[string]int{}, map[string][]presence.Reason{}
	seq := map[presence.User]uint64{}
	for i := range g.facts {
		f := &g.facts[i]
		id := f.Session.Public.String()
		switch f.Kind {
		case presence.RecordMoved:
			continue // nobody outside is told: it has no number
		case presence.RecordOpened:
			opened[id]++
		case presence.RecordClosed:
			reasons[id] = append(reasons[id], f.Reason)
		}
		if f.Seq != seq[f.User]+1 {
			bad("%s has number %d after %d", f.User.ID, f.Seq, seq[f.User])
		}
		seq[f.User] = f.Seq
		if l := lives[id]; l == nil && isTownUser(f.User.ID) {
			bad("the log tells of a session %s of %s that nobody made", id, f.User.ID)
		}
	}
	for id, l := range lives {
		found = append(found, checkLife(l, opened[id], reasons[id], g)...)
	}
	slices.Sort(found)
	return found
}

// checkLife does so for one session.
func checkLife(l *life, opened int, reasons []presence.Reason, g *logged) (found []string) {
	bad := func(format string, args ...any) {
		found = append(found, fmt.Sprintf("session %s of %s: ", l.public, l.user)+fmt.Sprintf(format, args...))
	}
	acked := 0
	for _, o := range l.opens {
		if o.done() {
			acked++
		}
	}
	if opened < acked || opened > len(l.opens)+l.doubtful {
		bad("%d openings were acknowledged of %d asked for, the log has %d", acked, len(l.opens), opened)
	}
	_, closed := l.bye()
	if closed && l.doubtful == 0 && !slices.Contains(reasons, presence.ReasonLogout) && !slices.Contains(reasons, presence.ReasonLeft) {
		bad("its closing was acknowledged, the log has closings %v", reasons)
	}
	open := false
	if f := g.users[presence.User{App: "demo", ID: presence.UserID(l.user)}]; f != nil {
		for i := range f.Sessions {
			open = open || f.Sessions[i].Public.String() == l.public && f.Sessions[i].Phase == presence.FoldOpen
		}
	}
	switch v := l.expected(); {
	case open && v == absent:
		bad("the log leaves it open, and it ended (%s)", l.ended)
	case !open && v == present:
		bad("the log does not leave it open: closings %v", reasons)
	}
	lost := 0
	for _, r := range reasons {
		if r == presence.ReasonNodeLost || r == presence.ReasonLinkLost || r == presence.ReasonTimedOut {
			lost++
		}
	}
	if lost > l.losses {
		bad("it was lost %d times by the log and %d times by its device", lost, l.losses)
	}
	return found
}

// checkCheckpoint holds the presents of the checkpoint, brought up to date,
// against the fold of the whole log.
func checkCheckpoint(kept, folded map[presence.User]*presence.Folded) (found []string) {
	for u, k := range kept {
		f := folded[u]
		if f == nil {
			found = append(found, fmt.Sprintf("the checkpoint has %s, of whom the log says nothing", u.ID))
			continue
		}
		if k.Seq != f.Seq || k.LastSeen != f.LastSeen || k.LastSeenShown != f.LastSeenShown {
			found = append(found, fmt.Sprintf("%s: the checkpoint leads to number %d, last seen %d and %d, the log to %d, %d and %d",
				u.ID, k.Seq, k.LastSeen, k.LastSeenShown, f.Seq, f.LastSeen, f.LastSeenShown))
		}
		for i := range f.Sessions {
			s := &f.Sessions[i]
			if o := k.Session(s.ID); o == nil || o.Phase != s.Phase || o.Epoch != s.Epoch || o.Hidden != s.Hidden || o.Reason != s.Reason {
				found = append(found, fmt.Sprintf("session %s of %s: the checkpoint leads to %+v, the log to %+v", s.Public, u.ID, o, s))
			}
		}
	}
	slices.Sort(found)
	return found
}
