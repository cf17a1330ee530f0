package hub

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// device is what stands behind a watcher: it applies what reaches it and
// nothing else. Its connection may break with frames on the way.
type device struct {
	user    presence.User
	watcher *Watcher
	stream  uint64 // 0: no connection
	sent    uint64 // number of the last frame of the stream
	way     []Frame
	last    *uint64 // number of the last frame applied; nil: begins anew
	late    bool    // away for so long that it can only begin anew
	view    map[presence.UserID]*seen

	world   *world
	watched map[presence.UserID]bool          // what it asked for, as of now
	friends map[presence.UserID]bool          // whom it watches as friends; nil: it does not
	ownEnds map[*Mark]bool                    // ends of what it unwatched by name
	parted  map[presence.UserID]bool          // who was a friend: the end may be told
	frozen  map[presence.UserID]presence.Time // last seen of those whose veil was lifted silently
	told    map[presence.UserID]int           // frames ever sent about a user
	asked   map[presence.UserID]int           // told, when it was last asked for
	ended   map[presence.UserID]int           // ended marks that must come
	done    []request                         // whose done marks must come, in order
	highest map[string]uint64                 // revision per user and session ever sent
}

// request is a snapshot that was asked for.
type request struct {
	scope Scope
	user  string
	users int                     // -1: not known
	told  map[presence.UserID]int // device.told at that time
}

// seen is a device's picture of one user.
type seen struct {
	available bool
	lastSeen  presence.Time
	sessions  map[presence.PublicID]string
}

func newDevice(user presence.User, w *Watcher) *device {
	return &device{
		user: user, watcher: w, view: map[presence.UserID]*seen{}, parted: map[presence.UserID]bool{},
		ownEnds: map[*Mark]bool{}, frozen: map[presence.UserID]presence.Time{}, world: w.hub.source.(*world),
		watched: map[presence.UserID]bool{}, told: map[presence.UserID]int{}, asked: map[presence.UserID]int{},
		ended: map[presence.UserID]int{}, highest: map[string]uint64{},
	}
}

// describe is what is compared of an open session.
func describe(v *presence.View, own bool) string {
	text := ""
	if v.Status != nil {
		text = v.Status.Text.Text
	}
	return fmt.Sprintf("revision %d saying %q", v.Face(own).Revision, text)
}

// connect takes up the stream as the door does: attach, then the connected
// message. The device learns of it only if what follows reaches it.
func (d *device) connect(wake func(), after *uint64) error {
	a, err := d.watcher.Attach(&mirror{}, wake, after)
	if err != nil {
		return err
	}
	switch {
	case after != nil && !a.Resumed:
		return fmt.Errorf("attach after %d: not resumed", *after)
	case a.Resync:
		all := d.all()
		d.expect(request{scope: ScopeAll, users: len(all)}, all)
	case after != nil && *after < d.sent:
		d.expect(request{scope: ScopeAll, users: -1}, nil)
	}
	if after != nil {
		d.sent = *after
	}
	d.stream = a.Stream
	d.lose()
	n := d.watcher.Next(d.stream)
	if n != d.sent+1 {
		return fmt.Errorf("connected has number %d, want %d", n, d.sent+1)
	}
	d.sent = n
	d.way = append(d.way, Frame{Sequence: n, Mark: &Mark{Scope: connected, Users: boolInt(a.Resync)}})
	return nil
}

// expect notes that a snapshot of these users must come, and then its mark.
func (d *device) expect(r request, users []presence.UserID) {
	r.told = map[presence.UserID]int{}
	for _, u := range users {
		r.told[u] = d.told[u]
	}
	d.done = append(d.done, r)
}

// watch subscribes.
func (d *device) watch(users []presence.UserID, scope Scope) error {
	already, err := d.watcher.Watch(users, scope)
	if err != nil {
		return err
	}
	list := distinct(users)
	r := request{scope: scope, users: len(list)}
	if scope == ScopeUser {
		r.user = string(list[0])
	}
	var fresh []presence.UserID
	for _, u := range list {
		if slices.Contains(already, u) != d.watched[u] {
			return fmt.Errorf("watch %v: already %v, but watched before: %v", users, already, d.watched)
		}
		if !d.watched[u] {
			fresh = append(fresh, u)
			d.watched[u], d.asked[u] = true, d.told[u]
		}
	}
	d.expect(r, fresh)
	return nil
}

// unwatch ends a subscription; a mark follows once the device ever had a stream.
func (d *device) unwatch(u presence.UserID, marked bool) error {
	was, still := d.watcher.Unwatch(u)
	if was != d.watched[u] || still != d.friends[u] {
		return fmt.Errorf("unwatch %s: was %v, still %v; watched before: %v and %v", u, was, still, d.watched, d.friends)
	}
	if !was || still {
		delete(d.watched, u)
		return nil
	}
	delete(d.watched, u)
	d.forgo(u)
	if marked {
		d.ended[u]++
	} else {
		delete(d.view, u)
	}
	return nil
}

// forgo drops what was expected of a user who is no longer watched.
func (d *device) forgo(u presence.UserID) {
	for i := range d.done {
		delete(d.done[i].told, u)
	}
}

// follows reports whether the device watches a user for any reason.
func (d *device) follows(u presence.UserID) bool { return d.watched[u] || d.friends[u] }

// all lists whom the device watches.
func (d *device) all() (list []presence.UserID) {
	list = slices.AppendSeq(list, maps.Keys(d.watched))
	for u := range d.friends {
		if !d.watched[u] {
			list = append(list, u)
		}
	}
	return list
}

// connected is a frame that the door itself puts into the stream.
const connected Scope = 255

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// drain takes frames off the watcher and checks what must hold for each frame
// that is sent, whether it arrives or not.
func (d *device) drain(limit int) (more bool, err error) {
	frames, more := d.watcher.Drain(d.stream, nil, limit)
	for i := range frames {
		if err := d.check(&frames[i]); err != nil {
			return more, fmt.Errorf("frame %d: %w", frames[i].Sequence, err)
		}
	}
	d.way = append(d.way, frames...)
	return more, nil
}

func (d *device) check(f *Frame) error {
	if d.sent++; f.Sequence != d.sent {
		return fmt.Errorf("got this number, want %d", d.sent)
	}
	if f.Mark != nil {
		return d.checkMark(f.Mark)
	}
	n := f.Body.(*Notification)
	id := n.Presence.User.ID
	d.told[id]++
	delete(d.frozen, id)
	own := n.Presence.User == d.user
	seen, veiled := d.world.veiled(d.user, id)
	switch {
	case !d.follows(id):
		return fmt.Errorf("it is about %s, who is not watched", id)
	case n.Own != own:
		return fmt.Errorf("own is %v, want %v", n.Own, own)
	case veiled && (n.Kind != KindClosed && n.Kind != KindNone || !n.Available && n.Presence.Seen(false) != seen):
		return fmt.Errorf("kind %d of %s, who may not be seen, last seen %d, want %d", n.Kind, id, n.Presence.Seen(false), seen)
	case n.View == nil:
		if n.Kind != KindNone || n.Available {
			return fmt.Errorf("without a session: kind %d, available %v", n.Kind, n.Available)
		}
		return nil
	case !own && n.Kind != KindClosed && (!n.View.Shown.Open() || n.View.Status != nil && n.View.Status.Invisible):
		return fmt.Errorf("it shows a session of %s that is hidden", id)
	}
	face := n.View.Face(n.Own)
	key := string(id) + n.View.Public.String()
	if face.Revision < d.highest[key] {
		return fmt.Errorf("revision %d of %s after %d", face.Revision, id, d.highest[key])
	}
	d.highest[key] = face.Revision
	return nil
}

func (d *device) checkMark(m *Mark) error {
	if m.Scope == ScopeEnded {
		id := presence.UserID(m.User)
		switch {
		case m.Reason == EndUnsubscribed && d.ended[id] > 0:
			d.ended[id]--
			d.ownEnds[m] = true
		case d.parted[id] && !d.follows(id):
			delete(d.parted, id)
			return nil
		default:
			return fmt.Errorf("an end (%d) of watching %s that nobody asked for", m.Reason, id)
		}
		if d.watched[id] && d.told[id] > d.asked[id] {
			return fmt.Errorf("the end of watching %s comes after the snapshot of watching it again", id)
		}
		return nil
	}
	if len(d.done) == 0 {
		return fmt.Errorf("mark %+v that nobody asked for", *m)
	}
	r := d.done[0]
	d.done = d.done[1:]
	if r.scope != m.Scope || r.user != m.User || r.users >= 0 && r.users != m.Users {
		return fmt.Errorf("mark %+v, want that of %+v", *m, r)
	}
	for u, told := range r.told {
		if d.told[u] == told {
			return fmt.Errorf("mark %+v comes before the snapshot of %s", *m, u)
		}
	}
	return nil
}

// arrive applies the first n frames on the way.
func (d *device) arrive(n int) error {
	for i := range d.way[:n] {
		f := &d.way[i]
		if err := d.apply(f); err != nil {
			return fmt.Errorf("applying %d: %w", f.Sequence, err)
		}
		d.last = &f.Sequence
	}
	d.way = d.way[n:]
	return nil
}

func (d *device) apply(f *Frame) error {
	if m := f.Mark; m != nil {
		switch {
		case m.Scope == connected && m.Users == 1:
			clear(d.view) // resync: what it held may be old
			d.late = false
		case m.Scope == ScopeEnded:
			delete(d.view, presence.UserID(m.User))
		}
		return nil
	}
	n := f.Body.(*Notification)
	id := n.Presence.User.ID
	s := d.view[id]
	if s == nil {
		s = &seen{}
		d.view[id] = s
	}
	if n.View == nil || s.sessions == nil {
		s.sessions = map[presence.PublicID]string{}
	}
	s.available, s.lastSeen = n.Available, 0
	if !n.Available {
		s.lastSeen = n.Presence.Seen(n.Own)
	}
	switch public := n.View; n.Kind {
	case KindNone:
	case KindClosed:
		delete(s.sessions, public.Public)
	case KindUpdated:
		if _, known := s.sessions[public.Public]; !known {
			return fmt.Errorf("an update of a session of %s that the device does not know", id)
		}
		fallthrough
	default:
		s.sessions[public.Public] = describe(n.View, n.Own)
	}
	return nil
}

// repeats reports that something lost waits to be told again.
func (d *device) repeats() bool {
	return slices.ContainsFunc(d.watcher.edges, func(e edge) bool { return e.target != 0 && e.send() != sendChanges })
}

// cut breaks the connection: only the first n frames on the way arrive.
func (d *device) cut(n int) error {
	err := d.arrive(n)
	d.lose()
	d.stream = 0
	return err
}

// lose drops what is on the way. The device's own unsubscriptions it knows all
// the same.
func (d *device) lose() {
	for i := range d.way {
		if m := d.way[i].Mark; m != nil && d.ownEnds[m] {
			delete(d.view, presence.UserID(m.User))
		}
	}
	d.way = nil
}

// holds prints the device's pictures of what it watches.
func (d *device) holds() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(d.view)) {
		s := d.view[id]
		fmt.Fprintf(&b, "%s available %v", id, s.available)
		lastSeen := s.lastSeen
		if f, ok := d.frozen[id]; ok && f == lastSeen {
			// A veil was lifted and nothing was there to tell of.
			lastSeen = d.world.Presence(named(id)).LastSeenShown
			if again, veiled := d.world.veiled(d.user, id); veiled {
				lastSeen = again
			}
		}
		if !s.available {
			fmt.Fprintf(&b, " last seen %d", lastSeen)
		}
		for _, public := range slices.SortedFunc(maps.Keys(s.sessions), comparePublic) {
			fmt.Fprintf(&b, "; %v %s", public, s.sessions[public])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// should prints what the device would hold if it knew all.
func (d *device) should(w *world) string {
	var b strings.Builder
	for _, id := range slices.Sorted(slices.Values(d.all())) {
		if seen, veiled := w.veiled(d.user, id); veiled {
			fmt.Fprintf(&b, "%s available false last seen %d\n", id, seen)
			continue
		}
		p, own := w.Presence(named(id)), named(id) == d.user
		available := p.Available(own) != presence.Unavailable
		fmt.Fprintf(&b, "%s available %v", id, available)
		if !available {
			fmt.Fprintf(&b, " last seen %d", p.Seen(own))
		}
		views := slices.DeleteFunc(slices.Clone(p.Sessions), func(v *presence.View) bool { return !v.Face(own).Open() })
		slices.SortFunc(views, func(a, b *presence.View) int { return comparePublic(a.Public, b.Public) })
		for _, v := range views {
			fmt.Fprintf(&b, "; %v %s", v.Public, describe(v, own))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func comparePublic(a, b presence.PublicID) int { return slices.Compare(a[:], b[:]) }
