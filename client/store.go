package client

import (
	"maps"
	"slices"
	"sync"
)

// Store is a live map of the users whom a session watches, for programs that
// show them: it is always whole, and tells listeners what changed. An update, a
// lost link or a session made anew look like what they are and never like people
// who leave and come back. All its methods may be called from any goroutine.
type Store struct {
	session *Session
	done    chan struct{} // closed when nothing follows

	mu        sync.Mutex // guards all below
	people    map[string]Presence
	listeners map[uint64]func(StoreChange)
	next      uint64 // names a listener
}

// StoreKind says what a StoreChange means for who shows people.
type StoreKind string

// The kinds of changes of a store.
const (
	StoreJoined  StoreKind = "joined"  // the user became available, or is when he is first known
	StoreLeft    StoreKind = "left"    // he no longer is
	StoreUpdated StoreKind = "updated" // anything else: his availability is as before
	StoreDropped StoreKind = "dropped" // he is not watched any more and out of the store; it says nothing of him
)

// StoreChange is the way of one user from one picture to the next.
type StoreChange struct {
	Kind   StoreKind
	User   string
	Before Presence // zero when nothing was known
	Now    Presence // zero for StoreDropped
	// Steps are those of his sessions.
	Steps []SessionChange
}

// NewStore returns a store of what the session watches, and begins to read
// Session.Changes for it: a program has either the store or the channel. It
// lasts as long as the session; then it keeps what it has, marked stale.
func NewStore(s *Session) *Store {
	st := &Store{session: s, done: make(chan struct{}), people: map[string]Presence{}, listeners: map[uint64]func(StoreChange){}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		close(st.done)
	} else {
		s.work.Go(st.run)
	}
	return st
}

// run takes in changes until the session is over.
func (st *Store) run() {
	defer close(st.done)
	for c := range st.session.Changes() {
		if told, ok := st.take(c); ok {
			for _, listener := range st.audience() {
				listener(told)
			}
		}
	}
}

// take brings the map up to date; ok is false for news that is of no user.
func (st *Store) take(c Change) (told StoreChange, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	before, known := st.people[c.User]
	told = StoreChange{Kind: StoreUpdated, User: c.User, Before: before, Steps: c.Sessions}
	switch c.Kind {
	case ChangePresence:
		told.Now = c.Presence
		st.people[c.User] = c.Presence
		switch {
		case c.Presence.Available && !before.Available:
			told.Kind = StoreJoined
		case before.Available && !c.Presence.Available:
			told.Kind = StoreLeft
		}
		return told, true
	case ChangeUnwatched:
		delete(st.people, c.User)
		told.Kind = StoreDropped
		return told, known
	}
	return told, false
}

// audience lists the listeners in the order in which they came.
func (st *Store) audience() []func(StoreChange) {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]func(StoreChange), 0, len(st.listeners))
	for _, n := range slices.Sorted(maps.Keys(st.listeners)) {
		list = append(list, st.listeners[n])
	}
	return list
}

// OnChange has listener called with every change from now on, one at a time, in
// order, and after the store has it. It may use the store and the session, and
// must not wait for the session's end (Session.Close, Leave or Logout in a
// goroutine of its own are fine). Changes that come while it runs are merged, one for
// each user. Call what OnChange returns to end that.
func (st *Store) OnChange(listener func(StoreChange)) (stop func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.next
	st.next++
	st.listeners[n] = listener
	return func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		delete(st.listeners, n)
	}
}

// Get returns what is known of a user; ok is false for who is not watched, or
// was not told of yet. While the link is down StaleSince is set.
func (st *Store) Get(user string) (p Presence, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p, ok = st.people[user]
	if !ok {
		return Presence{User: user}, false
	}
	now, watched := st.session.Presence(user)
	if !watched {
		delete(st.people, user) // unwatched by this program, which nobody is told
		return Presence{User: user}, false
	}
	p.StaleSince = now.StaleSince
	return p.clone(), true
}

// All returns everybody of whom something is known, by user id.
func (st *Store) All() []Presence {
	st.mu.Lock()
	users := slices.Sorted(maps.Keys(st.people))
	st.mu.Unlock()
	all := make([]Presence, 0, len(users))
	for _, u := range users {
		if p, ok := st.Get(u); ok {
			all = append(all, p)
		}
	}
	return all
}

// Done is closed when the session is over and every listener was told
// everything.
func (st *Store) Done() <-chan struct{} { return st.done }
