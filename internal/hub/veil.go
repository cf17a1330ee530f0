package hub

import (
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Sight says whom a watcher may see. It never changes.
type Sight interface {
	// Of reports whether target may be seen. If not, since is when he went out of
	// sight and seen the last seen that may be known of him, 0 if none.
	Of(target presence.UserID) (visible bool, since, seen presence.Time)
}

// Seer gives the newest Sight of a user, or nil when he sees everybody. It must
// not block for long.
type Seer interface {
	Sight(presence.User) Sight
}

// sight is what a watcher knows of whom it may see; Watcher.mu guards it.
type sight struct {
	Sight        // nil: everybody
	asked uint32 // how often the seer was asked
	of    uint32 // which of the questions the Sight answers
	// veils are by edge: of targets that may not be seen, or of whom something is
	// never told; nil while there is none.
	veils map[uint32]*veil
}

// veil stands between a watcher and a target that it may not see, or once might
// not.
type veil struct {
	since, seen presence.Time
	// face is the target as if he had left when the veil fell. What the watcher
	// is told is made of it, by the same code as for one who left: so nothing
	// tells the two apart (R11). nil: the veil is lifted.
	face *presence.Presence
	// behind is a version of the target: closes up to it are not told. It is that
	// of the lifting of a veil, for nothing that happened behind it is told; or
	// that of the beginning, for the device never knew those sessions, and a veil
	// has none to tell of to one who began to watch after it fell.
	behind uint32
}

// SightChanged tells the sessions of user that what he may see of targets has
// changed; nil targets are everybody. The new Sight must be readable before.
func (h *Hub) SightChanged(user presence.User, targets []presence.UserID) {
	for _, w := range h.watchersOf(user) {
		w.look(targets)
	}
}

// look asks the seer and lets veils fall and lift; nil targets are all.
func (w *Watcher) look(targets []presence.UserID) {
	if w.hub.seer == nil {
		return
	}
	w.mu.Lock()
	w.sight.asked++
	question := w.sight.asked
	w.mu.Unlock()
	// Not under the lock: the seer has locks too, and may hold one of them while
	// it calls the hub. Of two answers the one to the later question counts, for
	// it was given after the change that either was asked for.
	answer := w.hub.seer.Sight(w.params.User)
	w.mu.Lock()
	defer w.mu.Unlock()
	if question > w.sight.of {
		w.sight.of, w.sight.Sight = question, answer
	}
	var pushed []uint32
	if targets == nil {
		for i := range w.edges {
			if w.edges[i].target != 0 && w.cover(uint32(i)) {
				pushed = append(pushed, uint32(i))
			}
		}
	} else {
		find := w.finder(len(targets))
		for _, u := range targets {
			if i, ok := find(u); ok && w.cover(i) {
				pushed = append(pushed, i)
			}
		}
	}
	if len(pushed) > 0 {
		w.queue.pushAll(pushed, nil)
	}
}

// cover lets the veil of an edge fall or lift, as the sight has it, and reports
// whether it did.
func (w *Watcher) cover(i uint32) bool {
	if w.sight.Sight == nil && w.sight.veils == nil {
		return false
	}
	name := w.target(&w.edges[i]).picture.Load().User
	visible, since, seen := true, presence.Time(0), presence.Time(0)
	if w.sight.Sight != nil && name != w.params.User {
		visible, since, seen = w.sight.Of(name.ID)
	}
	old := w.sight.veils[i]
	covered := old != nil && old.face != nil
	if covered != visible && (visible || old.since == since && old.seen == seen) {
		return false
	}
	if covered {
		w.lift(i, old)
	}
	if !visible {
		w.fall(i, since, seen)
	}
	return true
}

// fall puts a veil before a target.
func (w *Watcher) fall(i uint32, since, seen presence.Time) {
	e := &w.edges[i]
	t := w.target(e)
	t.veil(w.number, e.slot(), true)
	p := w.newest(t)
	v := &veil{since: since, seen: seen, face: &presence.Presence{
		User: p.User, Version: p.Version + 1, FloorShown: p.FloorShown, LastSeen: seen, LastSeenShown: seen,
	}}
	if old := w.sight.veils[i]; old != nil {
		v.behind = old.behind
	}
	w.note(i, v)
	if e.sequence == 0 {
		return // the device knows no sessions
	}
	for _, s := range p.Sessions {
		told := s.Shown.Closed != 0 && int32(s.Shown.Closed-e.version) <= 0
		switch left := leaves(s, since, v.face.Version); {
		case told && s.Shown.Since <= since:
			// Of that close he knows, though it came while the veil was on its way.
			v.face.Sessions = append(v.face.Sessions, s)
		case left != nil:
			v.face.Sessions = append(v.face.Sessions, left)
		case s.Shown.Opened != 0 && int32(s.Shown.Opened-e.version) <= 0:
			// The device was told of a session that began when nobody might see it
			// any more, or never might: the picture starts over.
			e.setSend(max(e.send(), sendOver))
		}
	}
}

// begin notes the closes that a device which begins to watch never hears of.
func (w *Watcher) begin(i uint32, p *presence.Presence, own bool) {
	closed := func(v *presence.View) bool { return v.Face(own).Closed != 0 }
	if v := w.sight.veils[i]; v == nil && slices.ContainsFunc(p.Sessions, closed) {
		w.note(i, &veil{behind: p.Version})
	}
}

func (w *Watcher) note(i uint32, v *veil) {
	if w.sight.veils == nil {
		w.sight.veils = map[uint32]*veil{}
	}
	w.sight.veils[i] = v
}

// leaves returns a session as if it had left at a time, as the given version; s
// itself if it closed before, and nil if others saw nothing of it by then.
func leaves(s *presence.View, at presence.Time, version uint32) *presence.View {
	f := s.Shown
	switch {
	case f.Opened == 0 || f.Since > at:
		return nil
	case f.Closed != 0 && f.ClosedAt <= at:
		return s
	}
	f.Closed, f.ClosedAt, f.Reason = version, at, presence.ReasonHidden
	f.Updated = min(f.Updated, at) // it may have changed since, before anybody got here
	return &presence.View{Public: s.Public, Device: s.Device, Shown: f}
}

// lift takes a veil away. What changed behind it is never told: the sessions
// that are open now open, as far as the watcher knows.
func (w *Watcher) lift(i uint32, v *veil) {
	e := &w.edges[i]
	t := w.target(e)
	t.veil(w.number, e.slot(), false)
	if e.version != v.face.Version { // nobody was told that it fell
		if delete(w.sight.veils, i); v.behind != 0 {
			w.sight.veils[i] = &veil{behind: v.behind}
		}
		return
	}
	e.version = w.newest(t).Version
	w.sight.veils[i] = &veil{behind: e.version}
	// A device that has not got the closes of the veil starts over: they are not
	// those of the picture.
	e.setOver(true)
	switch e.send() {
	case sendChanges:
		e.setSend(sendShown)
	case sendAgain:
		e.setSend(sendOver)
	}
}

// newest makes the picture of a target the newest there is, and returns it: a
// change may be on its way to Changed, and the two must not cross.
func (w *Watcher) newest(t *target) *presence.Presence {
	if t.show(w.hub.source.Presence(t.picture.Load().User)) {
		t.tell(&w.hub.numbers, 0)
	}
	return t.picture.Load()
}
