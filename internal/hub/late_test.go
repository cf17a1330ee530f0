package hub

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A last seen that turns out to be later than was told with the end of a session is
// told to who was told the earlier one, on his side only, and once (R12).
func TestALaterLastSeenIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld()
	at := map[string]Attached{}
	watchers := map[string]*Watcher{}
	for i, name := range []presence.UserID{"alice", "bob"} {
		s := w.join(byte(i+1), Params{User: named(name), Limit: 10})
		a, err := s.Attach(&mirror{}, func() {}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Watch([]presence.UserID{"bob"}, ScopeNone); err != nil {
			t.Fatal(err)
		}
		watchers[string(name)], at[string(name)] = s, a
	}
	tells := func(what, who string, want ...Notification) {
		t.Helper()
		frames, _ := watchers[who].Drain(at[who].Stream, nil, 100)
		if len(frames) != len(want) {
			t.Fatalf("%s: %s is told %d things, want %d", what, who, len(frames), len(want))
		}
		for i, f := range frames {
			n := f.Body.(*Notification)
			if n.Kind != want[i].Kind || n.Available != want[i].Available || n.Presence.Seen(n.Own) != want[i].Presence.LastSeen {
				t.Errorf("%s: %s is told kind %d, available %v, last seen %d, want %+v", what, who, n.Kind, n.Available, n.Presence.Seen(n.Own), want[i])
			}
		}
	}
	told := func(kind Kind, available bool, seen presence.Time) Notification {
		return Notification{Kind: kind, Available: available, Presence: &presence.Presence{LastSeen: seen}}
	}
	late := func(truth, shown bool) (seen presence.Time) {
		p := w.change("bob", func(p *person, at presence.Time) {
			if seen = at; truth {
				p.seen, p.late = at, p.version
			}
			if shown {
				p.shown, p.lateShown = at, p.version
			}
		})
		w.tell(p)
		return seen
	}
	tells("at first", "alice", told(KindNone, false, 0))
	tells("at first", "bob", told(KindNone, false, 0))
	w.tell(w.opens("bob", presence.PublicID{1}, nil))
	tells("he comes", "alice", told(KindOpened, true, 0))
	late(true, true)
	tells("it is later while he is there", "alice")
	p := w.closes("bob", presence.PublicID{1})
	w.tell(p)
	tells("he goes", "alice", told(KindClosed, false, p.LastSeen))
	seen := late(false, true)
	tells("it is later to others", "alice", told(KindNone, false, seen))
	tells("all of it", "bob", told(KindClosed, false, p.LastSeen))
	late(true, false)
	tells("it is later in truth", "alice")
	if frames, _ := watchers["bob"].Drain(at["bob"].Stream, nil, 100); len(frames) != 1 {
		t.Errorf("it is later in truth: he himself is told %d things", len(frames))
	}
	w.tell(w.opens("bob", presence.PublicID{2}, nil))
	tells("he comes again", "alice", told(KindOpened, true, seen))
}
