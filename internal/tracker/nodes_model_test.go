package tracker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// step is one step of a random history of three nodes. Its numbers choose among
// what there is when its turn comes.
type step struct {
	Kind string
	A, B int
	D    time.Duration
	Flag bool
}

var stepKinds = []string{
	"make", "make", "connect", "connect", "connect", "connect", "lose link", "update", "update", "hide", "close", "drop", "put", "put", "remove",
	"race", "kill and race", "log in at once", "wait", "wait", "wait", "kill", "leave", "start", "isolate", "heal", "hold", "release", "lose messages", "lose an answer", "read late", "read late", "read on",
}

func genStep() *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		longest := rapid.SampledFrom([]time.Duration{20 * time.Millisecond, 2 * time.Second, 8 * time.Second}).Draw(t, "longest")
		return step{
			Kind: rapid.SampledFrom(stepKinds).Draw(t, "kind"),
			A:    rapid.IntRange(0, 99).Draw(t, "a"), B: rapid.IntRange(0, 99).Draw(t, "b"),
			D:    time.Duration(rapid.Int64Range(1, int64(longest/time.Millisecond)).Draw(t, "ms")) * time.Millisecond,
			Flag: rapid.Bool().Draw(t, "flag"),
		}
	})
}

// device is what the test holds of a session: where it is connected, if it is.
type device struct {
	user   presence.User
	ref    Ref
	maker  uint64
	at     *node // nil: nowhere
	wire   *wire
	since  time.Time      // of the connection
	show   presence.Show  // what it said last, and was acknowledged
	unsure bool           // it does not know whether that was taken
	acked  presence.Epoch // of the last acknowledged connection
	closed bool           // an end of it was acknowledged
	opened map[any]uint32 // the version at which it opened, by connection and node
	served bool
}

// linked is one connection of a device, to a node that may have let go of it.
type linked struct {
	d    *device
	at   *node
	wire *wire
}

type nodesModel struct {
	c       *nodes
	single  bool // the policy
	devices []*device
	users   []presence.User
	seen    map[*node]map[presence.User]presence.Time
	faulted map[*node]time.Time // when it was last cut off, or stood
	calm    time.Time           // since when nothing is wrong with the store
	links   []*linked
	on      time.Time // when all last began to read the log to its end
	release func()
	trouble string
}

func (m *nodesModel) fail(format string, args ...any) {
	if m.trouble == "" {
		m.trouble = fmt.Sprintf(format, args...)
	}
}

// TestNodesModel plays random histories of three nodes over one log: kills,
// goodbyes, isolation, lost messages, a log that hangs. It holds against them that
// no session has two owners, that none that is connected is shown closed (R3), none
// that is gone open (R1), that last seen never goes back (R12), and that in the end
// all nodes and the log agree (R6) and have what was acknowledged (R4).
func TestNodesModel(t *testing.T) {
	t.Parallel()
	most := 40
	if testing.Short() {
		most = 10
	}
	rapidtest.Observe(t, 3*rapidtest.Limit).Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom([]presence.MultiDevice{presence.AllowAll, presence.Single}).Draw(rt, "policy")
		steps := rapid.SliceOfN(genStep(), 5, most).Draw(rt, "steps")
		var trouble string
		synctest.Test(t, func(t *testing.T) {
			trouble = playNodes(t, d, steps)
		})
		if trouble != "" {
			rt.Fatal(trouble)
		}
	})
}

func playNodes(t *testing.T, d presence.MultiDevice, steps []step) string {
	c := newNodes(t, 3, func(c *Config) {
		c.Policies[app] = Policy{HeartbeatTimeout: time.Hour, MultiDevice: d, SessionsPerUser: 8}
		c.RestartGrace = 10 * time.Second
	})
	defer c.stop()
	m := &nodesModel{
		c: c, single: d == presence.Single, seen: map[*node]map[presence.User]presence.Time{}, faulted: map[*node]time.Time{}, release: func() {},
		users: []presence.User{bob, {App: app, ID: "carol"}},
	}
	for i, s := range steps {
		m.play(s)
		wait(time.Millisecond)
		if m.check(); m.trouble != "" {
			return fmt.Sprintf("step %d, %+v: %s", i, s, m.trouble)
		}
	}
	if m.settle(); m.trouble != "" {
		m.trouble += m.written()
	}
	return m.trouble
}

// pick chooses a running node.
func (m *nodesModel) pick(n int) *node {
	list := m.c.running()
	return list[n%len(list)]
}

func (m *nodesModel) device(n int) *device {
	if len(m.devices) == 0 {
		return nil
	}
	return m.devices[n%len(m.devices)]
}

// owner is the node that a door would forward a call on the session to, seen
// from n.
func (m *nodesModel) owner(n *node, d *device) *node {
	number, ok := n.tr.OwnerOf(d.ref)
	if !ok {
		number = d.maker
	}
	if number == n.number() {
		return n
	}
	if o := m.c.node(number); o != nil && m.c.reach(n, o) {
		return o
	}
	return nil
}

func (m *nodesModel) play(s step) {
	ctx := context.Background()
	n, d := m.pick(s.B), m.device(s.A)
	switch s.Kind {
	case "make":
		u := m.users[s.A%len(m.users)]
		if made, err := n.tr.Make(ctx, MakeParams{User: u, Device: presence.Device{Platform: "ios"}}); err == nil {
			m.devices = append(m.devices, &device{user: u, ref: made.Ref, maker: n.number()})
		}
	case "wait":
		wait(s.D)
	case "hold":
		if m.release(); m.c.mem.Held() == 0 {
			m.calm = time.Time{}
			m.release = m.c.mem.Hold()
		}
	case "release":
		m.release()
		m.calm = time.Now()
	case "read late":
		n.store.late.Store(true)
	case "read on":
		m.readOn()
	case "lose an answer":
		m.c.mem.Lose(1, s.Flag)
	case "lose messages":
		left := 1 + s.A%20
		m.c.mu.Lock()
		m.c.lose = func() bool { left--; return left >= 0 }
		m.c.mu.Unlock()
	case "put", "remove":
		m.serve(s, n)
	case "log in at once":
		m.logIn(m.users[s.A%len(m.users)], n, m.pick(s.B+1))
	case "kill", "leave", "start", "isolate", "heal":
		m.fault(s, n)
	default:
		if d != nil && !d.served {
			m.live(ctx, s, n, d)
		}
	}
}

// readOn lets everybody read the log to its end.
func (m *nodesModel) readOn() {
	for _, n := range m.c.running() {
		n.store.late.Store(false)
	}
	m.on = time.Now()
}

// hangUp is the door's part when the tracker let go of a link.
func (m *nodesModel) hangUp() {
	for _, l := range m.links {
		if l.wire != nil && !l.at.dead && len(l.wire.ended()) > 0 {
			l.at.tr.LinkLost(l.d.ref, l.wire)
			if l.d.wire == l.wire {
				l.d.at = nil
			}
			l.wire = nil
		}
	}
	// Who raced to two nodes, of which one read late that it had lost, has the other.
	for _, l := range m.links {
		if d := l.d; d.at == nil && l.wire != nil && !l.at.dead && l.at.links(d.ref, l.wire) {
			d.at, d.wire, d.since = l.at, l.wire, time.Now()
		}
	}
}

// links reports whether a session is on a link at this node.
func (n *node) links(ref Ref, w *wire) bool {
	sh, s, err := n.tr.find(ref)
	if err != nil {
		return false
	}
	defer sh.mu.Unlock()
	return s.life.link == w
}
