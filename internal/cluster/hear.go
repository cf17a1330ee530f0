package cluster

import (
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// beatSubject is where all heartbeats go.
const beatSubject = "hb"

// beats remembers when our last heartbeats were sent, to know how old an answer
// can be at most: by the clock that stands still with this node, and by one that
// does not.
type beats struct {
	counter uint64
	at      [32]time.Duration // of counter, by counter modulo the length
	wall    [32]time.Time     // the same
}

// next counts one more. The cluster's mu is held, as for sent.
func (b *beats) next(now time.Duration) uint64 {
	b.counter++
	i := b.counter % uint64(len(b.at))
	b.at[i], b.wall[i] = now, time.Now()
	return b.counter
}

// sent returns when a heartbeat was sent, if that is remembered.
func (b *beats) sent(counter uint64) (time.Duration, bool) {
	if counter == 0 || counter > b.counter || b.counter-counter >= uint64(len(b.at)) {
		return 0, false
	}
	return b.at[counter%uint64(len(b.at))], true
}

// age is how long ago a heartbeat was sent, if that is remembered. Pauses count.
func (b *beats) age(counter uint64) (time.Duration, bool) {
	if _, ok := b.sent(counter); !ok {
		return 0, false
	}
	return time.Since(b.real(counter)), true
}

// real is when a heartbeat was sent, by the clock that goes on; the zero time: that is
// not remembered.
func (b *beats) real(counter uint64) time.Time {
	if _, ok := b.sent(counter); !ok {
		return time.Time{}
	}
	return b.wall[counter%uint64(len(b.wall))]
}

// beat sends a heartbeat.
func (c *Cluster) beat(leaving bool) {
	position := c.out.position()
	c.mu.Lock()
	now := c.now()
	h := heartbeat{
		hello:   hello{Protocol, c.self, c.fingerprint, c.cfg.Name},
		version: c.cfg.Version, counter: c.beats.next(now), position: position,
		at: presence.At(time.Now()), leaving: leaving,
	}
	for _, p := range c.everybody() {
		h.others = append(h.others, report{p.incarnation, p.standing, p.counter, now - p.heard})
	}
	c.mu.Unlock()
	b := appendHeartbeat(nil, &h)
	c.counts.beats.Add(1)
	c.counts.beatBytes.Add(uint64(len(b)))
	if err := c.cfg.Transport.Publish(beatSubject, b); err != nil {
		c.counts.unsent.Add(1)
	}
}

// hear takes a heartbeat from the transport.
func (c *Cluster) hear(_ string, b []byte, _ func([]byte)) {
	hi, r, err := parseHello(b)
	if err != nil {
		c.counts.unread.Add(1)
		return
	}
	c.mu.Lock()
	admitted, answer := c.admit(&hi)
	c.settleAfter()
	if !admitted {
		return
	}
	h := heartbeat{hello: hi}
	if h.parse(r) != nil {
		c.counts.unread.Add(1)
		return
	}
	if meet := c.heard(&h); meet != nil {
		meet.listenSoon(h.position, Fresh)
		answer = true
	}
	if answer {
		c.beat(false) // so that who is new need not wait for the next one
	}
}

// settleAfter gives mu back and does what had to wait for that.
func (c *Cluster) settleAfter() {
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, f := range after {
		// They wait for the table and the listener; heartbeats must not.
		if !c.goes(f) {
			f()
		}
	}
}

// admit decides whether the words of a node count, and whether it should hear at
// once that they do not. mu is held.
func (c *Cluster) admit(h *hello) (admitted, answer bool) {
	p := c.peers[h.incarnation]
	switch {
	case h.incarnation == c.self && h.name == c.cfg.Name:
		return true, false
	case h.name == c.cfg.Name:
		if h.incarnation > c.self {
			c.fail(fmt.Errorf("cluster: another node has started under the name %q (incarnation %d, this one is %d): give each node a name of its own", h.name, h.incarnation, c.self))
		}
		return false, false
	case p == nil || p.origin == nil || h.protocol != Protocol:
		if why := c.strange(h); why != nil {
			return false, c.refuse(h, why)
		}
	}
	if p == nil && c.passed(h.name, h.incarnation) {
		// It was given up long ago, or this comes late of one that ended. It is listed
		// again, so that it can read that.
		c.peers[h.incarnation] = &peer{name: h.name, incarnation: h.incarnation, standing: Gone, heard: c.now()}
	}
	return true, false
}

// maxPast is of how many names it is remembered which incarnation left or is gone: fresh
// names, as of nodes that come and go by themselves, would fill the memory by and by.
const maxPast = 4096

// pass remembers that an incarnation left or is gone. Of more names than maxPast the
// lowest incarnation is forgotten: it began before all others that are remembered, and
// they have ended since. Were it to speak once more, it would be met as a new member,
// whose sessions, which others have closed, the log has closed. mu is held.
func (c *Cluster) pass(p *peer) {
	c.past[p.name] = max(c.past[p.name], p.incarnation)
	if len(c.past) <= maxPast {
		return
	}
	first := p.name
	for name, incarnation := range c.past {
		if incarnation < c.past[first] {
			first = name
		}
	}
	delete(c.past, first)
}

// passed reports whether an incarnation that is not listed left, is gone, or has a later
// one of its name, whose process proves that its own has ended. mu is held.
func (c *Cluster) passed(name string, incarnation Incarnation) bool {
	if incarnation <= c.past[name] {
		return true
	}
	for _, q := range c.peers {
		if q.name == name && q.incarnation > incarnation {
			return true
		}
	}
	return false
}

// strange says why a node cannot be a member together with this one.
func (c *Cluster) strange(h *hello) error {
	switch {
	case h.protocol != Protocol:
		return fmt.Errorf("cluster: node %q (incarnation %d) speaks protocol %d and this one %d: stop all nodes of one of them", h.name, h.incarnation, h.protocol, Protocol)
	case h.fingerprint != c.fingerprint:
		return fmt.Errorf("cluster: node %q (incarnation %d) has another configuration: its apps, policies and keys must be the same on every node, or it belongs to another cluster under the same prefix %q", h.name, h.incarnation, c.cfg.Prefix)
	}
	return nil
}

// refuse notes a node that cannot be a member. Who came later has to go: the one
// with the higher incarnation. It reports whether the other one is new, so that
// it should hear of this one. mu is held.
func (c *Cluster) refuse(h *hello, why error) (answer bool) {
	c.counts.refused.Add(1)
	if h.incarnation < c.self {
		c.fail(why)
	}
	if c.refusals[h.incarnation] || len(c.refusals) >= 1000 {
		return false
	}
	c.refusals[h.incarnation] = true
	c.log.Error("a node is refused", "error", why)
	return true
}

// fail ends this node's part for good. mu is held.
func (c *Cluster) fail(why error) {
	if c.err != nil {
		return
	}
	c.err = why
	c.log.Error("this node takes no part any more", "error", why)
	close(c.failed)
}

// heard notes a heartbeat. It returns the log of a node that is met for the first
// time, to be listened to.
func (c *Cluster) heard(h *heartbeat) (meet *origin) {
	c.mu.Lock()
	defer c.settleAfter()
	if h.incarnation == c.self {
		c.echoed = max(c.echoed, h.counter)
		return nil
	}
	p := c.peers[h.incarnation]
	if p == nil {
		if h.leaving {
			return nil
		}
		p = c.meet(h.name, h.incarnation)
	}
	if h.counter <= p.counter {
		return nil // doubled, or overtaken by a later one
	}
	now := c.now()
	p.version, p.differs = h.version, h.fingerprint != c.fingerprint
	p.counter, p.told, p.alive, p.reports = h.counter, h.position, max(p.alive, h.at), h.others
	p.heard, p.heardAt, p.silent, p.doomed = now, time.Now(), time.Time{}, 0
	if r, ok := of(h.others, c.self); ok {
		p.echo = r.heard
		if r.standing == Gone && p.counts() && !c.fenced {
			c.fenced = true
			c.log.Warn("the others gave this node up: it takes another incarnation", "incarnation", c.self, "node", p.name)
			c.locate(now) // at once: it must not be another incarnation before it was isolated
			c.pokeLease()
		}
	}
	if h.leaving {
		p.leave(now)
	}
	for _, r := range h.others {
		if q := c.peers[r.incarnation]; r.standing == Left && q != nil {
			q.leave(now) // others heard its goodbye
		}
	}
	return c.welcome(p)
}

// welcome makes a node that was heard a member that is alive, if it may be one.
// It returns its log when that is new. mu is held.
func (c *Cluster) welcome(p *peer) (meet *origin) {
	if !p.counts() {
		return nil // it will read in our heartbeat that it has to come anew
	}
	before := p.standing
	p.standing = Alive
	if p.origin == nil {
		p.origin = &origin{c: c, incarnation: p.incarnation, hearing: true}
		c.log.Info("a node is a member", "node", p.name, "incarnation", p.incarnation, "version", p.version)
		c.reseat()
		return p.origin
	}
	if before != Alive {
		c.counts.returned.Add(1)
		c.log.Info("a node is heard again", "node", p.name, "incarnation", p.incarnation, "was", before)
		c.emit(p.origin, func(l Listener) {
			p.origin.behind = comparisonsBehind
			l.Returned(p.incarnation)
		})
		c.reseat()
	}
	return nil
}

// meet makes a peer. Whoever had its name before is gone: a name has one process,
// and incarnations only grow. mu is held.
func (c *Cluster) meet(name string, incarnation Incarnation) *peer {
	p := &peer{name: name, incarnation: incarnation, standing: Alive, heard: c.now()}
	for _, q := range c.peers {
		if q.name == name && q.incarnation < incarnation {
			c.replaced(q)
		}
	}
	c.peers[incarnation] = p
	c.reseat()
	return p
}

// SetFingerprint is for a reload of the configuration. Members stay members though
// they differ until they reload, too; who starts meanwhile must have the new one.
func (c *Cluster) SetFingerprint(fingerprint uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fingerprint = fingerprint
}
