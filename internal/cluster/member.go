package cluster

import (
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// peer is another node, as this one knows it. It is guarded by the cluster's mu.
type peer struct {
	name        string
	incarnation Incarnation
	version     string
	standing    Standing
	differs     bool

	origin    *origin       // nil: it was never heard, but the quorum knows it
	heard     time.Duration // when its last heartbeat came, or it became known; pauses do not count
	heardAt   time.Time     // the same by the wall clock; zero: never
	alive     presence.Time // when that was sent, by its own clock
	counter   uint64        // of it
	echo      uint64        // the highest counter of ours that it had heard then
	told      uint64        // the position in it
	reports   []report      // what it said of others
	silent    time.Time     // when it had been silent for LostAfter; zero: it is not
	witnessed time.Time     // it is lost: who called it so heard it no later
	doomed    time.Duration // since when a majority is silent, while this node takes part; 0: it is not
	leaving   time.Duration // not zero: it said goodbye, with position told
}

// counts reports whether the peer is one of those of whom a majority is needed. A
// lost one still is, while it may return.
func (p *peer) counts() bool { return p.standing <= Lost }

// leave notes that the peer said goodbye; what it said before is waited for.
func (p *peer) leave(now time.Duration) {
	if p.counts() && p.leaving == 0 {
		p.leaving = max(now, 1)
	}
}

// event is something the listener is to hear.
type event struct {
	origin *origin // whose lock is held meanwhile; nil: none
	tell   func(Listener)
}

// seat is a member in the eyes of Owner.
type seat struct {
	incarnation Incarnation
	hash        uint64 // of its name, so that a restart moves nothing
}

// emit queues an event. mu is held.
func (c *Cluster) emit(o *origin, tell func(Listener)) {
	c.events = append(c.events, event{o, tell})
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// deliver tells the listener, one event at a time.
func (c *Cluster) deliver() {
	for {
		c.mu.Lock()
		var e event
		some := len(c.events) > 0
		if some {
			e, c.events = c.events[0], c.events[1:]
		}
		c.mu.Unlock()
		switch {
		case some && e.origin != nil:
			e.origin.mu.Lock()
			e.tell(c.cfg.Listener)
			e.origin.mu.Unlock()
		case some:
			e.tell(c.cfg.Listener)
		default:
			select {
			case <-c.news:
			case <-c.ctx.Done():
				return
			}
		}
	}
}

// reseat makes Owner see the members anew. mu is held.
func (c *Cluster) reseat() {
	seats := []seat{{c.self, hashOf(c.cfg.Name)}}
	for _, p := range c.peers {
		if p.standing <= Suspect && p.origin != nil {
			seats = append(seats, seat{p.incarnation, hashOf(p.name)})
		}
	}
	c.seats.Store(&seats)
}

// originOf returns the log of a node that is known, or nil.
func (c *Cluster) originOf(incarnation Incarnation) *origin {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[incarnation]; p != nil {
		return p.origin
	}
	return nil
}

// everybody returns all peers in the order of their incarnations, so that what
// follows does not depend on chance. mu is held.
func (c *Cluster) everybody() []*peer {
	all := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *peer) int {
		if a.incarnation < b.incarnation {
			return -1
		}
		return 1
	})
	return all
}

// Members returns what this node knows of all nodes, itself included, by name.
// Those that are gone or left are in it for a minute.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.out.position()
	all := []Member{{
		Name: c.cfg.Name, Incarnation: c.self, Version: c.cfg.Version, Self: true,
		Heard: time.Now(), Alive: presence.At(time.Now()), Loaded: true, Position: sent,
	}}
	for _, p := range c.peers {
		m := Member{
			Name: p.name, Incarnation: p.incarnation, Version: p.version, Standing: p.standing,
			Heard: p.heardAt, Alive: p.alive, Witnessed: p.witnessed, Differs: p.differs,
		}
		if o := p.origin; o != nil {
			m.Loaded, m.Position = o.loaded.Load(), o.position.Load()
			m.Lag = max(p.told, m.Position) - m.Position
			if r := o.shown.Load(); r != nil {
				m.Repairs = *r
			}
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		if d := strings.Compare(a.Name, b.Name); d != 0 {
			return d
		}
		if a.Incarnation < b.Incarnation {
			return -1
		}
		return 1
	})
	return all
}

// Self is this node's incarnation. It changes only before Joined says so.
func (c *Cluster) Self() Incarnation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self
}

// Quorum reports whether this node's own liveness was acknowledged within
// LostAfter.
func (c *Cluster) Quorum() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leased(LostAfter)
}

// Joined reports whether this node takes part: only then may it claim anything.
func (c *Cluster) Joined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.place == here
}

// Here is Joined for who is about to act on what he heard: it is false, too, when this
// process stood still just now and has not noticed yet.
func (c *Cluster) Here() bool {
	return time.Since(c.clock.Load().at) <= standstill && c.Joined()
}

// Loaded reports whether the sessions of every member that is heard were copied
// once.
func (c *Cluster) Loaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if p.standing == Alive && (p.origin == nil || !p.origin.loaded.Load()) {
			return false
		}
	}
	return true
}
