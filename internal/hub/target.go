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
	refs    uint32 // edges; guarded by the shard's lock
	number  uint32 // in Hub.targets

	mu    sync.RWMutex // guards slots and free
	slots []slot
	free  uint32 // first free slot, chained through slot.edge

	encoded encoded
}

// fewSlots grow by doubling.
const fewSlots = 16

// slot is the target's end of an edge: 8 bytes without a pointer. Slots never
// move, so an edge can name its slot; freed ones are used again.
type slot struct {
	watcher uint32 // in Hub.numbers; 0: free
	edge    uint32 // index in watcher.edges, perhaps veiled; or the next free slot
}

// veiled, a bit of slot.edge: changes are not for this watcher. Not even its
// queue may know of them, for what it is sent next would come in another order.
const veiled = 1 << 31

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

// tell marks the target as changed with each of its watchers except one; 0 is
// none.
func (t *target) tell(watchers *table[Watcher], except uint32) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.slots {
		if s := &t.slots[i]; s.watcher != 0 && s.watcher != except && s.edge&veiled == 0 {
			watchers.at(s.watcher).queue.push(s.edge)
		}
	}
}

func (t *target) add(watcher, edge uint32) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.free; i != none {
		t.free = t.slots[i].edge
		t.slots[i] = slot{watcher, edge}
		return i
	}
	if len(t.slots) == cap(t.slots) && len(t.slots) >= fewSlots {
		// There is one for each edge of the node, so room that is never used would
		// cost more than growing more often.
		t.slots = append(make([]slot, 0, len(t.slots)+len(t.slots)/4), t.slots...)
	}
	t.slots = append(t.slots, slot{watcher, edge})
	return uint32(len(t.slots) - 1)
}

func (t *target) remove(watcher, near uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.slotOf(watcher, near)
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

// slotOf is the slot of a watcher whose edge says near. The lock is held.
func (t *target) slotOf(watcher, near uint32) uint32 {
	if near != farSlot {
		return near
	}
	return uint32(slices.IndexFunc(t.slots, func(s slot) bool { return s.watcher == watcher }))
}

// veil sets whether changes are kept from a watcher whose edge says near.
func (t *target) veil(watcher, near uint32, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[t.slotOf(watcher, near)]
	if s.edge &^= veiled; on {
		s.edge |= veiled
	}
}

// find returns the edge index of a watcher here, for whichever is shorter: a
// walk of the target's slots or of the watcher's edges.
func (t *target) find(watcher uint32) (uint32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.slots {
		if t.slots[i].watcher == watcher {
			return t.slots[i].edge &^ veiled, true
		}
	}
	return 0, false
}
