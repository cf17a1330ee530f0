package tracker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// nodes are several trackers over one log, in a bubble. What lies between them
// can be cut and lose messages; who is lost, and when, is what the cluster would say.
type nodes struct {
	t   testing.TB
	mem *storetest.Memory
	cfg Config

	mu   sync.Mutex // guards all below, and cut and joined of the nodes
	all  []*node    // those that run, and those that ended
	lose func() bool
	late time.Duration // verdicts wait so long for the quorum
	// mute: a node does not answer calls of that method; nil: all do.
	mute func(method string) bool
	quit chan struct{}
	// loaded is called by a node that starts, when it has read the checkpoint.
	loaded func()
	// touched are the shards of all of whom anybody ever told.
	touched map[int]bool
}

// node is one tracker with its world.
type node struct {
	*rig
	of          *nodes
	name        int
	incarnation atomic.Uint64
	store       *shared
	inbox       chan func()
	stood       atomic.Bool // still, and the tracker was not told yet
	cut         bool        // reaches nobody and nothing
	dead        bool
	left        bool // and said so
	born        time.Time
	died        time.Time
	lostBy      map[uint64]bool // others that were told that it is lost
}

// inNodes runs f in a bubble with n nodes that know one another.
func inNodes(t *testing.T, n int, change func(*Config), f func(t *testing.T, c *nodes)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newNodes(t, n, change)
		defer c.stop()
		f(t, c)
	})
}

func newNodes(t testing.TB, n int, change func(*Config)) *nodes {
	c := &nodes{t: t, mem: storetest.NewMemory(), quit: make(chan struct{}), touched: map[int]bool{}}
	c.cfg = Config{Policies: map[presence.AppID]Policy{app: {}}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c.cfg)
	}
	for i := range n {
		c.start(i)
	}
	go c.compare()
	wait(time.Second)
	return c
}

// start starts a node of that name, which gets a number of its own.
func (c *nodes) start(name int) *node {
	c.t.Helper()
	number, err := c.mem.Next(context.Background(), "incarnation")
	if err != nil {
		c.t.Fatal(err)
	}
	st := &shared{Memory: c.mem, loaded: c.loaded, read: func(r *presence.Record) { c.touch(store.Shard(r.User)) }}
	n := &node{
		of: c, name: name, store: st, inbox: make(chan func(), 1<<16),
		lostBy: map[uint64]bool{}, born: time.Now(),
	}
	n.incarnation.Store(number)
	n.rig = &rig{t: c.t, mem: c.mem, cfg: c.cfg, wheel: wheel.New(nil), ear: newEar(), lists: &lists{of: map[presence.SessionID][]presence.UserID{}, friends: map[presence.SessionID]bool{}}}
	cfg := c.cfg
	cfg.Incarnation, cfg.Wheel, cfg.Log, cfg.Checkpoints = number, n.wheel, st, st
	cfg.Cluster = &Cluster{Peers: n, Reading: st, Notes: st}
	n.wheel.Start()
	n.tr = New(cfg)
	n.tr.Listen(n.ear, n.lists)
	if err := n.tr.Start(context.Background()); err != nil {
		c.t.Fatalf("Start: %v", err)
	}
	c.mu.Lock()
	c.all = append(c.all, n)
	c.mu.Unlock()
	go func() {
		for f := range n.inbox {
			<-time.After(time.Millisecond)
			f()
		}
	}()
	n.tr.Joined(number)
	c.repair()
	n.tr.Ready()
	return n
}

// number is the node's incarnation: it has another one when it comes back after it was lost.
func (n *node) number() uint64 { return n.incarnation.Load() }

// running lists the nodes that are not dead.
func (c *nodes) running() (list []*node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.all {
		if !n.dead {
			list = append(list, n)
		}
	}
	return list
}

func (c *nodes) node(number uint64) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.all {
		if n.number() == number && !n.dead {
			return n
		}
	}
	return nil
}

// reach reports whether a message from a comes to b now.
func (c *nodes) reach(a, b *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return reach(a, b)
}

// reach is nodes.reach; the lock is held.
func reach(a, b *node) bool { return a != b && !a.dead && !b.dead && !a.cut && !b.cut }

// touch notes that somebody of the shard is spoken of.
func (c *nodes) touch(shard int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched[shard] = true
}

// digests is Tracker.Digests, which looks at all shards: twenty of a thousand have
// anybody here, and to lock all of them each second is most of what a test takes under
// the race detector.
func (n *node) digests(origin uint64, d *[Shards]uint64) {
	n.of.mu.Lock()
	touched := slices.Collect(maps.Keys(n.of.touched))
	n.of.mu.Unlock()
	for _, i := range touched {
		sh := &n.tr.shards[i]
		sh.mu.Lock()
		d[i] = sh.peers.digests[origin]
		sh.mu.Unlock()
	}
}

// post makes b do f in its turn, unless the message is lost.
func (c *nodes) post(a, b *node, f func()) {
	if c.reach(a, b) && !c.loses() {
		b.inbox <- f
	}
}

// loses reports whether the next message is lost.
func (c *nodes) loses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lose != nil && c.lose()
}

// Change implements Peers.
func (n *node) Change(shard int, b []byte) {
	n.of.touch(shard)
	b = slices.Clone(b)
	for _, o := range n.of.running() {
		n.of.post(n, o, func() { o.tr.Apply(n.number(), shard, [][]byte{b}) })
	}
}

// Call implements Peers.
func (n *node) Call(ctx context.Context, to uint64, method string, b []byte) ([]byte, error) {
	o := n.of.node(to)
	if o == nil || !n.of.reach(n, o) || n.of.mutes(method) {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "nobody answers")
	}
	answer, err := o.tr.Calls()[method](ctx, n.number(), slices.Clone(b))
	if !n.of.reach(o, n) {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "the answer is lost")
	}
	return answer, err
}

// Nodes implements Peers: who has died is one of them until this node is told.
func (n *node) Nodes() (list []uint64) {
	list = n.reachable()
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	for _, o := range n.of.all {
		if o.dead && !o.left && !o.lostBy[n.number()] && o.died.After(n.born) {
			list = append(list, o.number())
		}
	}
	return list
}

// Reach implements Peers.
func (n *node) Reach(ctx context.Context) {
	for _, o := range n.of.running() {
		if !n.of.reach(n, o) {
			continue
		}
		there := make(chan struct{})
		n.of.post(n, o, func() { close(there) })
		select {
		case <-there:
		case <-ctx.Done():
		}
	}
}

func (n *node) reachable() (list []uint64) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	for _, o := range n.of.all {
		if reach(n, o) {
			list = append(list, o.number())
		}
	}
	return list
}

// ranked is who a key falls to, as this node sees it, and who is next.
func (n *node) ranked(key []byte) (first, second uint64) {
	var best [2]uint64
	for _, number := range append(n.reachable(), n.number()) {
		h := number * 0x9e3779b97f4a7c15
		for _, c := range key {
			h = (h ^ uint64(c)) * 1099511628211
			h ^= h >> 31
		}
		switch h |= 1; {
		case h > best[0]:
			best[1], second = best[0], first
			best[0], first = h, number
		case h > best[1]:
			best[1], second = h, number
		}
	}
	return first, second
}

// Here implements Peers: whoever stands still is told so.
func (n *node) Here() bool { return !n.stood.Load() }

// Owner implements Peers.
func (n *node) Owner(key []byte) uint64 {
	first, _ := n.ranked(key)
	return first
}

// Heir implements Peers.
func (n *node) Heir(key []byte) uint64 {
	_, second := n.ranked(key)
	return second
}

func (c *nodes) mutes(method string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mute != nil && c.mute(method)
}

// compare is the heartbeats: who is silent, lost, returned, and whose shards differ.
func (c *nodes) compare() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-tick.C:
			c.repair()
		}
	}
}

func (c *nodes) repair() {
	for _, a := range c.running() {
		var theirs [Shards]uint64
		a.digests(a.number(), &theirs)
		for _, b := range c.running() {
			if c.reach(a, b) {
				b.inbox <- func() { b.mend(a, &theirs) }
			}
		}
	}
}

// mend replaces what differs of a's shards.
func (n *node) mend(a *node, theirs *[Shards]uint64) {
	var mine [Shards]uint64
	n.digests(a.number(), &mine)
	for shard := range mine {
		if mine[shard] == theirs[shard] || !n.of.reach(a, n) {
			continue
		}
		var list [][]byte
		a.tr.Dump(shard, func(b []byte) { list = append(list, slices.Clone(b)) })
		n.tr.Replace(a.number(), shard, list)
	}
}

func (c *nodes) stop() {
	close(c.quit)
	for _, n := range c.running() {
		n.store.cut.Store(false)
		c.leave(n)
	}
	synctest.Wait()
	for _, n := range c.all {
		close(n.inbox)
	}
	<-time.After(10 * time.Second)
}

// looks is what a node shows of a user to others.
func (n *node) looks(u presence.User) string {
	p := n.tr.Presence(u)
	shown, truth := sees(p, false), sees(p, true)
	slices.Sort(shown)
	slices.Sort(truth)
	return fmt.Sprint(shown, truth)
}
