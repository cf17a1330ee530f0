package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/door/isonline"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/lease"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// several is what a node has as one of several; all nil on a single node.
type several struct {
	cluster *cluster.Cluster
	leases  *lease.Leases
	hearing sync.WaitGroup // who follows what other nodes stored
	end     context.CancelFunc
}

// Nodes are what makes a node one of several.
type Nodes struct {
	// Name of this node, the same at each start and another for each.
	Name string
	// Cluster or Peers say where the engine is; Prefix begins its subjects.
	Cluster *natsbus.Cluster
	Peers   *natsbus.Peers
	Prefix  string
	// Fingerprint is of all configuration that must be the same at all nodes.
	Fingerprint uint64
}

// The counters that all nodes of a store share.
const (
	incarnations = "incarnation"
	terms        = "term"
)

// methodIsOnline is the call between nodes that has a call of a device in it.
const methodIsOnline = "isonline"

// engine is where the engine of this node is.
func (a *App) engine() natsbus.Config {
	c := natsbus.Config{Dir: a.p.Config.Data, Logger: a.log}
	if n := a.p.Nodes; n != nil {
		c.Cluster, c.Peers, c.Prefix = n.Cluster, n.Peers, n.Prefix
	}
	return c
}

// makeNodes makes this node's part in the cluster, if there is one.
func (a *App) makeNodes(ctx context.Context, incarnation uint64) (err error) {
	if a.p.Nodes == nil {
		return nil
	}
	next := func(ctx context.Context) (uint64, error) { return a.store.Next(ctx, incarnations) }
	a.nodes.cluster, err = cluster.New(cluster.Config{
		Name: a.p.Nodes.Name, Incarnation: incarnation, Next: next, Version: a.p.Version, Fingerprint: a.p.Nodes.Fingerprint,
		Transport: a.bus.Messages(), Liveness: a.store, Table: replicas{a}, Listener: replicas{a}, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.nodes.leases = lease.New(context.WithoutCancel(ctx), lease.Config{
		Cluster: seats{a.nodes.cluster}, Logger: a.log,
		Term: func(ctx context.Context) (uint64, error) {
			return above(ctx, incarnation, func(ctx context.Context) (uint64, error) { return a.store.Next(ctx, terms) })
		},
	})
	return nil
}

// above returns the first number of a counter that is not below the least. A term
// must be above all that the data have: a single node's terms are its incarnations,
// and when its data moved to this cluster that counter came along and goes on here.
func above(ctx context.Context, least uint64, next func(context.Context) (uint64, error)) (n uint64, err error) {
	for n, err = next(ctx); err == nil && n < least; n, err = next(ctx) {
	}
	return n, err
}

// peers is what the tracker needs of the cluster; nil on a single node.
func (a *App) peers() *tracker.Cluster {
	if a.nodes.cluster == nil {
		return nil
	}
	return &tracker.Cluster{Peers: peers{a.nodes.cluster}, Reading: a.store, Notes: a.store}
}

// startNodes lets this node take part: the tracker is started. It returns when
// the sessions of the others are here.
func (a *App) startNodes(ctx context.Context) error {
	c := a.nodes.cluster
	if c == nil {
		return nil
	}
	for method, f := range a.tracker.Calls() {
		c.Handle(method, cluster.Call(f))
	}
	c.Listen(topicOfTopics, toldTopics{a})
	c.Listen(topicOfLists, toldLists{a})
	granted := newToldGrants(a)
	c.Listen(topicOfGrants, granted)
	c.Listen(topicOfMail, toldMail{a})
	c.Handle(methodStanding, a.serveStanding)
	c.Handle(methodWebhooks, a.serveHooks)
	c.Handle(methodIsOnline, func(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
		if !a.ready.Load() {
			return nil, fault.Retry(fault.NodeUnavailable, time.Second, "the node that has the session is starting or stopping")
		}
		return a.door.Forwarded(ctx, b)
	})
	if err := c.Start(ctx); err != nil {
		return err
	}
	hearing, end := context.WithCancel(context.WithoutCancel(ctx))
	a.nodes.end = end
	a.nodes.hearing.Go(func() { granted.run(hearing) })
	for _, kind := range []store.RosterKind{store.RosterList, store.RosterBlocks, store.RosterRevoked} {
		a.nodes.hearing.Go(func() { a.hearStored(hearing, kind) })
	}
	a.nodes.hearing.Go(func() {
		select {
		case <-c.Failed():
			a.failed <- c.Err()
		case err := <-a.tracker.Failed():
			a.failed <- err
		case <-hearing.Done():
		}
	})
	return a.loaded(ctx)
}

// loadWait is how long a node waits for the sessions of the others before it
// serves without them; loadLook is how often it looks.
const (
	loadWait = 15 * time.Second
	loadLook = 20 * time.Millisecond
)

func (a *App) loaded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	look := time.NewTicker(loadLook)
	defer look.Stop()
	for !a.nodes.cluster.Loaded() {
		select {
		case <-look.C:
		case <-ctx.Done():
			a.log.Warn("not all sessions of the other nodes are known yet", "waited", loadWait.String())
			return nil
		}
	}
	return nil
}

func (a *App) stopNodes(ctx context.Context) error {
	if a.nodes.cluster == nil {
		return nil
	}
	a.nodes.leases.Stop()
	// Before the goodbye: then devices come back elsewhere with what they watched.
	if err := a.tracker.SaveNotes(ctx); err != nil {
		a.log.Warn("not all that sessions watched is saved: those that come back at another node are told to say it again", "error", err)
	}
	err := a.lastOnes("the others may not know that this node stopped", a.nodes.cluster.Stop(ctx))
	if a.nodes.end != nil {
		a.nodes.end()
	}
	a.nodes.hearing.Wait()
	return err
}

// mine reports whether this node does what one of all does.
func (a *App) mine(duty string) bool {
	if a.nodes.leases == nil {
		return true
	}
	term, until := a.nodes.leases.Held(duty)
	return term != 0 && time.Now().Before(until)
}

// seats is the cluster as leases know it.
type seats struct{ *cluster.Cluster }

// Renewed implements lease.Cluster. The quorum may go on acknowledging a node that
// others do not hear, and may call lost.
func (s seats) Renewed() (time.Time, bool) {
	at := s.Cluster.Renewed()
	if heard := s.Witnessed(); heard.Before(at) {
		at = heard
	}
	return at, s.Joined()
}

// Heard implements lease.Cluster.
func (s seats) Heard(incarnation uint64) (at time.Time, left bool) {
	for _, m := range s.Members() {
		if m.Incarnation == incarnation {
			if at = m.Heard; m.Witnessed.After(at) {
				at = m.Witnessed
			}
			return at, m.Standing == cluster.Left
		}
	}
	return time.Time{}, false
}

// peers is the cluster as the tracker knows it.
type peers struct{ *cluster.Cluster }

// Nodes implements tracker.Peers.
func (p peers) Nodes() (all []uint64) {
	for _, m := range p.Members() {
		if !m.Self && m.Standing <= cluster.Suspect {
			all = append(all, m.Incarnation)
		}
	}
	return all
}

// Heir implements tracker.Peers.
func (p peers) Heir(key []byte) uint64 { return p.Cluster.Heir(key, 1) }

// replicas is the tracker as the cluster knows it: it is made after it.
type replicas struct{ a *App }

// Apply implements cluster.Table.
func (r replicas) Apply(origin uint64, shard int, changes [][]byte) {
	r.a.tracker.Apply(origin, shard, changes)
}

// Dump implements cluster.Table.
func (r replicas) Dump(shard int, f func([]byte)) { r.a.tracker.Dump(shard, f) }

// Digests implements cluster.Table.
func (r replicas) Digests(origin uint64, d *cluster.Digests) { r.a.tracker.Digests(origin, d) }

// Replace implements cluster.Table.
func (r replicas) Replace(origin uint64, shard int, changes [][]byte) {
	r.a.tracker.Replace(origin, shard, changes)
}

// Silent implements cluster.Listener, as all below do.
func (r replicas) Silent(origin uint64, since presence.Time) { r.a.tracker.Silent(origin, since) }
func (r replicas) Returned(origin uint64)                    { r.a.tracker.Returned(origin) }
func (r replicas) Caught(origin uint64)                      { r.a.tracker.Caught(origin); r.a.hub.Heard() }
func (r replicas) Lost(origin uint64, alive, since presence.Time) {
	r.a.tracker.Lost(origin, alive, since)
	r.a.hub.Heard()
}
func (r replicas) Left(origin uint64, alive presence.Time) {
	r.a.tracker.Left(origin, alive)
	r.a.hub.Heard()
}
func (r replicas) Isolated()          { r.a.tracker.Isolated() }
func (r replicas) Frozen()            { r.a.tracker.Frozen() }
func (r replicas) Joined(self uint64) { r.a.tracker.Joined(self) }

// forwarding is the cluster as the door for IsOnline knows it.
func (a *App) forwarding() isonline.Nodes {
	if a.nodes.cluster == nil {
		return nil
	}
	return forwarding{a}
}

type forwarding struct{ a *App }

// Elsewhere implements isonline.Nodes.
func (f forwarding) Elsewhere(ref tracker.Ref, maker uint64) (node uint64, ok bool) {
	self := f.a.tracker.Incarnation()
	if node, ok = f.a.tracker.OwnerOf(ref); !ok {
		node = maker
	}
	return node, isElsewhere(node, self, peers{f.a.nodes.cluster}.Nodes())
}

// isElsewhere reports whether a call on a session of a node is for that node. Of
// one that is gone the tracker here knows what becomes of its sessions.
func isElsewhere(node, self uint64, heard []uint64) bool {
	return node != 0 && node != self && slices.Contains(heard, node)
}

// Forward implements isonline.Nodes.
func (f forwarding) Forward(ctx context.Context, node uint64, b []byte) ([]byte, error) {
	return f.a.nodes.cluster.Call(ctx, node, methodIsOnline, b)
}

// othersServe reports whether devices of this node may come back at others.
func (a *App) othersServe() bool {
	c := a.nodes.cluster
	if c == nil || !c.Joined() {
		return false
	}
	return slices.ContainsFunc(c.Members(), func(m cluster.Member) bool { return !m.Self && m.Standing == cluster.Alive })
}

// lastOnes makes of an error of a stop a word in the log, if the store did not
// answer this node of several: when all stop at once, the last have no majority.
func (a *App) lastOnes(said string, err error) error {
	if err == nil || a.nodes.cluster == nil || !errors.Is(err, store.ErrUnknown) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	a.log.Warn(said+": no majority of the nodes is left, or it does not answer", "error", err)
	return nil
}
