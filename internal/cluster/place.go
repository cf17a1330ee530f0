package cluster

import (
	"time"
)

// How a node judges itself.

// cutOff reports whether this node must not count on being part of the cluster:
// neither the quorum nor a majority of members confirms it; or so many may call it
// lost: they say that they do not hear it, or live by the quorum's records and are
// not heard. mu is held.
func (c *Cluster) cutOff(now time.Duration) bool {
	members, hearing, against := 1, 1, 0
	for _, q := range c.peers {
		if !q.counts() {
			continue
		}
		members++
		if c.renewedSince(q, now) {
			against++
		}
		if q.standing != Alive {
			continue
		}
		if c.recent(q, now) {
			hearing++
		}
		if r, ok := of(q.reports, c.self); ok && r.silence >= SuspectAfter {
			against++
		}
	}
	confirmed := c.leased(isolateAfter) || members > 1 && 2*hearing > members
	// Of an even number the quorum's record of this node is one more vote. What a node
	// that stood still reads first is from before it went on.
	return !confirmed || 2*against > members|1 && !c.thaw.behind
}

// Places of a node.
const (
	outside  = iota // not started, or it has failed
	here            // it takes part
	frozen          // it stood still
	isolated        // it is cut off
)

// locate decides whether this node takes part. mu is held.
func (c *Cluster) locate(now time.Duration) {
	bad := c.fenced || c.err != nil
	// What a node that stood still remembers is old: it is given a moment to hear
	// whether it still counts. It claims nothing meanwhile.
	if !c.thaw.behind || now-c.thaw.since >= SuspectAfter {
		bad = bad || c.cutOff(now)
	}
	if bad {
		c.wellSince = now
	}
	switch {
	case c.place == outside:
	case bad && c.place != isolated:
		c.place = isolated
		c.counts.isolated.Add(1)
		c.log.Warn("this node is isolated: its devices are sent away", "quorum", c.leased(isolateAfter))
		c.emit(nil, func(l Listener) { l.Isolated() })
	case !bad && c.place != here && now-c.wellSince >= settle && c.drained(now):
		c.place = here
		c.log.Info("this node takes part again", "incarnation", c.self)
		self := c.self
		c.emit(nil, func(l Listener) { l.Joined(self) })
	}
}

// freeze is for a node that stood still: it judges nobody and claims nothing
// until it has read what waited for it, and the quorum has acknowledged it anew.
// mu is held.
func (c *Cluster) freeze(gap time.Duration) {
	c.counts.pauses.Add(1)
	c.log.Warn("this node stood still", "for", gap.Round(time.Millisecond))
	now := c.now()
	c.thaw = thaw{behind: true, counter: c.beats.counter + 1, at: time.Now(), since: now}
	c.wellSince = now
	for _, p := range c.peers {
		p.silent, p.reports = time.Time{}, nil
		if p.standing < Lost {
			p.doomed = 0
		}
	}
	if c.place == here {
		c.place = frozen
		c.emit(nil, func(l Listener) { l.Frozen() })
	}
}

// thaw is what a node that stood still waits for.
type thaw struct {
	behind  bool
	counter uint64    // its own heartbeat came back: what was sent before it is read
	at      time.Time // the liveness was acknowledged since
	since   time.Duration
}

// drained reports whether a node that stood still has caught up: its own
// heartbeat from after the pause came back, the quorum acknowledged it since, and
// the batches that others had sent by then are applied. mu is held.
func (c *Cluster) drained(now time.Duration) bool {
	if !c.thaw.behind {
		return true
	}
	if c.echoed < c.thaw.counter || c.acked.Before(c.thaw.at) {
		return false
	}
	for _, p := range c.peers {
		if now-c.thaw.since > drainLimit {
			break // somebody does not hear us, or we cannot keep up: no reason to claim nothing for ever
		}
		if p.standing == Alive && p.origin != nil && now-p.heard < SuspectAfter &&
			(p.echo < c.thaw.counter || p.origin.position.Load() < p.told) {
			return false
		}
	}
	c.thaw.behind = false
	return true
}
