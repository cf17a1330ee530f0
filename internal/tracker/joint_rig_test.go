package tracker

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// joint is several trackers, each with the cluster that it is used with, over a
// network and a quorum with faults, and one log. Its nodes are a, b and c.
type joint struct {
	t       *testing.T
	net     *clustertest.Network
	quorum  *clustertest.Quorum
	mem     *storetest.Memory
	all     map[string]*member
	devices presence.MultiDevice
	users   []presence.UserID // whom spies watch
	behind  bool              // who starts reads late what comes into the log from then on
}

// member is one node of it.
type member struct {
	*rig
	of    *joint
	name  string
	wire  *clustertest.Wire
	c     *cluster.Cluster
	store *shared
	hub   *hub.Hub
	spy   *spy // who watches everybody here, if anybody
}

// jointPeers is a cluster as the tracker knows it; as in package app.
type jointPeers struct{ *cluster.Cluster }

func (p jointPeers) Nodes() (all []uint64) {
	for _, m := range p.Members() {
		if !m.Self && m.Standing <= cluster.Suspect {
			all = append(all, m.Incarnation)
		}
	}
	return all
}

func (p jointPeers) Heir(key []byte) uint64 { return p.Cluster.Heir(key, 1) }

// inJoint runs f in a bubble with three nodes.
func inJoint(t *testing.T, f func(t *testing.T, j *joint, a, b, c *member)) {
	t.Helper()
	inJointOf(t, presence.AllowAll, f)
}

// inJointOf does so under a policy.
func inJointOf(t *testing.T, devices presence.MultiDevice, f func(t *testing.T, j *joint, a, b, c *member)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJoint(t, 1, devices)
		defer j.end()
		f(t, j, j.all["a"], j.all["b"], j.all["c"])
	})
}

func newJoint(t *testing.T, seed uint64, devices presence.MultiDevice, spied ...presence.UserID) *joint {
	n := clustertest.NewNetwork(seed)
	j := &joint{t: t, net: n, quorum: clustertest.NewQuorum(n), mem: storetest.NewMemory(), all: map[string]*member{}, devices: devices, users: spied}
	for _, name := range []string{"a", "b", "c"} {
		j.start(name)
	}
	wait(time.Second)
	return j
}

func (j *joint) start(name string) *member {
	j.t.Helper()
	m := &member{of: j, name: name, wire: j.net.Wire(name), store: &shared{Memory: j.mem}}
	m.store.late.Store(j.behind)
	number, seat := j.quorum.Next(), j.quorum.For(m.wire)
	m.rig = &rig{t: j.t, mem: j.mem, wheel: wheel.New(nil), ear: newEar(), lists: &lists{of: map[presence.SessionID][]presence.UserID{}, friends: map[presence.SessionID]bool{}}}
	cfg := Config{
		Policies: map[presence.AppID]Policy{app: {HeartbeatTimeout: time.Hour, MultiDevice: j.devices}}, Logger: slog.New(slog.DiscardHandler),
		Incarnation: number, Wheel: m.wheel, Log: m.store, Checkpoints: m.store,
	}
	m.wheel.Start()
	var table tableOf
	var err error
	m.c, err = cluster.New(cluster.Config{
		Name: name, Incarnation: number, Next: seat.Incarnation, Fingerprint: 1,
		Transport: m.wire, Liveness: seat, Table: &table, Listener: &table,
	})
	if err != nil {
		j.t.Fatal(err)
	}
	cfg.Cluster = &Cluster{Peers: jointPeers{m.c}, Reading: m.store, Notes: m.store}
	m.tr = New(cfg)
	table.Tracker = m.tr
	m.hub = hub.New(m.tr, nil)
	m.tr.Listen(m, m)
	if err := m.tr.Start(j.t.Context()); err != nil {
		j.t.Fatalf("Start: %v", err)
	}
	for method, f := range m.tr.Calls() {
		m.c.Handle(method, f)
	}
	if err := m.c.Start(j.t.Context()); err != nil {
		j.t.Fatalf("Start of the cluster: %v", err)
	}
	for range 750 { // as long as package app does
		if m.c.Loaded() {
			break
		}
		wait(20 * time.Millisecond)
	}
	m.tr.Ready()
	if j.all[name] = m; j.users != nil {
		m.spy = newSpy(m, j.users)
		if err := m.spy.begin(); err != nil {
			j.t.Fatal(err)
		}
	}
	return m
}

// Changed implements Listener, for the ear of the rig and for the hub.
func (m *member) Changed(p *presence.Presence) {
	m.ear.Changed(p)
	m.hub.Changed(p)
}

// Gone implements Listener.
func (m *member) Gone(id presence.SessionID) {
	m.ear.Gone(id)
	m.hub.Gone(id)
}

// Watches implements Watchlist.
func (m *member) Watches(id presence.SessionID) ([]presence.UserID, bool) {
	if users, friends := m.hub.Watches(id); len(users) > 0 || friends {
		return users, friends
	}
	return m.lists.Watches(id)
}

// tableOf is a tracker that is made after its cluster.
type tableOf struct{ *Tracker }

// cut cuts a node off from the others, the quorum and the log.
func (m *member) cut() {
	for name := range m.of.all {
		if name != m.name {
			m.of.net.CutBoth(m.name, name)
		}
	}
	m.of.quorum.Cut(m.name, true)
	m.store.cut.Store(true)
}

// heal undoes all cuts.
func (j *joint) heal() {
	j.net.Heal()
	j.quorum.Heal()
	for _, m := range j.all {
		m.store.cut.Store(false)
	}
}

// pause stops a node for a while as SIGSTOP does: its clock, its network and its
// store.
func (m *member) pause(d time.Duration, each func()) {
	until := time.Now().Add(d)
	m.freeze(d)
	for time.Now().Before(until) {
		wait(100 * time.Millisecond)
		each()
	}
}

// freeze is pause that does not wait for its end.
func (m *member) freeze(d time.Duration) {
	stopped := make(chan struct{})
	go func() {
		<-time.After(d)
		m.of.net.Resume(m.name)
		m.store.cut.Store(false)
		close(stopped)
	}()
	m.of.net.Pause(m.name)
	m.store.cut.Store(true)
	m.wheel.Set(&wheel.Timer{Fire: func() { <-stopped }}, 0)
}

// kill ends a node as kill -9 does.
func (m *member) kill() {
	delete(m.of.all, m.name)
	m.store.down.Store(true)
	m.wire.Close()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	m.tr.Drain(func() End { return End{Cause: CauseDraining} })
	_ = m.c.Stop(over)
	_ = m.tr.Stop(over)
	m.wheel.Stop()
}

func (j *joint) end() {
	j.heal()
	j.mem.Recover()
	for _, name := range []string{"a", "b", "c"} {
		if m := j.all[name]; m != nil {
			m.kill()
		}
	}
	<-time.After(20 * time.Second)
}

// person opens a session of a user at a node.
func (m *member) person(id presence.UserID) (Ref, *wire) {
	m.t.Helper()
	made, err := m.tr.Make(context.Background(), MakeParams{User: presence.User{App: app, ID: id}, Device: presence.Device{Platform: "ios"}})
	if err != nil {
		m.t.Fatalf("Make at %s: %v", m.name, err)
	}
	w, err := m.connect(made.Ref, nil)
	if err != nil {
		m.t.Fatalf("Connect at %s: %v", m.name, err)
	}
	synctest.Wait()
	return made.Ref, w
}

// connectFor connects a device that waits for so long.
func (m *member) connectFor(ref Ref, d time.Duration) (*wire, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	w := &wire{}
	_, err := m.tr.Connect(ctx, ref, ConnectParams{Link: w, Addr: "192.0.2.1:1"})
	return w, err
}

// shows is what a node shows of a user, and whether it says that it may be old.
func (m *member) shows(id presence.UserID) (open bool, stale bool) {
	p := m.tr.Presence(presence.User{App: app, ID: id})
	return slices.ContainsFunc(p.Sessions, func(v *presence.View) bool { return v.True.Open() }), p.Stale != 0
}

// agree wants all nodes to show the same, not stale, of all users within five
// seconds.
func (j *joint) agree(want map[presence.UserID]bool) {
	j.t.Helper()
	var bad []string
	for range 50 {
		bad = nil
		for _, m := range j.all {
			for id, online := range want {
				if open, stale := m.shows(id); open != online || stale {
					bad = append(bad, m.name+" of "+string(id)+": "+map[bool]string{true: "online", false: "offline"}[open]+map[bool]string{true: ", stale"}[stale])
				}
			}
		}
		if bad == nil {
			return
		}
		wait(100 * time.Millisecond)
	}
	slices.Sort(bad)
	j.t.Errorf("five seconds after the fault: %q", bad)
}
