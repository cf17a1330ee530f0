package cluster

import (
	"slices"
	"time"
)

// When others heard a node last: so it knows until when nobody can have taken its
// place, and they know from when on they may. Both count from what was heard, not
// from when it was noticed, and what one says is never later than what the other
// does.

// Witnessed is a time at which, or later, so many others heard this node that the
// rest of them are no majority: whoever calls it lost counts one of them, and
// knows (Member.Witnessed) that he heard it then or later. Of two nodes the quorum's
// record decides; then it is now. Nodes of which the quorum hears nothing either do
// not count: they call nobody lost. It does not know of members that never reached
// this node.
func (c *Cluster) Witnessed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var heard []time.Time
	for _, p := range c.peers {
		if p.standing == Alive || p.standing == Suspect && !c.unrenewed(p) {
			heard = append(heard, c.beats.real(p.echo))
		}
	}
	majority := (len(heard)+1)/2 + 1
	if majority > len(heard) {
		return time.Now()
	}
	slices.SortFunc(heard, time.Time.Compare)
	return heard[majority-1]
}

// heardLast is when p was last heard at the latest: here, by those whose word
// against it counts, and by the quorum where that votes. mu is held.
func (c *Cluster) heardLast(p *peer, now time.Duration) time.Time {
	last, members := p.heardAt, 1
	for _, q := range c.peers {
		if !q.counts() {
			continue
		}
		members++
		if at, ok := c.against(q, p, now); ok && at.After(last) {
			last = at
		}
	}
	if r, ok := c.lives[life{p.name, p.incarnation}]; ok && members%2 == 0 && r.since.After(last) {
		last = r.since
	}
	return last
}

// against reports whether q counts as one who has not heard p for so long that it is
// lost, and when it had heard it at the latest. mu is held.
func (c *Cluster) against(q, p *peer, now time.Duration) (last time.Time, ok bool) {
	if q == p || q.standing != Alive || !c.recent(q, now) {
		return last, false
	}
	r, ok := of(q.reports, p.incarnation)
	if !ok || r.standing < Lost && r.silence < LostAfter {
		return last, false
	}
	return q.heardAt.Add(-r.silence), true
}
