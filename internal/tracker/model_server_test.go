package tracker

import (
	"context"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What servers do to the model's users: put a presence, drop, erase.

// put puts one of two presences of a user.
func (m *model) put(o op) {
	u := m.users[o.A%len(m.users)]
	name := []string{"bot", "desk"}[o.B%2]
	device := presence.Device{Platform: "web", ID: presence.ServedDevice + name}
	show := presence.Show(o.B % 3)
	var s *modelSession
	count := 0
	for _, other := range u.sessions {
		switch {
		case other.ttl > 0 && other.device.ID == device.ID && other.phase != presence.PhaseClosed:
			s = other
		case other.phase != presence.PhaseClosed && !m.policy.MultiDevice.Replaces(&device, &other.device):
			count++
		}
	}
	status := presence.Status{Show: show, Invisible: o.Hidden}
	ttl := o.D + time.Second // more than what deadlines may be late by
	began := time.Now()
	put, err := m.r.tr.PutPresence(context.Background(), PutParams{User: u.name, Name: name, Device: presence.Device{Platform: "web"}, Status: &status, TTL: ttl})
	if s == nil && count >= m.policy.SessionsPerUser {
		if err == nil {
			m.fail("PutPresence over the limit: got %+v", put)
		}
		return
	}
	if err != nil || put.Opened != (s == nil) || put.Until.Sub(presence.At(began)) < ttl {
		m.fail("PutPresence of %s for %v: got %+v, %v", name, ttl, put, err)
		return
	}
	if s == nil {
		m.made++
		s = &modelSession{
			name: fmt.Sprintf("served %d of %s", m.made, u.name.ID), public: put.Public, user: u, device: device,
			since: began, everShown: !o.Hidden, hidden: o.Hidden, revision: map[bool]uint64{},
		}
		if s.ref = m.refOf(u, put.Public); s.ref.User != u.name {
			m.fail("%s is not in the table", s.name)
		}
		u.sessions = append(u.sessions, s)
	}
	if s.hidden != o.Hidden {
		s.hidden, s.everShown = o.Hidden, true
		if s.hidden {
			u.shown = later(u.shown, began)
		}
	}
	if s.public != put.Public {
		m.fail("PutPresence of %s: it is %v now, it was %v", name, put.Public, s.public)
	}
	s.phase, s.fromDisk, s.unsure, s.show = presence.PhaseLive, false, false, show
	s.ttl, s.heard, s.until = ttl, began, began.Add(ttl)
}

func (m *model) refOf(u *modelUser, public presence.PublicID) Ref {
	sh := m.r.tr.shard(u.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, s := range sh.users[u.name].sessions {
		if s.public == public {
			return Ref{u.name, s.id}
		}
	}
	return Ref{}
}

// dropping is what drops s, and holds the answer against the model.
func (m *model) dropping(s *modelSession) func() error {
	want := 1
	if s.phase == presence.PhaseClosed {
		want = 0
	}
	return func() error {
		n, err := m.r.tr.Drop(context.Background(), s.user.name, &s.public)
		if n != want {
			m.fail("Drop of %s: got %d, want %d", s.name, n, want)
		}
		return err
	}
}

func (m *model) erase(o op) {
	u := m.users[o.A%len(m.users)]
	open := 0
	for _, s := range u.sessions {
		if s.phase != presence.PhaseClosed {
			open++
		}
		if s.phase != presence.PhaseClosed || s.reason.Resumable() {
			m.gone[s.ref.Session]++
		}
	}
	e, err := m.r.tr.Erase(context.Background(), u.name)
	if err != nil || e.Sessions != open {
		m.fail("Erase of %s with %d sessions: got %+v, %v", u.name.ID, open, e, err)
	}
	u.sessions, u.remembered = nil, nil
	u.seen, u.shown, u.slack, u.wasSeen, u.wasShown = time.Time{}, time.Time{}, 0, 0, 0
	p := m.r.tr.Presence(u.name)
	if len(p.Sessions) != 0 || p.LastSeen != 0 || p.LastSeenShown != 0 {
		m.fail("%s is erased, and still has %+v", u.name.ID, p)
	}
}

// compareCount holds the tallies against the model.
func (m *model) compareCount() {
	var want Count
	for _, u := range m.users {
		available := 0
		for _, s := range u.sessions {
			switch s.phase {
			case presence.PhaseCreated:
				want.Created++
			case presence.PhaseLive:
				want.Live++
			case presence.PhaseLost:
				want.Lost++
			}
			if s.isOpen() && !s.hidden {
				available = 1
			}
		}
		want.Users += available
		if got := m.r.tr.Sessions(u.name); len(got) != len(u.sessions)-m.closed(u) {
			m.fail("%s has %d sessions that are not closed, want %d", u.name.ID, len(got), len(u.sessions)-m.closed(u))
		}
	}
	if got := m.r.tr.Count(app); got != want {
		m.fail("counted %+v, want %+v", got, want)
	}
	online, _, more := m.r.tr.Online(app, Place{}, 10)
	if len(online) != want.Users || more {
		m.fail("online are %v, want %d", online, want.Users)
	}
}

func (m *model) closed(u *modelUser) (n int) {
	for _, s := range u.sessions {
		if s.phase == presence.PhaseClosed {
			n++
		}
	}
	return n
}
