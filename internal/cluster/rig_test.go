package cluster_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network with nodes, by name.
type world struct {
	t      testing.TB
	net    *clustertest.Network
	quorum *clustertest.Quorum
	nodes  map[string]*node
}

// node is one run of a node.
type node struct {
	name  string
	first cluster.Incarnation
	wire  *clustertest.Wire
	c     *cluster.Cluster
	table *sessions
	tells uint64
}

func newWorld(t testing.TB, seed uint64) *world {
	n := clustertest.NewNetwork(seed)
	return &world{t, n, clustertest.NewQuorum(n), map[string]*node{}}
}

// make makes a node that is not started.
func (w *world) make(name string, change func(*cluster.Config)) *node {
	w.t.Helper()
	n := &node{name: name, wire: w.net.Wire(name), table: newSessions(), first: w.quorum.Next()}
	seat := w.quorum.For(n.wire)
	cfg := cluster.Config{
		Name: name, Incarnation: n.first, Next: seat.Incarnation, Version: "test", Fingerprint: 7,
		Transport: n.wire, Liveness: seat, Table: n.table, Listener: n.table, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	c, err := cluster.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.c, n.table.onChange = c, c.Change
	c.Listen("topic", n.table)
	c.Handle("echo", func(_ context.Context, _ cluster.Incarnation, b []byte) ([]byte, error) { return b, nil })
	w.nodes[name] = n
	return n
}

// start starts nodes one after another.
func (w *world) start(names ...string) {
	w.t.Helper()
	for _, name := range names {
		n := w.make(name, nil)
		if err := n.c.Start(context.Background()); err != nil {
			w.t.Fatalf("start of %s: %v", name, err)
		}
	}
}

// kill ends a node as kill -9 does.
func (w *world) kill(name string) {
	n := w.nodes[name]
	delete(w.nodes, name)
	w.net.Resume(name)
	n.wire.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.c.Stop(ctx)
}

// stop ends a node with a goodbye.
func (w *world) stop(name string) {
	n := w.nodes[name]
	delete(w.nodes, name)
	_ = n.c.Stop(context.Background())
	n.wire.Close()
}

// end ends the world.
func (w *world) end() {
	w.net.Heal()
	w.quorum.Heal()
	for _, name := range w.names() {
		w.net.Resume(name)
	}
	for _, name := range w.names() {
		w.kill(name)
	}
}

func (w *world) names() []string {
	var names []string
	for name := range w.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// tell tells the topic the next number.
func (n *node) tell() {
	n.tells++
	_ = n.c.Tell("topic", binary.LittleEndian.AppendUint64(nil, n.tells))
}

// standing is what n thinks of the newest incarnation of another node.
func (n *node) standing(name string) string {
	standing := "unknown"
	for _, m := range n.c.Members() {
		if m.Name == name {
			standing = m.Standing.String()
		}
	}
	return standing
}

// check says what must not be, of all nodes.
func (w *world) check() {
	w.t.Helper()
	for _, name := range w.names() {
		n := w.nodes[name]
		n.table.mu.Lock()
		for _, x := range n.table.trouble {
			w.t.Errorf("%s: %s", name, x)
		}
		n.table.trouble = nil
		n.table.mu.Unlock()
	}
}

// differ says who does not know all of whom: empty when all agree.
func (w *world) differ() string {
	var diff []string
	for _, a := range w.names() {
		self := w.nodes[a].c.Self()
		want, count := w.nodes[a].table.digests(0)
		for _, b := range w.names() {
			if a == b {
				continue
			}
			got, has := w.nodes[b].table.digests(self)
			if s := w.nodes[b].standing(a); s != "alive" {
				diff = append(diff, b+" says "+a+" is "+s)
			} else if got != want {
				diff = append(diff, b+" has "+itoa(has)+" of "+itoa(count)+" sessions of "+a)
			}
		}
		if !w.nodes[a].c.Joined() {
			diff = append(diff, a+" takes no part")
		}
	}
	return strings.Join(diff, "; ")
}

func itoa(n int) string { return slog.IntValue(n).String() }

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// inWorld plays f in a bubble with a world of its own, in which these nodes are
// calm. f may start more.
func inWorld(t *testing.T, calm string, f func(t *testing.T, w *world)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		if names := strings.Fields(calm); len(names) > 0 {
			w.calm(names...)
		}
		f(t, w)
	})
}

func wait(d time.Duration) { <-time.After(d); synctest.Wait() }

// until waits until something is so, to the hundredth of a second.
func (w *world) until(what string, limit time.Time, so func() bool) {
	w.t.Helper()
	for !so() {
		if wait(10 * time.Millisecond); time.Now().After(limit) {
			w.t.Fatalf("it does not come about that %s", what)
		}
	}
}

// is compares what a node's listener heard.
func (n *node) is(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := n.table.seen(); !slices.Equal(got, want) {
		t.Errorf("%s: %s heard %v, want %v", what, n.name, got, want)
	}
}

// calm starts nodes, lets them load, and forgets what they heard.
func (w *world) calm(names ...string) {
	w.t.Helper()
	w.start(names...)
	for i, name := range names {
		for k := range 50 {
			w.nodes[name].table.change(uint64(i*1000+k), false)
		}
	}
	wait(time.Second)
	for _, n := range w.nodes {
		n.table.seen()
	}
}

// alone cuts a node off from all the others.
func (w *world) alone(name string) {
	for _, o := range w.names() {
		if o != name {
			w.net.CutBoth(name, o)
		}
	}
}

// agree wants all to agree within five seconds.
func (w *world) agree(t *testing.T) {
	t.Helper()
	began := time.Now()
	for w.differ() != "" {
		if wait(50 * time.Millisecond); time.Since(began) > 5*time.Second {
			t.Error(w.differ())
			break
		}
	}
	w.check()
}
