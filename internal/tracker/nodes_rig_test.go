package tracker

import (
	"context"
	"fmt"
	"log/slog"
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
}

// node is one tracker with its world.
type node struct {
	*rig
	of     *nodes
	name   int
	number uint64 // incarnation
	store  *shared
	inbox  chan func()
	stood  atomic.Bool // still, and the tracker was not told yet
	cut    bool        // reaches nobody and nothing
	dead   bool
	left   bool // and said so
	born   time.Time
	died   time.Time
	lostBy map[uint64]bool // others that were told that it is lost
}

// shared is one node's way to the store that all have.
type shared struct {
	*storetest.Memory
	down atomic.Bool
	cut  atomic.Bool
	late atomic.Bool // the log is not read meanwhile
	slow atomic.Bool // nothing is written to it meanwhile
	// stuck: no shard is written meanwhile.
	stuck atomic.Bool
	dies  atomic.Bool // with the next notes that it takes
}

func (s *shared) away(ctx context.Context) error {
	for s.cut.Load() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: cut off", store.ErrUnknown)
		}
	}
	if s.down.Load() {
		return store.ErrClosed
	}
	return nil
}

func (s *shared) Append(ctx context.Context, id string, records []presence.Record) (store.Position, error) {
	if err := s.away(ctx); err != nil {
		return store.Position{}, err
	}
	for s.slow.Load() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return store.Position{}, fmt.Errorf("%w: slow", store.ErrUnknown)
		}
	}
	return s.Memory.Append(ctx, id, records)
}

func (s *shared) Follow(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) error {
	return s.Memory.Follow(ctx, from, func(n uint64, list []presence.Record) error {
		if err := s.away(ctx); err != nil {
			return err
		}
		for s.late.Load() && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		return f(n, list)
	})
}

func (s *shared) SaveNotes(ctx context.Context, incarnation uint64, group int, whole bool, b ...[]byte) error {
	if err := s.away(ctx); err != nil {
		return err
	}
	if s.dies.Load() {
		s.down.Store(true)
	}
	return s.Memory.SaveNotes(ctx, incarnation, group, whole, b...)
}

func (s *shared) LoadNotes(ctx context.Context, incarnation uint64, group int, f func(uint64, []byte) error) error {
	if err := s.away(ctx); err != nil {
		return err
	}
	return s.Memory.LoadNotes(ctx, incarnation, group, f)
}

func (s *shared) SaveShard(ctx context.Context, n int, through uint64, b []byte) error {
	for s.stuck.Load() && ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
	}
	if err := s.away(ctx); err != nil {
		return err
	}
	return s.Memory.SaveShard(ctx, n, through, b)
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
	c := &nodes{t: t, mem: storetest.NewMemory(), quit: make(chan struct{})}
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
	st := &shared{Memory: c.mem}
	n := &node{
		of: c, name: name, number: number, store: st, inbox: make(chan func(), 1<<16),
		lostBy: map[uint64]bool{}, born: time.Now(),
	}
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
		if n.number == number && !n.dead {
			return n
		}
	}
	return nil
}

// reach reports whether a message from a comes to b now.
func (c *nodes) reach(a, b *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return a != b && !a.dead && !b.dead && !a.cut && !b.cut
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
	b = slices.Clone(b)
	for _, o := range n.of.running() {
		n.of.post(n, o, func() { o.tr.Apply(n.number, shard, [][]byte{b}) })
	}
}

// Call implements Peers.
func (n *node) Call(ctx context.Context, to uint64, method string, b []byte) ([]byte, error) {
	o := n.of.node(to)
	if o == nil || !n.of.reach(n, o) || n.of.mutes(method) {
		return nil, fault.Retry(fault.NodeUnavailable, time.Second, "nobody answers")
	}
	answer, err := o.tr.Calls()[method](ctx, n.number, slices.Clone(b))
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
		if o.dead && !o.left && !o.lostBy[n.number] && o.died.After(n.born) {
			list = append(list, o.number)
		}
	}
	return list
}

func (n *node) reachable() (list []uint64) {
	for _, o := range n.of.running() {
		if n.of.reach(n, o) {
			list = append(list, o.number)
		}
	}
	return list
}

// ranked is who a key falls to, as this node sees it, and who is next.
func (n *node) ranked(key []byte) (first, second uint64) {
	var best [2]uint64
	for _, number := range append(n.reachable(), n.number) {
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
		a.tr.Digests(a.number, &theirs)
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
	n.tr.Digests(a.number, &mine)
	for shard := range mine {
		if mine[shard] == theirs[shard] || !n.of.reach(a, n) {
			continue
		}
		var list [][]byte
		a.tr.Dump(shard, func(b []byte) { list = append(list, slices.Clone(b)) })
		n.tr.Replace(a.number, shard, list)
	}
}

// silence tells the others that nobody hears n since now, and, when it is not
// back by then, that it is lost.
func (c *nodes) silence(n *node) {
	since := presence.At(time.Now())
	c.mu.Lock()
	late := c.late
	c.mu.Unlock()
	time.AfterFunc(1500*time.Millisecond, func() { c.verdict(n, since, false) })
	time.AfterFunc(3*time.Second+late, func() { c.verdict(n, since, true) })
}

func (c *nodes) verdict(n *node, since presence.Time, lost bool) {
	for _, o := range c.running() {
		c.mu.Lock()
		gone := (n.cut || n.dead) && !o.cut && o != n
		if gone {
			if lost {
				n.lostBy[o.number] = true
			}
		}
		c.mu.Unlock()
		switch {
		case gone && lost:
			o.inbox <- func() { o.tr.Lost(n.number, since, since.Add(3*time.Second)) }
		case gone:
			o.inbox <- func() { o.tr.Silent(n.number, since) }
		}
	}
}

// give tells o that n is lost.
func (c *nodes) give(o, n *node, alive presence.Time) {
	c.mu.Lock()
	n.lostBy[o.number] = true
	c.mu.Unlock()
	o.tr.Lost(n.number, alive, presence.At(time.Now()))
}

// isolate cuts a node off; it knows after a second and a half.
func (c *nodes) isolate(n *node) {
	c.mu.Lock()
	n.cut = true
	c.mu.Unlock()
	n.store.cut.Store(true)
	c.silence(n)
	time.AfterFunc(1500*time.Millisecond, func() {
		c.mu.Lock()
		still := n.cut && !n.dead
		c.mu.Unlock()
		if still {
			n.tr.Isolated()
			for _, o := range c.running() {
				if o != n {
					n.tr.Silent(o.number, presence.At(time.Now()))
				}
			}
		}
	})
}

// heal lets a node back: as the same incarnation when it was not lost for longer
// than the grace, else as another.
func (c *nodes) heal(n *node, anew bool) {
	n.store.cut.Store(false)
	number := n.number
	if anew {
		var err error
		if number, err = c.mem.Next(context.Background(), "incarnation"); err != nil {
			c.t.Fatal(err)
		}
	}
	c.mu.Lock()
	n.cut, n.number = false, number
	clear(n.lostBy)
	c.mu.Unlock()
	for _, o := range c.running() {
		if o != n {
			if !anew {
				o.inbox <- func() { o.tr.Returned(number); o.tr.Caught(number) }
			}
			n.inbox <- func() { n.tr.Returned(o.number); n.tr.Caught(o.number) }
		}
	}
	n.tr.Joined(number)
}

// kill ends a node as kill -9 does.
func (c *nodes) kill(n *node) {
	c.end(n)
	c.silence(n)
}

// end is kill of a node of which nobody says yet that it is silent.
func (c *nodes) end(n *node) {
	c.mu.Lock()
	n.dead, n.died = true, time.Now()
	c.mu.Unlock()
	n.store.down.Store(true)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	n.tr.Drain(func() End { return End{Cause: CauseDraining} })
	_ = n.tr.Stop(over)
	n.wheel.Stop()
}

// leave ends a node as SIGTERM does.
func (c *nodes) leave(n *node) {
	n.tr.Drain(func() End { return End{Cause: CauseDraining} })
	if err := n.tr.Stop(context.Background()); err != nil {
		c.t.Errorf("Stop of node %d: %v", n.name, err)
	}
	at := presence.At(time.Now())
	// A goodbye comes after all that was said before it (cluster.Listener).
	c.mu.Lock()
	c.lose = nil
	c.mu.Unlock()
	var theirs [Shards]uint64
	n.tr.Digests(n.number, &theirs)
	for _, o := range c.running() {
		if c.reach(n, o) {
			o.mend(n, &theirs)
		}
	}
	c.mu.Lock()
	n.dead, n.left = true, true
	c.mu.Unlock()
	n.wheel.Stop()
	for _, o := range c.running() {
		o.inbox <- func() { o.tr.Left(n.number, at) }
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
