package hub

import (
	"slices"
	"sync"
)

// maxMarkers bounds the marks that wait in one queue: beyond it they become one
// mark of scope all, so that a device that subscribes in a loop without
// reading costs bounded memory.
const maxMarkers = 1024

// keepRoom is how much room an empty queue keeps: a snapshot of thousands
// should not be paid for ever after.
const keepRoom = 16

// Scope says what a mark is about.
type Scope uint8

// The scopes.
const (
	ScopeNone    Scope = iota // no mark
	ScopeUser                 // the snapshot of one user is done
	ScopeFriends              // the snapshot of the friends is done
	ScopeAll                  // the snapshot of all that was asked for is done
	ScopeEnded                // the subscription of one user ended
)

// EndReason says why a subscription ended.
type EndReason uint8

// The reasons.
const (
	EndUnsubscribed EndReason = iota // the device asked for it
	EndUnfriended                    // the user is on the friend list no more
)

// Mark is a word to the watcher that keeps its place among notifications.
type Mark struct {
	Scope  Scope
	Reason EndReason // ScopeEnded
	User   string    // ScopeUser and ScopeEnded
	Users  int       // how many targets the snapshot had
}

// queue is the set of a watcher's edges that changed, in the order of their
// first change, and the marks between them.
type queue struct {
	mu      sync.Mutex // guards all below
	edges   []uint32   // indexes, each at most once
	queued  []uint64   // bit set: which indexes are in edges
	taken   uint32     // how many of edges are drained
	asleep  bool       // wake must be called for the next entry
	marks   []queuedMark
	wake    func() // nil: nobody drains
	drained uint64 // edges ever taken, so that marks know their place
}

type queuedMark struct {
	after uint64 // comes when this many edges were taken
	mark  Mark
}

// push adds an edge, unless it waits already, and wakes who drains.
func (q *queue) push(edge uint32) {
	q.mu.Lock()
	q.add(edge)
	wake := q.rouse()
	q.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// pushAll adds several edges and then a mark, with one wake.
func (q *queue) pushAll(edges []uint32, m *Mark) {
	q.mu.Lock()
	for _, e := range edges {
		q.add(e)
	}
	if m != nil {
		q.addMark(*m)
	}
	wake := q.rouse()
	q.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// left is how many edges wait. The lock is held.
func (q *queue) left() int { return len(q.edges) - int(q.taken) }

func (q *queue) add(edge uint32) {
	word, bit := int(edge/64), uint64(1)<<(edge%64)
	for len(q.queued) <= word {
		q.queued = append(q.queued, 0)
	}
	if q.queued[word]&bit != 0 {
		return
	}
	q.queued[word] |= bit
	q.edges = append(q.edges, edge)
}

// remove takes an edge back. Its index may be used anew then: an entry left
// behind would bring the new edge's snapshot before marks that must come first.
func (q *queue) remove(edge uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	word, bit := int(edge/64), uint64(1)<<(edge%64)
	if word >= len(q.queued) || q.queued[word]&bit == 0 {
		return
	}
	q.queued[word] &^= bit
	i := slices.Index(q.edges[q.taken:], edge)
	q.edges = slices.Delete(q.edges, int(q.taken)+i, int(q.taken)+i+1)
	for j := range q.marks {
		if q.marks[j].after > q.drained+uint64(i) {
			q.marks[j].after--
		}
	}
}

func (q *queue) addMark(m Mark) {
	if len(q.marks) >= maxMarkers {
		users := m.Users
		for _, old := range q.marks {
			users += old.mark.Users
		}
		q.marks, m = q.marks[:0], Mark{Scope: ScopeAll, Users: users}
	}
	q.marks = append(q.marks, queuedMark{q.drained + uint64(q.left()), m})
}

// rouse returns the wake to call, at most once between two drains.
func (q *queue) rouse() func() {
	if !q.asleep {
		return nil
	}
	q.asleep = false
	return q.wake
}

// takeAtOnce is how many edges one look at the queue takes.
const takeAtOnce = 16

// take appends the next edges to dst, and returns the mark that follows them if
// one does. more is false when nothing is left; then the next push wakes.
func (q *queue) take(dst []uint32) (edges []uint32, m *Mark, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.left(), takeAtOnce)
	if len(q.marks) > 0 {
		n = min(n, int(q.marks[0].after-q.drained))
	}
	for _, edge := range q.edges[q.taken:][:n] {
		q.queued[edge/64] &^= 1 << (edge % 64)
		dst = append(dst, edge)
	}
	q.taken += uint32(n)
	q.drained += uint64(n)
	if len(q.marks) > 0 && q.marks[0].after <= q.drained {
		mark := q.marks[0].mark
		m = &mark
		if q.marks = q.marks[1:]; len(q.marks) == 0 {
			q.marks = nil
		}
	}
	if q.left() > 0 || len(q.marks) > 0 {
		if q.taken >= keepRoom && int(q.taken) >= q.left() {
			// A reader that never catches up must not make the list longer for ever.
			q.edges, q.taken = q.edges[:copy(q.edges, q.edges[q.taken:])], 0
		}
		return dst, m, true
	}
	if cap(q.edges) > keepRoom {
		q.edges = nil
	}
	q.edges, q.taken, q.asleep = q.edges[:0], 0, q.wake != nil
	return dst, m, false
}

// attach sets who is woken and wakes it if something waits. With nil nobody is.
func (q *queue) attach(wake func()) {
	q.mu.Lock()
	q.wake = wake
	q.asleep = wake != nil
	pending := q.left() > 0 || len(q.marks) > 0
	if pending {
		wake = q.rouse()
	} else {
		wake = nil
	}
	q.mu.Unlock()
	if wake != nil {
		wake()
	}
}
