package chaos

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"
)

// tape is what a receiver of webhooks was told, folded as it comes, so that it
// does not grow with what is told. Of each user it remembers the last numbers
// that it was told, to know a repeat that is not the same.
type tape struct {
	seed maphash.Seed

	mu       sync.Mutex // guards all below
	users    map[string]*trail
	sessions map[string]*storied
	found    []string
	events   int
	repeats  int
	recent   []change // the last ones, for stories
	next     int
}

// trail is what was told of one user.
type trail struct {
	known
	first  [trailLength]uint64 // of the last numbers, by number: what it came as
	opened int                 // different openings, of all his sessions
	closed int
	when   time.Time // the last one that is no repeat
}

const (
	trailLength  = 32
	recentLength = 8192
)

// storied is what was told of one session.
type storied struct {
	user           string
	opened, closed int
	closedAt       time.Time
}

func newTape() *tape {
	return &tape{seed: maphash.MakeSeed(), users: map[string]*trail{}, sessions: map[string]*storied{}, recent: make([]change, recentLength)}
}

// take folds events of one request.
func (t *tape) take(events []change, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		t.one(&events[i], now)
	}
}

// one folds one; mu is held.
func (t *tape) one(c *change, now time.Time) {
	u := t.users[c.User]
	if u == nil {
		u = &trail{known: known{sessions: map[string]bool{}}}
		t.users[c.User] = u
	}
	hash := maphash.Comparable(t.seed, *c)
	t.events++
	if c.Seq <= u.seq {
		t.repeats++
		if u.seq-c.Seq < trailLength && u.first[c.Seq%trailLength] != hash {
			t.blame("number %d of %s came again as another: %+v", c.Seq, c.User, *c)
		}
		return
	}
	if c.Seq != u.seq+1 {
		t.blame("number %d of %s came after number %d", c.Seq, c.User, u.seq)
	}
	t.recent[t.next%recentLength] = *c
	t.next++
	u.first[c.Seq%trailLength] = hash
	u.when = now
	found := u.known.fold(c)
	if len(t.found) < mostBlame {
		t.found = append(t.found, found...)
	}
	s := t.sessions[c.Session.ID]
	if s == nil {
		s = &storied{user: c.User}
		t.sessions[c.Session.ID] = s
	}
	switch c.Kind {
	case "opened":
		s.opened++
		u.opened++
	case "closed":
		s.closed++
		u.closed++
		s.closedAt = now
	}
}

func (t *tape) blame(format string, args ...any) {
	if len(t.found) < mostBlame {
		t.found = append(t.found, fmt.Sprintf(format, args...))
	}
}

// wrong gives what may never be told (R5, R12), once.
func (t *tape) wrong() (found []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, t.found = t.found, nil
	return found
}

// knows is what the receiver knows of everybody.
func (t *tape) knows() map[string]known {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := map[string]known{}
	for user, u := range t.users {
		k := u.known
		k.sessions = maps.Clone(k.sessions)
		m[user] = k
	}
	return m
}

// told is how many different openings and closings of a user came.
func (t *tape) told(user string) (opened, closed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.users[user]; u != nil {
		return u.opened, u.closed
	}
	return 0, 0
}

// gone is when the receiver last heard of somebody, who is gone for it; ok is
// false while he is there.
func (t *tape) gone(user string) (at time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[user]
	if u == nil {
		return at, true
	}
	return u.when, len(u.known.sessions) == 0
}

// closedAt is when the end of a session was told; zero: it was not.
func (t *tape) closedAt(session string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[session]; s != nil && s.closed > 0 {
		return s.closedAt
	}
	return time.Time{}
}

// checkTold is R4 for lives: what was acknowledged was told, and R3 and R9: what was
// told is what their devices explain. An opening after a loss is none in the log
// where the loss did not end the session there.
func (t *tape) checkTold(lives []*life) (found []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range lives {
		opened, closed := l.acknowledged()
		s := t.sessions[l.public]
		if s == nil {
			s = &storied{}
		}
		untold := max(0, l.losses-max(0, s.closed-closed)) // losses that ended nothing
		opened = min(opened, max(1, opened-untold))
		if s.opened < opened || s.closed < closed {
			found = append(found, fmt.Sprintf("session %s of %s: %d openings and %d closings were acknowledged, %d and %d were told %s",
				l.public, l.user, opened, closed, s.opened, s.closed, l.story()))
		}
		if opened, closed := l.explainedInLog(); s.opened > opened || s.closed > closed {
			found = append(found, fmt.Sprintf("session %s of %s flapped: the webhook was told of %d openings and %d closings, its device explains %d and %d %s",
				l.public, l.user, s.opened, s.closed, opened, closed, l.story()))
		}
	}
	slices.Sort(found)
	return found
}

// settle counts what is told of a user from now on.
func (t *tape) settle(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.users[user]; u != nil {
		u.opened, u.closed = 0, 0
	}
}

// forget drops what was counted of sessions.
func (t *tape) forget(sessions []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range sessions {
		delete(t.sessions, id)
	}
}

// story is what was told lately of a session.
func (t *tape) story(session string) (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := max(0, t.next-recentLength); i < t.next; i++ {
		if c := &t.recent[i%recentLength]; c.Session.ID == session {
			lines = append(lines, fmt.Sprintf("number %d %s %s of %s", c.Seq, c.Kind, c.Reason, c.Time))
		}
	}
	return lines
}

func (t *tape) counts() (events, repeats int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.events, t.repeats
}
