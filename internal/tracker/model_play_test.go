package tracker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// play does one step, there and here.
func (m *model) play(o op) {
	switch o.Kind {
	case "make":
		m.make(o)
		return
	case "wait":
		m.wait(o.D)
		return
	case "put":
		m.put(o)
		return
	case "erase":
		m.erase(o)
		return
	case "crash", "restart":
		m.restart(o.Kind == "crash")
		return
	}
	var all []*modelSession
	for _, u := range m.users {
		for _, s := range u.sessions {
			if s.ttl == 0 || o.Kind == "close" { // no device has it
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	s := all[o.A%len(all)]
	switch o.Kind {
	case "connect":
		m.connect(o, s)
	case "lose link":
		m.loseLink(s)
	case "update":
		m.update(o, s)
	case "turn":
		m.turn(o, s)
	case "close":
		m.closeByWord(o, s)
	case "heartbeat":
		m.heartbeat(s)
	case "read":
		if s.link != nil {
			s.link.read(m.r)
			s.read = time.Now()
		}
	case "watch":
		s.watches = []presence.UserID{presence.UserID(fmt.Sprint("friend", o.B))}
		s.friends = o.B%3 == 0
		m.list(s)
		m.r.tr.WatchesChanged(s.ref)
		if !s.isOpen() || s.fromDisk {
			s.watches, s.friends = m.restorable(s) // it is not the list's turn yet
			m.list(s)
		}
	}
}

// list makes the hub's list what the session watches.
func (m *model) list(s *modelSession) {
	m.r.lists.set(s.ref.Session, s.watches...)
	m.r.lists.follow(s.ref.Session, s.friends)
}

// restorable is what the checkpoint has of a session's watches.
func (m *model) restorable(s *modelSession) (users []presence.UserID, friends bool) {
	_, t, err := m.r.tr.find(s.ref)
	if err != nil {
		return nil, false
	}
	defer m.r.tr.shard(s.ref.User).mu.Unlock()
	return slices.Clone(t.few().restored), t.kept.friends
}

func (m *model) make(o op) {
	u := m.users[o.A%len(m.users)]
	d := presence.Device{Platform: []string{"ios", "web"}[o.B%2], ID: []string{"", "", "d1", "d2"}[o.B%4]}
	count := 0
	var again *modelSession
	for _, s := range u.sessions {
		switch {
		case s.phase == presence.PhaseCreated && d.ID != "" && s.device.ID == d.ID:
			again = s
		case s.phase != presence.PhaseClosed && !m.policy.MultiDevice.Replaces(&d, &s.device):
			count++
		}
	}
	made, err := m.r.tr.Make(context.Background(), MakeParams{User: u.name, Device: d})
	if again != nil {
		m.forget(again, true)
	}
	if count >= m.policy.SessionsPerUser {
		if fault.KindOf(err) != fault.LimitSessions {
			m.fail("Make over the limit: got %v", err)
		}
		return
	}
	if err != nil {
		m.fail("Make: %v", err)
		return
	}
	m.made++
	u.sessions = append(u.sessions, &modelSession{
		name: fmt.Sprintf("session %d of %s", m.made, u.name.ID), ref: made.Ref, public: made.Public, user: u, device: d,
		until: time.Now().Add(m.policy.ConnectBefore), revision: map[bool]uint64{},
	})
}

func (m *model) connect(o op, s *modelSession) {
	var initial *presence.Status
	if o.Flag {
		initial = &presence.Status{Show: presence.Show(o.B % 3), Invisible: o.Hidden}
		if s.isOpen() {
			initial.Invisible = s.hidden // turning is another step
		}
	}
	switch {
	case s.phase == presence.PhaseClosed && !s.reason.Resumable():
		if _, _, err := m.connectTo(s, initial); err != errGone {
			m.fail("Connect of %s, closed by %v: got %v", s.name, s.reason, err)
		}
	case s.phase == presence.PhaseClosed && m.full(s):
		if _, _, err := m.connectTo(s, initial); fault.KindOf(err) != fault.LimitSessions {
			m.fail("Connect of %s over the limit: got %v", s.name, err)
		}
	case s.isOpen() && !s.fromDisk:
		w, _, err := m.connectTo(s, initial)
		if err != nil {
			m.fail("Connect of %s: %v", s.name, err)
		}
		m.take(s, w, initial, time.Now())
	default:
		m.open(o, s, initial)
	}
}

// full reports that the user has as many other sessions as he may.
func (m *model) full(s *modelSession) bool {
	count := 0
	for _, other := range s.user.sessions {
		if other != s && other.phase != presence.PhaseClosed && !m.policy.MultiDevice.Replaces(&s.device, &other.device) {
			count++
		}
	}
	return count >= m.policy.SessionsPerUser
}

// open is a Connect that the store must take.
func (m *model) open(o op, s *modelSession, initial *presence.Status) {
	moves := s.isOpen()
	began, answered := time.Now(), time.Now()
	var replaced []*modelSession
	for _, other := range s.user.sessions {
		if other != s && other.isOpen() && !moves && m.policy.MultiDevice.Replaces(&s.device, &other.device) {
			replaced = append(replaced, other)
		}
	}
	var w *wire
	var c Connected
	stored, err := m.during(o, s, func() (err error) {
		w, c, err = m.connectTo(s, initial)
		answered = time.Now()
		return err
	})
	for _, other := range replaced {
		switch {
		case !stored:
		case other.isOpen():
			m.close(other, presence.ReasonReplaced, began, time.Now())
		default: // its time was over first, but the log has it replaced
			m.see(other, began)
			other.unsure = other.unsure || other.ttl > 0 // or just about over
		}
	}
	switch {
	case !stored:
	case err != nil && !moves: // stored too late, and undone
		if s.user.seen.IsZero() {
			s.user.seen, s.user.slack = time.Now(), time.Second
		}
		if s.phase == presence.PhaseCreated {
			m.forget(s, true)
		}
	case err == nil:
		if s.fromDisk && (!slices.Equal(c.Restored, s.watches) || c.RestoredFriends != s.friends) {
			m.fail("%s came back with %v and friends %v, want %v and %v", s.name, c.Restored, c.RestoredFriends, s.watches, s.friends)
		}
		if s.fromDisk {
			m.list(s)
			m.r.tr.WatchesChanged(s.ref)
		}
		if !moves {
			s.since = began
			if s.phase == presence.PhaseCreated && initial == nil {
				initial = &presence.Status{}
			}
			if initial != nil {
				s.hidden = initial.Invisible
			}
			s.everShown = s.everShown || !s.hidden
		}
		m.take(s, w, initial, answered)
	}
	m.calm()
}

func (m *model) take(s *modelSession, w *wire, initial *presence.Status, at time.Time) {
	s.phase, s.link, s.fromDisk, s.unsure = presence.PhaseLive, w, false, false
	s.heard, s.read = at, at
	if initial != nil {
		s.show = initial.Show
	}
}

func (m *model) loseLink(s *modelSession) {
	if s.link == nil {
		return
	}
	m.r.tr.LinkLost(s.ref, s.link)
	s.heard = s.sign()
	s.link = nil
	if s.phase == presence.PhaseLive {
		s.phase = presence.PhaseLost
		s.until = time.Now().Add(min(m.policy.Grace, time.Until(s.heard.Add(m.policy.HeartbeatTimeout))))
	}
}

// usable says whether calls on the session are taken, and holds err against it.
func (m *model) usable(s *modelSession, what string, err error) bool {
	want := fault.Kind(0)
	switch {
	case s.phase == presence.PhaseCreated || s.isOpen() && s.fromDisk:
		want = fault.SessionNotConnected
	case s.phase == presence.PhaseClosed:
		want = fault.SessionGone
	}
	if want != 0 && fault.KindOf(err) != want {
		m.fail("%s of %s, %v: got %v, want %v", what, s.name, s.phase, err, want)
	}
	return want == 0
}

// hear is the sign of life that a call on the session is.
func (m *model) hear(s *modelSession) {
	s.heard = time.Now()
	if s.phase == presence.PhaseLost {
		s.until = s.heard.Add(m.policy.Grace)
	}
}

func (m *model) update(o op, s *modelSession) {
	show := presence.Show(o.B % 3)
	before := m.r.ear.heard()
	u, err := m.r.update(s.ref, presence.Status{Show: show, Invisible: s.hidden})
	if !m.usable(s, "Update", err) {
		return
	}
	if err != nil || u.Unchanged != (show == s.show) || u.Unchanged && m.r.ear.heard() != before {
		m.fail("Update of %s from %v to %v: got %+v, %v", s.name, s.show, show, u, err)
	}
	s.show = show
	m.hear(s)
}

// turn hides or shows.
func (m *model) turn(o op, s *modelSession) {
	status := presence.Status{Show: s.show, Invisible: !s.hidden}
	if !s.isOpen() || s.fromDisk {
		_, err := m.r.update(s.ref, status)
		m.usable(s, "Update", err)
		return
	}
	began := time.Now()
	stored, err := m.during(o, nil, func() error {
		m.hear(s)
		_, err := m.r.update(s.ref, status)
		return err
	})
	m.settleTurn(s, stored, began)
	if err == nil && !s.isOpen() {
		m.fail("Update of %s: got no error, but it closed meanwhile", s.name)
	}
	m.calm()
}

// settleTurn is what a hide or show does once it is stored, if time has not
// ended the session before.
func (m *model) settleTurn(s *modelSession, stored bool, began time.Time) {
	m.advance()
	if !stored {
		return
	}
	hides := !s.hidden
	if hides { // for the log it counts whenever it was read
		s.user.shown = later(s.user.shown, began)
	}
	if s.isOpen() {
		s.hidden = hides
		s.everShown = true
	}
}

func (m *model) closeByWord(o op, s *modelSession) {
	began := time.Now()
	reason := []presence.Reason{presence.ReasonLogout, presence.ReasonLeft, presence.ReasonDropped}[o.B%3]
	closing := func() error { _, err := m.r.tr.Close(context.Background(), s.ref, reason); return err }
	if reason == presence.ReasonDropped {
		closing = m.dropping(s)
	}
	switch s.phase {
	case presence.PhaseCreated:
		if err := closing(); err != nil {
			m.fail("Close of %s: %v", s.name, err)
		}
		m.forget(s, true)
	case presence.PhaseClosed:
		if err := closing(); err != nil {
			m.fail("Close of %s: %v", s.name, err)
		}
		if s.reason.Resumable() {
			s.reason = reason
			m.gone[s.ref.Session]++
		}
	default:
		m.close(s, reason, began, began)
		m.during(o, nil, closing)
		m.calm()
	}
}

func (m *model) heartbeat(s *modelSession) {
	h, err := m.r.tr.Heartbeat(context.Background(), s.ref)
	if !m.usable(s, "Heartbeat", err) {
		return
	}
	if err != nil || h.Attached != (s.link != nil) {
		m.fail("Heartbeat of %s: got %+v, %v", s.name, h, err)
	}
	s.heartbeat, s.phase, s.heard = true, presence.PhaseLive, time.Now()
}
