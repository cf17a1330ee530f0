package client

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// picture is what is known of the watched users. It has no clock and no lock.
//
// A round is the time between two beginnings: of a new session, or of a stream
// whose server had to start over. When a round begins, everything known stays,
// but counts as unconfirmed. A snapshot confirms sessions one by one; when it
// is complete, what it left out is closed. So to a reader a round that changed
// nothing looks like nothing at all.
type picture struct {
	people map[string]*person
	round  uint64
	lostAt time.Time // when the link was lost; zero while it is up
	since  time.Time // when the link before this round was lost
}

// person is one watched user.
type person struct {
	available  bool
	lastSeen   time.Time
	staleSince time.Time // as the server says
	attributes map[string]any
	told       uint64 // the round of the newest snapshot of this user
	sessions   map[string]entry
	closed     map[string]entry // for their revisions only
}

type entry struct {
	session UserSession
	round   uint64 // of the newest news
}

// maxClosed bounds the closed sessions remembered for each user: as many as
// may be open at the same time.
const maxClosed = 16

func newPicture() picture { return picture{people: map[string]*person{}} }

// startOver begins a round.
func (p *picture) startOver() {
	p.round++
	p.since = p.lostAt
}

// forget takes user out of the picture.
func (p *picture) forget(user string) { delete(p.people, user) }

// presence returns a copy of what is known of user; ok is false before the
// first news.
func (p *picture) presence(user string) (_ Presence, ok bool) {
	q := p.people[user]
	if q == nil {
		return Presence{User: user}, false
	}
	out := Presence{User: user, Available: q.available, LastSeen: q.lastSeen, Attributes: q.attributes, StaleSince: q.staleSince}
	for _, e := range q.sessions {
		out.Sessions = append(out.Sessions, e.session)
	}
	slices.SortFunc(out.Sessions, oldestFirst)
	if q.told != p.round {
		out.StaleSince = earlier(out.StaleSince, p.since)
	}
	out.StaleSince = earlier(out.StaleSince, p.lostAt)
	return out.clone(), true
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// apply takes up n. changed is false when a reader would learn nothing new.
func (p *picture) apply(n *notification) (c Change, changed bool) {
	q := p.people[n.user]
	if q == nil {
		q = &person{sessions: map[string]entry{}, closed: map[string]entry{}}
		p.people[n.user] = q
		changed = true
	}
	if n.session != nil && q.outdated(n.session, p.round) {
		return Change{}, false
	}
	changed = q.take(n) || changed
	var steps []SessionChange
	switch {
	case n.session == nil && n.available:
		// Only values of the user.
	case n.session == nil:
		steps = q.closeAll()
		q.told = p.round
	case n.kind == noteClosed:
		steps = q.close(*n.session, n.reason, p.round)
		if !n.available {
			steps = append(steps, q.closeAll()...)
		}
	default:
		steps = q.open(n, p.round)
		if n.kind == noteCurrent {
			q.told = p.round
		}
	}
	return p.change(n.user, n.at, steps), changed || len(steps) > 0
}

// settle closes what the snapshot of user ("" is everybody's) left out. Who
// was not part of a snapshot since the round began waits for a later one.
func (p *picture) settle(user string) []Change {
	users := []string{user}
	if user == "" {
		users = slices.Sorted(maps.Keys(p.people))
	}
	var changes []Change
	for _, u := range users {
		q := p.people[u]
		if q == nil || q.told != p.round {
			continue
		}
		var steps []SessionChange
		for id, e := range q.sessions {
			if e.round != p.round {
				delete(q.sessions, id)
				steps = append(steps, SessionChange{Kind: SessionClosed, Session: e.session})
			}
		}
		if len(steps) > 0 {
			slices.SortFunc(steps, func(a, b SessionChange) int { return oldestFirst(a.Session, b.Session) })
			changes = append(changes, p.change(u, time.Time{}, steps))
		}
	}
	return changes
}

func (p *picture) change(user string, at time.Time, steps []SessionChange) Change {
	now, _ := p.presence(user)
	return Change{Kind: ChangePresence, User: user, At: at, Presence: now, Sessions: steps}
}

// outdated reports whether something newer of the session was told in this
// round. Revisions of different rounds do not compare.
func (q *person) outdated(s *UserSession, round uint64) bool {
	e, ok := q.sessions[s.ID]
	if !ok {
		e, ok = q.closed[s.ID]
	}
	return ok && e.round == round && s.Revision < e.session.Revision
}

// take takes up the values of the user, and reports whether one changed.
func (q *person) take(n *notification) bool {
	changed := q.available != n.available || !q.staleSince.Equal(n.staleSince)
	q.available, q.staleSince = n.available, n.staleSince
	if !n.lastSeen.IsZero() && !n.lastSeen.Equal(q.lastSeen) {
		q.lastSeen, changed = n.lastSeen, true
	}
	for k, v := range n.attributes {
		old, had := q.attributes[k]
		switch {
		case v == nil && had:
			delete(q.attributes, k)
			changed = true
		case v != nil && (!had || !reflect.DeepEqual(old, v)):
			if q.attributes == nil {
				q.attributes = map[string]any{}
			}
			q.attributes[k] = v
			changed = true
		}
	}
	return changed
}

// open sets the session of n.
func (q *person) open(n *notification, round uint64) []SessionChange {
	s := *n.session
	old, had := q.sessions[s.ID]
	q.sessions[s.ID] = entry{s, round}
	switch {
	case had && old.session.same(s):
		return nil
	case had:
		return []SessionChange{{Kind: SessionUpdated, Session: s}}
	case n.kind == noteOpened:
		return []SessionChange{{Kind: SessionOpened, Session: s}}
	}
	return []SessionChange{{Kind: SessionCurrent, Session: s}}
}

// close removes a session and remembers its revision, so that older news of it
// still on the way cannot bring it back.
func (q *person) close(s UserSession, reason CloseReason, round uint64) []SessionChange {
	old, had := q.sessions[s.ID]
	floor := s.Revision
	if had && old.round == round {
		floor = max(floor, old.session.Revision)
	}
	q.bury(s.ID, entry{UserSession{Revision: floor}, round})
	if !had {
		return nil
	}
	return []SessionChange{{Kind: SessionClosed, Session: old.session, Reason: reason}}
}

// closeAll removes all sessions.
func (q *person) closeAll() []SessionChange {
	var steps []SessionChange
	for id, e := range q.sessions {
		q.bury(id, e)
		steps = append(steps, SessionChange{Kind: SessionClosed, Session: e.session})
	}
	slices.SortFunc(steps, func(a, b SessionChange) int { return oldestFirst(a.Session, b.Session) })
	return steps
}

func (q *person) bury(id string, floor entry) {
	delete(q.sessions, id)
	if len(q.closed) >= maxClosed {
		clear(q.closed)
	}
	q.closed[id] = floor
}
