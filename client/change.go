package client

import (
	"slices"
	"time"
)

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	// ChangePresence: something of Change.User is new.
	ChangePresence ChangeKind = "presence"
	// ChangeUnwatched: the server no longer watches Change.User for us, though
	// Unwatch was not called: it refused to, or the user is no friend any more.
	// The user is no longer in the picture.
	ChangeUnwatched ChangeKind = "unwatched"
	// ChangeLinkDown: the link is lost; the picture stays, marked stale.
	ChangeLinkDown ChangeKind = "link_down"
	// ChangeLinkUp: the link is back. What changed meanwhile follows.
	ChangeLinkUp ChangeKind = "link_up"
	// ChangeFriendsDown: the server could not begin to watch the friends; Err says
	// why. If it may get better the session goes on trying.
	ChangeFriendsDown ChangeKind = "friends_down"
	// ChangeFriendsUp: after ChangeFriendsDown, the friends are watched.
	ChangeFriendsUp ChangeKind = "friends_up"
)

// Change is one piece of news for the reader of Session.Changes.
type Change struct {
	Kind ChangeKind `json:"kind"`
	User string     `json:"user,omitempty"` // the watched user, empty for the link and the friends
	// At is the server's time of the newest news in it; for the link, ours.
	At time.Time `json:"at,omitzero"`
	// Presence is the whole newest picture of User (ChangePresence only).
	Presence Presence `json:"presence,omitzero"`
	// Sessions are the steps from the Presence that the reader was given before
	// to this one. Empty when only values of the user changed.
	Sessions []SessionChange `json:"sessions,omitempty"`
	// Err is why (ChangeLinkDown and ChangeFriendsDown only).
	Err error `json:"-"`
}

// SessionChangeKind says what happened to one session of a watched user.
type SessionChangeKind string

// The kinds of steps.
const (
	SessionCurrent SessionChangeKind = "current" // it was there when watching began
	SessionOpened  SessionChangeKind = "opened"
	SessionUpdated SessionChangeKind = "updated"
	SessionClosed  SessionChangeKind = "closed"
)

// SessionChange is one step of one session.
type SessionChange struct {
	Kind    SessionChangeKind `json:"kind"`
	Session UserSession       `json:"session"` // for SessionClosed: as it was last
	Reason  CloseReason       `json:"reason,omitempty"`
}

// queue holds changes that were not read yet: at most one for each watched
// user, one for the link and one for the friends, so it is bounded by what is
// watched. A newer change of a user takes the older one's place in line. Not
// safe for concurrent use.
type queue struct {
	order   []string // keys of pending, first in line first; "" is the link
	pending map[string]Change
	wake    chan struct{} // capacity 1; full when something may be pending
	out     chan Change   // to the reader
	read    bool          // somebody asked for out
}

func newQueue() queue {
	return queue{pending: map[string]Change{}, wake: make(chan struct{}, 1), out: make(chan Change)}
}

// keyOfFriends is no user's id.
const keyOfFriends = "\x00friends"

func (q *queue) push(c Change) {
	key := c.User
	if c.Kind == ChangeFriendsDown || c.Kind == ChangeFriendsUp {
		key = keyOfFriends
	}
	old, waiting := q.pending[key]
	if !waiting {
		q.order = append(q.order, key)
	} else if c.Kind == ChangePresence {
		c.Sessions = mergeSteps(old.Sessions, c.Sessions)
		if c.At.IsZero() {
			c.At = old.At
		}
	}
	q.pending[key] = c
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pop takes the first in line.
func (q *queue) pop() (Change, bool) {
	if len(q.order) == 0 {
		return Change{}, false
	}
	key := q.order[0]
	q.order = q.order[1:]
	c := q.pending[key]
	delete(q.pending, key)
	return c, true
}

// drop takes user out of the line.
func (q *queue) drop(user string) {
	if _, ok := q.pending[user]; ok {
		delete(q.pending, user)
		q.order = slices.DeleteFunc(q.order, func(k string) bool { return k == user })
	}
}

// mergeSteps gives the steps of old and then next as one: at most one for each
// session that the reader knows or will know. A session that came and went
// unread leaves no step.
func mergeSteps(old, next []SessionChange) []SessionChange {
	merged := slices.Clone(old)
	for _, n := range next {
		i := slices.IndexFunc(merged, func(o SessionChange) bool { return o.Session.ID == n.Session.ID })
		if i < 0 {
			merged = append(merged, n)
			continue
		}
		o := merged[i]
		unread := o.Kind == SessionCurrent || o.Kind == SessionOpened
		switch {
		case unread && n.Kind == SessionClosed:
			merged = slices.Delete(merged, i, i+1)
		case unread:
			merged[i].Session = n.Session
		case n.Kind == SessionClosed:
			merged[i] = n
		default:
			merged[i] = SessionChange{Kind: SessionUpdated, Session: n.Session}
		}
	}
	return merged
}
