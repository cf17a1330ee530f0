package cluster

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The times by which nodes are judged (design §3). docs/design/006-cluster.md
// proves with them that no minority loses anybody.
const (
	// Beat is the time between two heartbeats.
	Beat = 500 * time.Millisecond
	// SuspectAfter is how long a node may be silent before its sessions are stale.
	// It also is how old the word of others may be to count.
	SuspectAfter = 1500 * time.Millisecond
	// LostAfter is how long a node must be silent to a majority to be lost, and how
	// old the acknowledgement of the judge's own liveness may be.
	LostAfter = 3 * time.Second

	// isolateAfter leaves a node time to send its devices away before others could
	// call it lost.
	isolateAfter = 2 * time.Second
	// settle is how long all must be well before a node takes part again.
	settle = time.Second
	// tick is how often all of it is looked at.
	tick = 100 * time.Millisecond
	// standstill is the longest gap between two ticks that still counts as running
	// (as in package wheel, which stops time for the same reason).
	standstill = time.Second
	// watchAfter is the silence from which on the quorum's records are read, so that
	// they tell something by the time a verdict is wanted.
	watchAfter = 750 * time.Millisecond
	// byeWait is how long a goodbye waits for batches that were sent before it.
	byeWait = time.Second
	// electionLimit is the longest that a verdict waits for the quorum's leader to be
	// elected: up to 9 s from the death of the former, 3 of which nobody is lost
	// anyway, and a second to be acknowledged and to read. What takes longer is a
	// quorum that was away.
	electionLimit = 7 * time.Second
	// drainLimit is how long a node that stood still waits for others' batches.
	drainLimit = 5 * time.Second
	// forgetAfter is how long those who left or are gone are remembered after their
	// last word: they must be able to read their verdict.
	forgetAfter = time.Minute
)

// judge looks at all peers. It reports whether somebody crossed LostAfter just
// now, so that the others should hear of it at once. mu is held.
func (c *Cluster) judge(now time.Duration) (crossed bool) {
	changed := false
	for _, p := range c.everybody() {
		if c.place == outside && p.origin == nil {
			// Who starts may not be reached yet by those whom the quorum knows: that
			// is no word against them.
			p.heard = now
		}
		silence := now - p.heard
		if p.leaving != 0 && p.counts() && (p.origin == nil || p.origin.position.Load() >= p.told || now-p.leaving > byeWait) {
			c.left(p)
			changed = true
			continue
		}
		if p.standing == Alive && silence >= SuspectAfter {
			p.standing = Suspect
			c.counts.suspected.Add(1)
			if p.origin != nil {
				since := presence.At(time.Now().Add(-silence))
				c.emit(p.origin, func(l Listener) { l.Silent(p.incarnation, since) })
			}
			c.log.Warn("a node is silent: its sessions are stale", "node", p.name, "incarnation", p.incarnation)
			changed = true
		}
		if p.standing == Suspect && silence >= LostAfter {
			if p.silent.IsZero() {
				p.silent = time.Now()
				crossed = true
			}
			if c.convicted(p, now) {
				c.lose(p, now)
				changed = true
			}
		}
		if p.standing == Lost && now-p.doomed >= c.cfg.Return {
			c.bury(p)
			changed = true
		}
		if !p.counts() && silence >= forgetAfter {
			delete(c.peers, p.incarnation)
		}
	}
	if changed {
		c.reseat()
	}
	return crossed
}

// convicted reports whether p is lost: this node runs and takes part, a majority
// of all members since p fell silent has not heard it either, and this node's own
// liveness was acknowledged in time. mu is held.
func (c *Cluster) convicted(p *peer, now time.Duration) bool {
	if c.place != here || !c.condemned(p, now) {
		p.doomed = 0
		return false
	}
	if p.doomed == 0 {
		p.doomed = now
	}
	return c.leased(LostAfter) && !c.readAt.Before(p.silent)
}

// condemned reports whether a majority of the members that are known has not heard
// p, this node among them. mu is held.
func (c *Cluster) condemned(p *peer, now time.Duration) bool {
	members, silent := 1, 1
	for _, q := range c.peers {
		if !q.counts() {
			continue
		}
		members++
		if _, ok := c.against(q, p, now); ok {
			silent++
		}
	}
	if members%2 == 0 { // the quorum's own record is the vote that is missing
		members++
		if c.unrenewed(p) {
			silent++
		}
	}
	return 2*silent > members
}

// recent reports whether the last heartbeat of q was surely sent within
// SuspectAfter: it answers a heartbeat of ours that is no older. mu is held.
func (c *Cluster) recent(q *peer, now time.Duration) bool {
	sent, ok := c.beats.sent(q.echo)
	return ok && now-sent <= SuspectAfter
}

// lose declares p lost. If only the quorum's leader had to be elected meanwhile,
// the time to return has run since a majority was silent: whoever was away could
// come back, here too. mu is held.
func (c *Cluster) lose(p *peer, now time.Duration) {
	p.standing = Lost
	if p.doomed == 0 || now-p.doomed > electionLimit {
		p.doomed = now
	}
	p.witnessed = c.heardLast(p, now)
	c.counts.lost.Add(1)
	c.log.Warn("a node is lost: a majority has not heard it", "node", p.name, "incarnation", p.incarnation,
		"alive", p.alive, "waited", (now - p.doomed).Round(time.Millisecond))
	if p.origin != nil {
		alive, since := p.alive, presence.At(time.Now().Add(p.doomed-now))
		o := p.origin
		c.emit(o, func(l Listener) {
			o.missed() // its last words may have gone with it
			l.Lost(o.incarnation, alive, since)
		})
	}
}

// bury ends the time in which a lost node may return. mu is held.
func (c *Cluster) bury(p *peer) {
	p.standing = Gone
	c.log.Warn("a lost node did not return", "node", p.name, "incarnation", p.incarnation)
	c.buried = append(c.buried, life{p.name, p.incarnation})
	c.pass(p)
	if o := p.origin; o != nil {
		c.after = append(c.after, o.end)
	}
}

// left ends the part of a node that said goodbye. mu is held.
func (c *Cluster) left(p *peer) {
	p.standing = Left
	c.counts.left.Add(1)
	c.log.Info("a node left", "node", p.name, "incarnation", p.incarnation)
	c.pass(p)
	if o := p.origin; o != nil {
		c.after = append(c.after, o.end)
		told, alive := p.told, p.alive
		c.emit(o, func(l Listener) {
			if o.position.Load() < told {
				o.missed()
			}
			o.over = true
			l.Left(o.incarnation, alive)
		})
	}
}

// replaced ends the part of a node of whose name a later incarnation is heard:
// its process has ended, or has given it up. mu is held.
func (c *Cluster) replaced(p *peer) {
	if p.standing < Lost {
		p.doomed = 0
		c.lose(p, c.now())
	}
	if p.standing == Lost {
		c.bury(p)
	}
}
