package app

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

// A control group may have less than the machine, and so may one above it.
func TestMemoryOfAMachine(t *testing.T) {
	t.Parallel()
	const total = "MemTotal:       16777216 kB\nMemFree:         1000 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"nothing known":      {nil, 0},
		"the machine's":      {map[string]string{"proc/meminfo": total}, 16 << 30},
		"no limit":           {map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 16 << 30},
		"a container's":      {map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		"of a group above":   {map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1073741824\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1 << 30},
		"version 1":          {map[string]string{"proc/meminfo": total, "proc/self/cgroup": "4:cpu:/x\n3:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2147483648\n"}, 2 << 30},
		"a path that climbs": {map[string]string{"proc/meminfo": total, "proc/self/cgroup": "0::/../..\n"}, 16 << 30},
	} {
		machine := fstest.MapFS{}
		for file, text := range c.files {
			machine[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryOf(machine); got != c.want {
			t.Errorf("%s: %d bytes; want %d", name, got, c.want)
		}
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	for memory, want := range map[uint64]uint64{0: 0, 256 << 20: 0, 512 << 20: 16 << 20, 2 << 30: 64 << 20, 8 << 30: 256 << 20, math.MaxUint64: 256 << 20} {
		if got := roomIn(memory); got != want {
			t.Errorf("of %d bytes: room %d; want %d", memory, got, want)
		}
	}
	const room = 256 << 20
	for _, live := range []uint64{0, 1 << 20, 4 << 20, 40 << 20, 200 << 20, 256 << 20, 300 << 20, 4 << 30} {
		percent := percentOf(live, room)
		// As runtime/mgcpacer.go has it: the goal, and the least one.
		growth := max(live, leastHeap) * uint64(percent) / 100
		if most := max(room, live); percent < plainPercent || growth > most || growth < most-most/20 {
			t.Errorf("with %d bytes that live, %d %%: it grows by %d; want %d", live, percent, growth, most)
		}
	}
}

// Not parallel: a process has one target.
func TestRoomFollowsTheHeap(t *testing.T) {
	machine := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 16777216 kB\n")}}
	var r room
	percent, limit := debug.SetGCPercent(plainPercent), debug.SetMemoryLimit(math.MaxInt64) // whatever GOGC and GOMEMLIMIT say
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	r.want(machine)
	r.want(machine)
	if r.percent <= plainPercent || targetIsPlain() {
		t.Fatalf("the target is %d %%: there is no room", r.percent)
	}
	var other room
	if other.want(machine); other.bytes != 0 {
		t.Fatal("a target that somebody else has set is not left alone")
	}
	other.release()
	if targetIsPlain() {
		t.Fatal("who left it alone has taken it back")
	}
	r.release()
	if targetIsPlain() {
		t.Fatal("it has gone with the first of two nodes")
	}
	r.release()
	if !targetIsPlain() {
		t.Fatal("the target stays when no node wants it any more")
	}
}
