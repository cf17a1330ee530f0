package bench

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// updatePause is the least time between two changes of one user. The server
// coalesces what comes faster than ten per second, and what it coalesces it
// does not deliver, so the load keeps a little below that.
const updatePause = 110 * time.Millisecond

// target is one server under load with all its devices.
type target struct {
	role    int
	name    string // for people: "server" or "null server"
	addr    netip.AddrPort
	more    []netip.AddrPort // with several nodes: the others', after that of addr
	proc    process          // 0 when it is unknown and cannot be measured
	stop    func() error
	graph   [][]int32
	dialect dialect
	devices []*device
	turn    turn

	tally
	readAt, lastSend int64      // when bytes were last read, and a change last sent
	hist             *histogram // where delays are counted; nil outside measurements
	baseRSS          int64      // KiB of the server before anybody logged in
	loggedIn         int64      // when everybody was
	rate             float64    // deliveries per second that saturate reached
}

// tally counts what has happened to a target since the start of the run.
type tally struct {
	ready, left   int   // devices logged in, and gone again
	answered      int64 // updates answered
	sent          int64 // changes sent
	notifications int64 // of any kind
	received      int64 // changes delivered to a watcher
	missing       int64 // deliveries given up
}

// turn is the order in which users change their status: a random permutation,
// over and over, so that nobody's turn comes too soon.
type turn struct {
	order []int32
	next  int
}

// newTarget prepares a target that speaks the dialect of door.
func newTarget(name, door string, addr netip.AddrPort, graph [][]int32, seed uint64) (*target, error) {
	t := &target{name: name, addr: addr, graph: graph}
	var err error
	switch door {
	case DoorTopics:
		t.dialect, err = newTopicDialect(addr.String())
	case DoorLive:
		t.dialect, err = newLiveDialect(addr.String())
	default:
		t.dialect, err = newGRPCDialect(addr.String())
	}
	if err != nil {
		return nil, err
	}
	t.turn.order = make([]int32, len(graph))
	for i, u := range rand.New(rand.NewPCG(seed, 0x7475726e)).Perm(len(graph)) {
		t.turn.order[i] = int32(u)
	}
	return t, nil
}

// addrOf is where a user connects: each node in turn.
func (t *target) addrOf(user int32) netip.AddrPort {
	if at := int(user) % (1 + len(t.more)); at > 0 {
		return t.more[at-1]
	}
	return t.addr
}

// friends is how many watchers each change has.
func (t *target) friends() int64 { return int64(len(t.graph[0])) }

// inFlight is how many deliveries are under way.
func (t *target) inFlight() int64 { return t.sent*t.friends() - t.received - t.missing }

// delivered counts one change that reached one watcher.
func (t *target) delivered(after int64) {
	t.received++
	if t.hist != nil {
		t.hist.add(time.Duration(after))
	}
}

// due returns the device whose turn it is, and when it may change its status at
// the earliest; ok is false while its last change is not answered.
func (t *target) due() (d *device, at int64, ok bool) {
	d = t.devices[t.turn.order[t.turn.next]]
	if d.sentAt != 0 {
		at = d.sentAt + int64(updatePause)
	}
	return d, at, !d.busy
}

// cpu returns the CPU time of the server, 0 when it is not known.
func (t *target) cpu() (time.Duration, error) {
	if t.proc == 0 {
		return 0, nil
	}
	return t.proc.cpu()
}

// rss returns the resident KiB of the server, 0 when they are not known.
func (t *target) rss() (int64, error) {
	if t.proc == 0 {
		return 0, nil
	}
	return t.proc.rss()
}
