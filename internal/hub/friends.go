package hub

import (
	"slices"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// following says where a watcher stands with its user's friends.
type following uint8

const (
	followsNone  following = iota
	followsLater           // subscribed, but the list could not be read yet
	followsNow
)

// FriendsChanged tells the sessions of user that follow his friends who came to
// his list and who left it. Whoever changes lists must call it in the order of
// the changes, and must let none happen between reading a list and the end of
// Watcher.WatchFriends with it.
func (h *Hub) FriendsChanged(user presence.User, added, removed []presence.UserID) {
	for _, w := range h.watchersOf(user) {
		w.friendsChanged(added, removed)
	}
}

// WatchFriends subscribes to the user's friends, who are the given: the edges
// stand when it returns, at least one notification for each follows through
// Drain, then a mark ScopeFriends. From then on FriendsChanged is followed.
// already says that they were subscribed to before; then only what the list has
// changed since is told. How many friends there may be is not the hub's affair.
func (w *Watcher) WatchFriends(friends []presence.UserID) (already bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return false, fault.New(fault.SessionGone, "the session is closed; make a new one")
	}
	already = w.friends != followsNone
	friends = distinct(friends)
	find, stood := w.finder(len(friends)), len(w.edges)
	listed := make([]bool, stood)
	w.edges = slices.Grow(w.edges, max(0, len(friends)-int(w.freed)))
	pushed := make([]uint32, 0, len(friends))
	for _, u := range friends {
		i, ok := find(u)
		switch {
		case !ok:
			i = w.enter(u, sourceFriends)
			pushed = append(pushed, i)
		case w.edges[i].bits&sourceFriends == 0:
			w.adopt(i, sourceFriends)
			pushed = append(pushed, i)
		}
		if int(i) < stood {
			listed[i] = true
		}
	}
	for i := range listed { // a list that was read anew may be without some
		if e := &w.edges[i]; !listed[i] && e.target != 0 && e.bits&sourceFriends != 0 {
			pushed = w.unfriend(pushed, uint32(i), owesUnfriended)
		}
	}
	w.friends = followsNow
	w.queue.pushAll(pushed, &Mark{Scope: ScopeFriends, Users: len(friends)})
	return already, nil
}

// WatchFriendsLater subscribes to the friends of a user whose list cannot be
// read now: the subscription stands, and WatchFriends is owed.
func (w *Watcher) WatchFriendsLater() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone && w.friends == followsNone {
		w.friends = followsLater
	}
}

// OwesFriends reports whether the friends are subscribed to but their list was
// not read yet.
func (w *Watcher) OwesFriends() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.friends == followsLater
}

// UnwatchFriends ends the subscription to the friends. Of each who is not
// watched for another reason nothing is sent after the mark ScopeEnded, which
// comes for all of whom anything was sent. was says whether there was one.
func (w *Watcher) UnwatchFriends() (was bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was = w.friends != followsNone
	w.friends = followsNone
	var pushed []uint32
	for i := range w.edges {
		if e := &w.edges[i]; e.target != 0 && e.bits&sourceFriends != 0 {
			pushed = w.unfriend(pushed, uint32(i), owesUnsubscribed)
		}
	}
	w.queue.pushAll(pushed, nil)
	return was
}

func (w *Watcher) friendsChanged(added, removed []presence.UserID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.friends == followsNone {
		return
	}
	find := w.finder(len(removed))
	var pushed []uint32
	for _, u := range removed {
		if i, ok := find(u); ok && w.edges[i].bits&sourceFriends != 0 {
			pushed = w.unfriend(pushed, i, owesUnfriended)
		}
	}
	added = distinct(added)
	find = w.finder(len(added)) // anew: edges went
	for _, u := range added {
		i, ok := find(u)
		switch {
		case !ok:
			pushed = append(pushed, w.enter(u, sourceFriends))
		case w.edges[i].bits&owes != 0:
			w.adopt(i, sourceFriends)
			pushed = append(pushed, i)
		default: // he is watched by name: the device has his picture
			w.edges[i].bits |= sourceFriends
		}
	}
	w.queue.pushAll(pushed, nil)
}

// unfriend takes the friend list off an edge's sources. With no other source the
// edge is over: at once if nothing was ever sent on it, else when the device was
// told, which is an entry in the queue, so that a list of thousands that is
// emptied costs no more than it did. It appends the edge if it must be queued.
func (w *Watcher) unfriend(pushed []uint32, i uint32, owed uint8) []uint32 {
	e := &w.edges[i]
	e.bits &^= sourceFriends
	switch {
	case e.bits&sources != 0:
		return pushed
	case e.sequence == 0:
		w.drop(i)
		return pushed
	}
	e.bits |= owed
	return append(pushed, i)
}
