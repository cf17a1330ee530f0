package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// folded folds records of one user and numbers the facts as a reader does.
func folded(records ...presence.Record) (events []Event) {
	var u presence.Folded
	for i, r := range records {
		for n, f := range u.Apply(&r, nil) {
			events = append(events, Event{Fact: f, Position: Position{uint64(i + 1), 0, uint32(n)}})
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
			facts := folded(c.records...)
			if diff := cmp.Diff(c.truth, told(Truth.events(facts))); diff != "" {
				t.Errorf("truth (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.shown, told(Shown.events(facts))); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			for _, e := range Shown.events(facts) {
				for _, id := range e.Replaces {
					if len(e.Replaced) == 0 {
						t.Errorf("shown tells that %v was replaced, which was never seen", id)
					}
				}
			}
		})
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	for _, p := range []Position{{}, {1, 2, 3}, {1 << 63, 1 << 31, 1 << 31}} {
		if got, err := ParsePosition(p.String()); got != p || err != nil {
			t.Errorf("%s: got %v, %v, want it back", p, got, err)
		}
	}
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "1.2.x", "-1.2.3", "01.2.3", "1.2.4294967296", " 1.2.3", "1.+2.3"} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	for _, pair := range [][2]Position{{{1, 9, 9}, {2, 0, 0}}, {{1, 1, 9}, {1, 2, 0}}, {{1, 1, 1}, {1, 1, 2}}} {
		if pair[0].Compare(pair[1]) != -1 || pair[1].Compare(pair[0]) != 1 || pair[0].Compare(pair[0]) != 0 {
			t.Errorf("%v is not before %v", pair[0], pair[1])
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("1.2.3")
	f.Add("18446744073709551615.4294967295.0")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePosition(s); err == nil && p.String() != s {
			t.Errorf("%q is read as %v, which is written %q: one position has two spellings", s, p, p.String())
		}
	})
}
