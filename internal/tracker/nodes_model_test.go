package tracker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
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
		most = 15
	}
	rapid.Check(t, func(rt *rapid.T) {
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
	if number == n.number {
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
			m.devices = append(m.devices, &device{user: u, ref: made.Ref, maker: n.number})
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

// check holds what must be at every moment.
func (m *nodesModel) check() {
	m.hangUp()
	for _, n := range m.c.running() {
		seen := m.seen[n]
		if seen == nil {
			seen = map[presence.User]presence.Time{}
			m.seen[n] = seen
		}
		for _, u := range m.users {
			p := n.tr.Presence(u)
			if p.LastSeen < seen[u] {
				m.fail("last seen of %s went back on node %d", u.ID, n.name)
			}
			seen[u] = p.LastSeen
		}
		if n.ear.back {
			m.fail("an older picture came after a newer one on node %d", n.name)
		}
	}
	for _, d := range m.devices {
		if d.at == nil {
			continue
		}
		if d.at.dead {
			d.at = nil
			continue
		}
		m.steady(d)
	}
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

// steady: whoever is connected at a node that nothing was wrong with is shown open
// at every such node.
func (m *nodesModel) steady(d *device) {
	const settled = 2 * time.Second
	if time.Since(d.since) < settled || time.Since(m.faulted[d.at]) < 20*time.Second && !m.faulted[d.at].IsZero() || d.at.cut {
		return
	}
	if d.at.store.late.Load() || time.Since(m.on) < settled {
		return // another login may have replaced it, which its node has yet to read
	}
	for _, n := range m.c.running() {
		if n.cut || time.Since(m.faulted[n]) < 20*time.Second && !m.faulted[n].IsZero() {
			continue
		}
		open := false
		for _, v := range n.tr.Presence(d.user).Sessions {
			if v.True.Open() && v.Public == m.public(d) {
				open = true
				m.unmoved(d, n, v.True.Opened)
			}
		}
		if !open {
			m.fail("a session of %s that is connected at node %d since %v is not open at node %d", d.user.ID, d.at.name, time.Since(d.since), n.name)
		}
	}
}

// unmoved: whoever stays connected opens once at each node (R9).
func (m *nodesModel) unmoved(d *device, n *node, opened uint32) {
	type of struct {
		since time.Time
		n     *node
	}
	if d.opened == nil {
		d.opened = map[any]uint32{}
	}
	key := of{d.since, n}
	if before, ok := d.opened[key]; ok && before != opened {
		m.fail("a session of %s that is connected at node %d since %v opened anew at node %d", d.user.ID, d.at.name, time.Since(d.since), n.name)
	}
	d.opened[key] = opened
}

func (m *nodesModel) public(d *device) (id presence.PublicID) {
	sh, s, err := d.at.tr.find(d.ref)
	if err != nil {
		return id
	}
	defer sh.mu.Unlock()
	return s.public
}

// settle ends all faults and holds that everybody agrees.
func (m *nodesModel) settle() {
	m.release()
	m.readOn()
	m.hangUp()
	m.c.mem.Recover()
	m.c.mu.Lock()
	m.c.lose = nil
	m.c.mu.Unlock()
	for _, n := range m.c.running() {
		if n.cut {
			m.c.heal(n, m.c.lost(n))
		}
	}
	wait(5 * time.Second)
	m.check()
	for n, at := range m.faulted {
		if left := 12*time.Second - time.Since(at); n.dead && left > 0 {
			wait(left) // its sessions' grace is not over
		}
	}
	// A claim whose result was unknown is made again within 10 s, and what it opens
	// for nobody closes a moment later.
	for range 5 {
		before := m.trouble
		if m.agree("some seconds after the last fault", false); m.trouble == before {
			break
		}
		if m.trouble = before; before != "" {
			return
		}
		wait(3 * time.Second)
	}
	m.agree("20 s after the last fault", false)
	wait(55 * time.Second) // the longest grace of all, and its claim made again
	m.check()
	m.agree("when every grace is over", true)
}

// agree holds all nodes and the log against one another.
func (m *nodesModel) agree(when string, over bool) {
	first := m.c.running()[0]
	for _, u := range m.users {
		f, _ := first.folded(u)
		for _, n := range m.c.running() {
			if got, want := n.looks(u), first.looks(u); got != want {
				m.fail("%s node %d sees %s of %s, node %d %s", when, n.name, got, u.ID, first.name, want)
			}
			if a, b := n.tr.Presence(u), first.tr.Presence(u); a.LastSeen != b.LastSeen || over && a.Stale != 0 {
				m.fail("%s node %d has last seen %v of %s, node %d %v (stale %v)", when, n.name, a.LastSeen, u.ID, first.name, b.LastSeen, a.Stale)
			}
		}
		for i := range f.Sessions {
			m.agreeOn(when, u, &f.Sessions[i])
		}
		if got := m.loggedIn(&f); m.single && len(got) > 1 {
			m.fail("%s %s has %d sessions under the policy single: %v", when, u.ID, len(got), got)
		}
	}
	for _, d := range m.devices {
		if !over {
			break
		}
		f, _ := first.folded(d.user)
		fs := f.Session(d.ref.Session)
		switch isOpen := fs != nil && fs.Phase == presence.FoldOpen; {
		case d.at != nil && !isOpen:
			m.fail("%s a session of %s is connected at node %d, the log has %+v", when, d.user.ID, d.at.name, fs)
		case d.at == nil && isOpen:
			m.fail("%s a session of %s is nowhere connected and open in the log: %+v", when, d.user.ID, fs)
		case d.acked != (presence.Epoch{}) && fs != nil && fs.Epoch.Compare(d.acked) < 0:
			m.fail("%s an acknowledged opening of %s at %+v is not in the log: %+v", when, d.user.ID, d.acked, fs)
		case d.at != nil && !d.unsure && d.at.status(d.ref).Show != d.show:
			m.fail("%s a session of %s says %v, want %v", when, d.user.ID, d.at.status(d.ref).Show, d.show)
		}
	}
}

// loggedIn are a user's sessions in the log that are open, but for those that a
// server set.
func (m *nodesModel) loggedIn(f *presence.Folded) (open []string) {
	for i := range f.Sessions {
		s := &f.Sessions[i]
		ofDevice := slices.ContainsFunc(m.devices, func(d *device) bool { return d.ref.Session == s.ID })
		if s.Phase == presence.FoldOpen && ofDevice {
			open = append(open, s.ID.String()[:4])
		}
	}
	return open
}

// agreeOn: whom the log has open is open everywhere and has one owner, and the
// reverse.
func (m *nodesModel) agreeOn(when string, u presence.User, fs *presence.FoldedSession) {
	owners := 0
	for _, n := range m.c.running() {
		sh := n.tr.shard(u)
		sh.mu.Lock()
		var s *session
		if held := sh.known(u); held != nil {
			s = held.session(fs.ID)
		}
		isOpen := s != nil && s.phase.Open()
		if isOpen && !s.foreign {
			owners++
		}
		if isOpen != (fs.Phase == presence.FoldOpen) || isOpen && s.epoch != fs.Epoch {
			m.fail("%s the log has %v of %+v, node %d has it open: %v, at %+v", when, fs.Phase, fs.Epoch, n.name, isOpen, s.brief())
		}
		sh.mu.Unlock()
	}
	if fs.Phase == presence.FoldOpen && owners > 1 {
		m.fail("%s %d nodes have the session %+v", when, owners, fs)
	}
}

// status is what a session says at this node.
func (n *node) status(ref Ref) presence.Status {
	sh, s, err := n.tr.find(ref)
	if err != nil {
		return presence.Status{}
	}
	defer sh.mu.Unlock()
	if s.status == nil {
		return presence.Status{}
	}
	return *s.status
}

func (s *session) brief() string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v, %v, foreign %v, %+v", s.phase, s.epoch, s.foreign, s.truth)
}

// written is the log, briefly.
func (m *nodesModel) written() (s string) {
	for _, r := range m.c.mem.Records() {
		s += fmt.Sprintf("\n%v %v %v %v at %d", r.Kind, r.Session.String()[:4], r.Epoch, r.Reason, r.Time%1000000)
	}
	return s
}
