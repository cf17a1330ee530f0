package hub

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// none ends a chain of free slots.
const none = ^uint32(0)

// target is one watched user: its newest picture, who watches it, and the
// encoded forms that watchers share.
type target struct {
	picture atomic.Pointer[presence.Presence]
	refs    int // edges; guarded by the shard's lock

	mu    sync.RWMutex // guards slots and free
	slots []slot
	free  uint32 // first free slot, chained through slot.edge

	encoded encoded
}

// fewSlots grow by doubling.
const fewSlots = 16

// slot is the target's end of an edge. Slots never move, so an edge can name
// its slot; freed ones are used again.
type slot struct {
	watcher *Watcher // nil: free
	edge    uint32   // index in watcher.edges, or the next free slot
	// veiled: changes are not for this watcher. Not even its queue may know of
	// them, for what it is sent next would come in another order.
	veiled bool
}

// show makes p the picture unless a newer one is there. It reports whether it did.
func (t *target) show(p *presence.Presence) bool {
	for {
		old := t.picture.Load()
		if old != nil && int32(p.Version-old.Version) <= 0 {
			return false
		}
		if t.picture.CompareAndSwap(old, p) {
			return true
		}
	}
}

// tell marks the target as changed with each of its watchers except one.
func (t *target) tell(except *Watcher) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.slots {
		if s := &t.slots[i]; s.watcher != nil && s.watcher != except && !s.veiled {
			s.watcher.queue.push(s.edge)
		}
	}
}

func (t *target) add(w *Watcher, edge uint32) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.free; i != none {
		t.free = t.slots[i].edge
		t.slots[i] = slot{watcher: w, edge: edge}
		return i
	}
	if len(t.slots) == cap(t.slots) && len(t.slots) >= fewSlots {
		// There is one for each edge of the node, so room that is never used would
		// cost more than growing more often.
		t.slots = append(make([]slot, 0, len(t.slots)+len(t.slots)/4), t.slots...)
	}
	t.slots = append(t.slots, slot{watcher: w, edge: edge})
	return uint32(len(t.slots) - 1)
}

func (t *target) remove(i uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots[i] = slot{edge: t.free}
	t.free = i
}

// rest is Hub.Rest's.
func (t *target) rest() {
	t.encoded.rest()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots = slices.Clone(t.slots)
}

// veil sets whether changes are kept from a slot's watcher.
func (t *target) veil(i uint32, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots[i].veiled = on
}

// find returns the edge index of w here, for whichever is shorter: a walk of
// the target's slots or of the watcher's edges.
func (t *target) find(w *Watcher) (uint32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.slots {
		if t.slots[i].watcher == w {
			return t.slots[i].edge, true
		}
	}
	return 0, false
}
