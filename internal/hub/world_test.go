package hub

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app presence.AppID = "demo"

func named(id presence.UserID) presence.User { return presence.User{App: app, ID: id} }

// world is a Source whose users do what a test tells them; it makes pictures by
// the rules of presence.Presence.
type world struct {
	hub *Hub

	mu    sync.Mutex // guards all below
	users map[presence.User]*person
	clock presence.Time
	veils map[presence.User]sights
}

// sights is a Sight: who may not be seen, since when, and the last seen that may
// be known. A world replaces it whole.
type sights map[presence.UserID][2]presence.Time

// Of implements Sight.
func (s sights) Of(target presence.UserID) (visible bool, since, seen presence.Time) {
	v, veiled := s[target]
	return !veiled, v[0], v[1]
}

// person is one user of a world.
type person struct {
	picture *presence.Presence
	version uint32
	floor   uint32
	// floorShown is floor as others may know it.
	floorShown uint32
	seen       presence.Time
	shown      presence.Time
	late       uint32
	lateShown  uint32
	sessions   []*stay
}

// stay is one session of a person.
type stay struct {
	presence.View
	revision uint64
}

func (s *stay) open() bool   { return s.True.Open() }
func (s *stay) hidden() bool { return s.Status != nil && s.Status.Invisible }

func newWorld() *world {
	w := &world{users: map[presence.User]*person{}, clock: 1_700_000_000_000, veils: map[presence.User]sights{}}
	w.hub = New(w, w)
	return w
}

// Sight implements Seer.
func (w *world) Sight(u presence.User) Sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.veils[u]; s != nil {
		return s
	}
	return nil
}

// veil takes target out of a watcher's sight now, or back into it, and tells the
// hub.
func (w *world) veil(watcher, target presence.UserID, on bool) {
	w.mu.Lock()
	w.clock++
	s := sights{}
	for u, v := range w.veils[named(watcher)] {
		s[u] = v
	}
	if on {
		seen := w.person(target).shown
		if w.person(target).picture.Available(false) != presence.Unavailable {
			seen = w.clock
		}
		s[target] = [2]presence.Time{w.clock, seen}
	} else {
		delete(s, target)
	}
	if w.veils[named(watcher)] = s; len(s) == 0 {
		delete(w.veils, named(watcher))
	}
	w.mu.Unlock()
	w.hub.SightChanged(named(watcher), []presence.UserID{target})
}

// veiled reports whether target is out of the watcher's sight, and the last seen
// that he may know.
func (w *world) veiled(watcher presence.User, target presence.UserID) (seen presence.Time, veiled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, veiled := w.veils[watcher][target]
	return v[1], veiled && watcher.ID != target
}

// Presence implements Source.
func (w *world) Presence(u presence.User) *presence.Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.users[u]; p != nil {
		return p.picture
	}
	return &presence.Presence{User: u}
}

// person returns a user, made when new. The lock is held.
func (w *world) person(id presence.UserID) *person {
	p := w.users[named(id)]
	if p == nil {
		p = &person{picture: &presence.Presence{User: named(id)}}
		w.users[named(id)] = p
	}
	return p
}

// paint makes the newest picture readable. The lock is held.
func (w *world) paint(id presence.UserID) *presence.Presence {
	p := w.person(id)
	views := make([]*presence.View, len(p.sessions))
	for i, s := range p.sessions {
		v := s.View
		if old := p.picture; old != nil {
			for _, o := range old.Sessions {
				if o.Public == v.Public && *o == v {
					views[i] = o // unchanged sessions keep their View, as the contract has it
				}
			}
		}
		if views[i] == nil {
			views[i] = &v
		}
	}
	p.picture = &presence.Presence{
		User: named(id), Version: p.version, Floor: p.floor, FloorShown: p.floorShown, LastSeen: p.seen, LastSeenShown: p.shown, Late: p.late, LateShown: p.lateShown, Sessions: views,
	}
	return p.picture
}

// change runs f on a user, and returns the picture that came of it.
func (w *world) change(id presence.UserID, f func(p *person, at presence.Time)) *presence.Presence {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock++
	p := w.person(id)
	p.version++
	f(p, w.clock)
	return w.paint(id)
}

// opens opens a session: public names it, and one that closed opens anew.
func (w *world) opens(id presence.UserID, public presence.PublicID, status *presence.Status) *presence.Presence {
	return w.change(id, func(p *person, at presence.Time) {
		i := slices.IndexFunc(p.sessions, func(s *stay) bool { return s.Public == public })
		if i < 0 {
			p.sessions = append(p.sessions, &stay{View: presence.View{Public: public, Device: &presence.Device{Platform: "web"}}})
			i = len(p.sessions) - 1
		}
		s := p.sessions[i]
		s.revision++
		s.Status = status
		s.True = presence.Face{Opened: p.version, Changed: p.version, Revision: s.revision, Since: at, Updated: at}
		if !s.hidden() {
			s.Shown = s.True
		}
	})
}

// updates gives an open session a new status; hiding and showing are part of it.
func (w *world) updates(id presence.UserID, public presence.PublicID, status presence.Status) *presence.Presence {
	return w.change(id, func(p *person, at presence.Time) {
		s := p.stay(public)
		was := s.hidden()
		s.revision++
		s.Status = &status
		s.True.Changed, s.True.Updated, s.True.Revision = p.version, at, s.revision
		switch {
		case status.Invisible && s.Shown.Open():
			s.Shown.Closed, s.Shown.ClosedAt, s.Shown.Reason = p.version, at, presence.ReasonHidden
			p.shown = at
		case !status.Invisible && was:
			s.Shown = s.True
			s.Shown.Opened, s.Shown.Since = p.version, at
		case s.Shown.Open():
			s.Shown.Changed, s.Shown.Updated, s.Shown.Revision = p.version, at, s.revision
		}
	})
}

// closes ends an open session.
func (w *world) closes(id presence.UserID, public presence.PublicID) *presence.Presence {
	return w.change(id, func(p *person, at presence.Time) {
		s := p.stay(public)
		hidden := s.hidden()
		s.True.Closed, s.True.ClosedAt, s.True.Reason = p.version, at, presence.ReasonLogout
		p.seen = at
		if !hidden {
			p.shown = at
		}
		if s.Shown.Open() {
			s.Shown.Closed, s.Shown.ClosedAt, s.Shown.Reason = p.version, at, presence.ReasonLogout
		}
		s.Status = nil
	})
}

// buries forgets a closed session: nobody is told, as in the tracker.
func (w *world) buries(id presence.UserID, public presence.PublicID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.person(id)
	s := p.stay(public)
	p.floor = max(p.floor, s.True.Closed)
	p.floorShown = max(p.floorShown, s.Shown.Closed)
	p.sessions = slices.DeleteFunc(p.sessions, func(o *stay) bool { return o == s })
	w.paint(id)
}

func (p *person) stay(public presence.PublicID) *stay {
	for _, s := range p.sessions {
		if s.Public == public {
			return s
		}
	}
	panic(fmt.Sprintf("the test's world has no session %v", public))
}

// publics lists a user's sessions for which want holds.
func (w *world) publics(id presence.UserID, want func(*stay) bool) (list []presence.PublicID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.person(id).sessions {
		if want(s) {
			list = append(list, s.Public)
		}
	}
	return list
}

// tell gives a picture to the hub, as the tracker does after a change.
func (w *world) tell(p *presence.Presence) { w.hub.Changed(p) }

// number makes short public ids.
func number(n int) (id presence.PublicID) {
	id[0], id[1], id[2] = byte(n>>16), byte(n>>8), byte(n)
	return id
}

// mirror is an Encoder whose bodies are the notifications themselves.
type mirror struct{}

// Encode returns a copy of n.
func (*mirror) Encode(n *Notification) Body { c := *n; return &c }

// Locale returns it as it is.
func (*mirror) Locale(_ presence.AppID, locale string) string { return locale }

// join makes a watcher of the world's hub.
func (w *world) join(session byte, p Params) *Watcher {
	if p.User.App == "" {
		p.User.App = app
	}
	return w.hub.Join(presence.SessionID{session}, p)
}

// saying is a status that differs for each n.
func saying(n int) presence.Status {
	return presence.Status{Text: presence.Value{Kind: presence.KindText, Text: fmt.Sprint(n)}}
}
