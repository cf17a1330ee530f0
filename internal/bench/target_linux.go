package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// updatePause is the least time between two changes of one user. The server
// coalesces what comes faster than ten per second, and what it coalesces it
// does not deliver, so the load keeps a little below that.
const updatePause = 110 * time.Millisecond

// target is one server under load with all its devices.
type target struct {
	name    string // for people: "server" or "null server"
	addr    netip.AddrPort
	proc    process // 0 when it is unknown and cannot be measured
	stop    func() error
	graph   [][]int32
	initial []byte // field 2 of the Connect request: the status at login
	change  *change
	devices []*device
	turn    turn

	tally
	readAt, lastSend int64      // when bytes were last read, and a change last sent
	hist             *histogram // where delays are counted; nil outside measurements
	baseRSS          int64      // KiB of the server before anybody logged in
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

// newTarget prepares a target; tokens are the access tokens by user.
func newTarget(name string, addr netip.AddrPort, graph [][]int32, seed uint64) (*target, error) {
	c, err := newChange()
	if err != nil {
		return nil, err
	}
	first, err := proto.Marshal(loadUpdate(silentMarker))
	if err != nil {
		return nil, fmt.Errorf("bench: encode the first status: %w", err)
	}
	t := &target{name: name, addr: addr, graph: graph, change: c}
	t.initial = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), first)
	t.turn.order = make([]int32, len(graph))
	for i, u := range rand.New(rand.NewPCG(seed, 0x7475726e)).Perm(len(graph)) {
		t.turn.order[i] = int32(u)
	}
	return t, nil
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
	return d, at, d.call == 0
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
