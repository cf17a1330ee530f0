package app

import (
	"context"
	"io/fs"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// A node that is one of several makes garbage with every change of any of them, of
// which little lives: its heap would double, and be collected, every second or so, and
// for 20 to 30 ms of each collection whoever watches waits for a processor
// (docs/scale.md). So it collects once so many bytes were allocated, the room, however
// few live. When it becomes quiet, rest gives them back.
const (
	roomMost  = 256 << 20
	roomShare = 32 // of the memory there is, a room is this part at most
	// roomLeast is less than which is not worth it: the runtime itself waits for 4 MiB.
	roomLeast = 16 << 20
	// roomSlack is the part by which the target is left wrong rather than set anew,
	// since that stops everything for a moment.
	roomSlack = 8
	// leastHeap is what the runtime takes the heap for when it is smaller, at 100 %.
	leastHeap = 4 << 20
	// plainPercent is what the runtime begins with.
	plainPercent = 100
)

// roomIn is the room of a machine, or of the part of it that a process may have, with
// so much memory; 0: none.
func roomIn(memory uint64) uint64 {
	room := min(roomMost, memory/roomShare)
	if room < roomLeast {
		return 0
	}
	return room
}

// percentOf is the target for the collector (debug.SetGCPercent) with which so much is
// allocated after a collection that found live bytes, the least of the room and of what
// is allocated without one.
func percentOf(live, room uint64) int {
	return max(plainPercent, int(room*plainPercent/max(live, leastHeap)))
}

// room is the one of this process: it has one heap, whatever number of nodes.
type room struct {
	mu      sync.Mutex // guards all below
	nodes   int        // that asked for it
	bytes   uint64     // 0: it is not this program's to set
	percent int        // that was set
	sample  []metrics.Sample
}

var heapRoom room

// want begins to keep the room; whoever wanted it calls release. Where the operator
// (GOGC, GOMEMLIMIT), or the program that this one is part of, has set a target, that
// stays.
func (r *room) want(machine fs.FS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes++; r.nodes > 1 {
		return
	}
	r.bytes, r.percent = 0, plainPercent
	if targetIsPlain() {
		r.bytes = roomIn(memoryOf(machine))
	}
	if r.bytes == 0 {
		return
	}
	r.sample = []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	r.adapt()
	// What nobody refers to is found by each collection: right after it the target is
	// made that of what lives now. Later the heap could grow far beyond the room, if
	// much came to live meanwhile.
	runtime.SetFinalizer(&collected{r}, (*collected).again)
}

func (r *room) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes--; r.nodes == 0 && r.bytes != 0 {
		r.bytes = 0
		r.set(plainPercent)
	}
}

// collected is what a collection finds.
type collected struct{ room *room }

func (c *collected) again() {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	if c.room.bytes != 0 {
		c.room.adapt()
		runtime.SetFinalizer(c, (*collected).again)
	}
}

// adapt sets the target for what lives. mu is held.
func (r *room) adapt() {
	metrics.Read(r.sample)
	live := uint64(0)
	for i := range r.sample {
		live += r.sample[i].Value.Uint64()
	}
	if p := percentOf(live, r.bytes); p < r.percent-r.percent/roomSlack || p > r.percent+r.percent/roomSlack || p == plainPercent && p != r.percent {
		r.set(p)
	}
}

func (r *room) set(percent int) {
	debug.SetGCPercent(percent)
	r.percent = percent
}

// targetIsPlain reports whether nobody has set a target for the collector.
func targetIsPlain() bool {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() == plainPercent && s[1].Value.Uint64() == math.MaxInt64
}

// startRoom is of a node that is one of several; one alone collects as it ever did.
func (a *App) startRoom(context.Context) error {
	if a.p.Nodes != nil {
		heapRoom.want(os.DirFS("/"))
	}
	return nil
}

func (a *App) stopRoom(context.Context) error {
	if a.p.Nodes != nil {
		heapRoom.release()
	}
	return nil
}
