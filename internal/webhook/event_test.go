package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// folded folds records of one user and numbers the facts as a reader does.
func folded(records ...presence.Record) (events []*facts.Event) {
	var u presence.Folded
	for i, r := range records {
		for n, f := range u.Apply(&r, nil) {
			events = append(events, &facts.Event{Fact: f, Position: Position{Sequence: uint64(i + 1), Ordinal: uint32(n)}})
		}
	}
	return events
}

func record(kind presence.RecordKind, session byte, at presence.Time, more ...func(*presence.Record)) presence.Record {
	r := presence.Record{
		Kind: kind, User: presence.User{App: "demo", ID: "alice"}, Time: at,
		Session: presence.SessionID{session}, Public: presence.PublicID{session}, Epoch: presence.Epoch{Counter: 1},
		Revision: uint64(at), Reason: presence.ReasonLeft,
	}
	for _, m := range more {
		m(&r)
	}
	return r
}

func single(r *presence.Record)    { r.Policy = presence.Single }
func invisible(r *presence.Record) { r.Invisible = true }

// told writes events as a reader of tests likes them: kind, session, whether
// the user is available before and after, and "!" for first or last.
func told(events []Event) (lines []string) {
	for _, e := range events {
		line := e.Kind.String() + " " + string('0'+rune(e.Session.Public[0])) + " "
		for _, b := range []bool{e.Before, e.After, e.First} {
			line += string("-+"[map[bool]int{true: 1}[b]])
		}
		for _, r := range e.Replaced {
			line += " replaces " + string('0'+rune(r.Public[0]))
		}
		if e.OpeningFollows {
			line += " follows"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestViews(t *testing.T) {
	t.Parallel()
	const opened, closed, hidden, shown, custom = presence.RecordOpened, presence.RecordClosed, presence.RecordHidden, presence.RecordShown, presence.RecordCustom
	for name, c := range map[string]struct {
		records      []presence.Record
		truth, shown []string
	}{
		"two sessions": {
			[]presence.Record{record(opened, 1, 10), record(opened, 2, 20), record(closed, 1, 30), record(closed, 2, 40)},
			[]string{"opened 1 -++", "opened 2 ++-", "closed 1 ++-", "closed 2 +-+"},
			[]string{"opened 1 -++", "opened 2 ++-", "closed 1 ++-", "closed 2 +-+"},
		},
		"hidden says nothing more until shown": {
			[]presence.Record{record(opened, 1, 10), record(hidden, 1, 20), record(custom, 1, 30), record(shown, 1, 40), record(closed, 1, 50)},
			[]string{"opened 1 -++", "hidden 1 ++-", "custom 1 ++-", "shown 1 ++-", "closed 1 +-+"},
			[]string{"opened 1 -++", "hidden 1 +-+", "shown 1 -++", "closed 1 +-+"},
		},
		"closed while hidden": {
			[]presence.Record{record(opened, 1, 10), record(opened, 2, 20), record(hidden, 1, 30), record(closed, 1, 40, invisible), record(closed, 2, 50)},
			[]string{"opened 1 -++", "opened 2 ++-", "hidden 1 ++-", "closed 1 ++-", "closed 2 +-+"},
			[]string{"opened 1 -++", "opened 2 ++-", "hidden 1 ++-", "closed 2 +-+"},
		},
		"opened invisible": {
			[]presence.Record{record(opened, 1, 10, invisible), record(opened, 2, 20), record(closed, 2, 30), record(closed, 1, 40, invisible)},
			[]string{"opened 1 -++", "opened 2 ++-", "closed 2 ++-", "closed 1 +-+"},
			[]string{"opened 2 -++", "closed 2 +-+"},
		},
		"replaced": {
			[]presence.Record{record(opened, 1, 10), record(opened, 2, 20, single)},
			[]string{"opened 1 -++", "closed 1 +-+ follows", "opened 2 -++ replaces 1"},
			[]string{"opened 1 -++", "closed 1 +-+ follows", "opened 2 -++ replaces 1"},
		},
		"replaced by one that is invisible": {
			[]presence.Record{record(opened, 1, 10), record(opened, 2, 20, single, invisible)},
			[]string{"opened 1 -++", "closed 1 +-+ follows", "opened 2 -++ replaces 1"},
			[]string{"opened 1 -++", "closed 1 +-+"},
		},
		"an invisible one replaced": {
			[]presence.Record{record(opened, 1, 10, invisible), record(opened, 2, 20, single)},
			[]string{"opened 1 -++", "closed 1 +-+ follows", "opened 2 -++ replaces 1"},
			[]string{"opened 2 -++"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := folded(c.records...)
			if diff := cmp.Diff(c.truth, told(Truth.events(log))); diff != "" {
				t.Errorf("truth (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.shown, told(Shown.events(log))); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			for _, e := range Shown.events(log) {
				for _, id := range e.Replaces {
					if len(e.Replaced) == 0 {
						t.Errorf("shown tells that %v was replaced, which was never seen", id)
					}
				}
			}
		})
	}
}
