package hub

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Params describe a watcher.
type Params struct {
	User   presence.User
	Locale string // BCP 47
	// Limit is the most explicit subscriptions; 0 means none allowed.
	Limit int
}

// Watcher is one session's end of the hub. All its methods may be called from
// any goroutine.
type Watcher struct {
	hub    *Hub
	params Params
	queue  queue
	sent   atomic.Uint64 // messages ever drained
	// sibling is the next watcher of the same user; guarded by Hub.mu.
	sibling *Watcher
	number  uint32 // in Hub.numbers, while it is in Hub.watchers

	stream   uint32     // names the newest attachment; guarded by mu, as all below
	mu       sync.Mutex // guards all below
	edges    []edge
	free     uint32 // the first free edge, chained through edge.version
	freed    uint32 // how many there are
	explicit uint32 // edges with sourceUser
	localeOf uint32 // Hub.age when locale was found; 0: never
	sequence uint64 // of the last message of the session's stream
	sight    sight
	encoder  Encoder // of the newest attachment
	locale   string  // in which it is told
	// ended: a device that has no message from this number on may not know of a
	// subscription that ended without its doing, or that it must begin anew.
	ended    uint32
	friends  following
	attached bool // it was ever attached on this node
	gone     bool
}

// Watch subscribes to users: the edges stand when it returns, snapshots follow
// through Drain, then a mark of the given scope (ScopeUser for one user,
// ScopeAll for several, ScopeNone for no mark). It returns those that were subscribed before; they get
// no second snapshot. Over the limit it fails with LimitSubscriptions and
// changes nothing.
func (w *Watcher) Watch(users []presence.UserID, scope Scope) (already []presence.UserID, err error) {
	return w.watch(users, scope, w.params.Limit)
}

// Restore is Watch for what the session watched before its node started anew:
// it was allowed then, so a limit that was lowered since does not count.
func (w *Watcher) Restore(users []presence.UserID, scope Scope) error {
	_, err := w.watch(users, scope, math.MaxInt)
	return err
}

func (w *Watcher) watch(users []presence.UserID, scope Scope, limit int) (already []presence.UserID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return nil, fault.New(fault.SessionGone, "the session is closed; make a new one")
	}
	users = distinct(users)
	find := w.finder(len(users))
	fresh := make([]presence.UserID, 0, len(users))
	var known []uint32 // edges that stand for another reason
	for _, u := range users {
		i, ok := find(u)
		switch {
		case ok && w.edges[i].bits&sourceUser != 0:
			already = append(already, u)
		case ok:
			known = append(known, i)
		default:
			fresh = append(fresh, u)
		}
	}
	more := len(fresh) + len(known)
	if int(w.explicit)+more > limit {
		return nil, fault.New(fault.LimitSubscriptions,
			"%d users are watched and %d were asked for; a session may watch %d: unsubscribe some first", w.explicit, more, limit)
	}
	w.edges = slices.Grow(w.edges, max(0, len(fresh)-int(w.freed)))
	pushed := make([]uint32, 0, more)
	for _, i := range known {
		w.adopt(i, sourceUser)
		pushed = append(pushed, i)
	}
	for _, u := range fresh {
		pushed = append(pushed, w.enter(u, sourceUser))
	}
	w.explicit += uint32(more)
	var m *Mark
	if scope != ScopeNone {
		m = &Mark{Scope: scope, Users: len(users)}
	}
	if scope == ScopeUser && len(users) > 0 {
		m.User = string(users[0])
	}
	w.queue.pushAll(pushed, m)
	return already, nil
}

// Unwatch ends an explicit subscription. was says whether there was one; still
// whether the user stays watched as a friend. Nothing about the user is sent
// after the mark ScopeEnded, which comes unless still.
func (w *Watcher) Unwatch(u presence.UserID) (was, still bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.find(u)
	if !ok {
		return false, false
	}
	e := &w.edges[i]
	if e.bits&sourceUser == 0 {
		return false, e.bits&sourceFriends != 0
	}
	e.bits &^= sourceUser
	w.explicit--
	if e.bits&sources != 0 {
		return true, true
	}
	w.drop(i)
	if w.attached {
		w.queue.pushAll(nil, &Mark{Scope: ScopeEnded, User: string(u)})
	}
	return true, false
}

// Watches lists the explicit subscriptions, and says whether the friends are
// subscribed to.
func (w *Watcher) Watches() (users []presence.UserID, friends bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	users = make([]presence.UserID, 0, w.explicit)
	for i := range w.edges {
		if e := &w.edges[i]; e.target != 0 && e.bits&sourceUser != 0 {
			users = append(users, w.target(e).picture.Load().User.ID)
		}
	}
	return users, w.friends != followsNone
}

// clear ends all subscriptions for good.
func (w *Watcher) clear() {
	w.queue.attach(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	for i := range w.edges {
		if e := &w.edges[i]; e.target != 0 {
			w.hub.leave(w, *e)
		}
	}
	w.hub.numbers.remove(w.number)
	w.edges, w.freed, w.explicit, w.friends, w.sight.veils = nil, 0, 0, followsNone, nil
}

// target is the far end of an edge that is not free.
func (w *Watcher) target(e *edge) *target { return w.hub.targets.at(e.target) }

// find returns the index of the edge to u.
func (w *Watcher) find(u presence.UserID) (uint32, bool) {
	name := presence.User{App: w.params.User.App, ID: u}
	sh := w.hub.shard(name)
	sh.mu.RLock()
	t := sh.targets[name]
	refs := 0
	if t != nil {
		refs = int(t.refs)
	}
	sh.mu.RUnlock()
	if t == nil {
		return 0, false
	}
	if refs < len(w.edges) {
		return t.find(w.number)
	}
	for i := range w.edges {
		if w.edges[i].target == t.number {
			return uint32(i), true
		}
	}
	return 0, false
}

// finder returns find, or for many look-ups one that is quicker in sum.
func (w *Watcher) finder(lookups int) func(presence.UserID) (uint32, bool) {
	switch {
	case len(w.edges) == int(w.freed): // a login: nothing to look for
		return func(presence.UserID) (uint32, bool) { return 0, false }
	case lookups <= 16:
		return w.find
	}
	known := make(map[presence.UserID]uint32, len(w.edges))
	for i := range w.edges {
		if e := &w.edges[i]; e.target != 0 {
			known[w.target(e).picture.Load().User.ID] = uint32(i)
		}
	}
	return func(u presence.UserID) (uint32, bool) { i, ok := known[u]; return i, ok }
}

// enter makes the edge to u, which must not stand yet, and asks for a snapshot.
func (w *Watcher) enter(u presence.UserID, source uint8) uint32 {
	var i uint32
	if w.freed > 0 {
		i = w.free
		w.free = w.edges[i].version
		w.freed--
	} else {
		i = uint32(len(w.edges))
		w.edges = append(w.edges, edge{})
	}
	t, slot := w.hub.enter(presence.User{App: w.params.User.App, ID: u}, w, i)
	e := edge{target: t.number, bits: source}
	e.setSlot(slot)
	e.setSend(sendSnapshot)
	w.edges[i] = e
	w.cover(i)
	return i
}

// adopt gives an edge that stands one more reason. Who asks for a user gets his
// picture, though it was told for the other reason before.
func (w *Watcher) adopt(i uint32, source uint8) {
	e := &w.edges[i]
	e.bits = e.bits&^owes | source
	if e.sequence != 0 { // one that was never told of is a snapshot anyway
		e.setSend(max(e.send(), sendAsked))
	}
}

func (w *Watcher) drop(i uint32) {
	e := w.edges[i]
	w.edges[i] = edge{version: w.free}
	w.free = i
	w.freed++
	delete(w.sight.veils, i)
	w.hub.leave(w, e)
	w.queue.remove(i) // after leave: nothing puts it in again
}

// distinct returns users without repeats, in their order; users itself when it
// has none.
func distinct(users []presence.UserID) []presence.UserID {
	sorted := slices.Sorted(slices.Values(users))
	if len(slices.Compact(sorted)) == len(users) {
		return users
	}
	seen := make(map[presence.UserID]bool, len(users))
	return slices.DeleteFunc(slices.Clone(users), func(u presence.UserID) bool {
		again := seen[u]
		seen[u] = true
		return again
	})
}
