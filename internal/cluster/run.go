package cluster

import (
	"time"
)

// What a node does by the clock, which stands still while it does.

// clock is time that stands still while the process does.
type clock struct {
	ran time.Duration
	at  time.Time
}

// now is the time that this node has run: a pause counts little.
func (c *Cluster) now() time.Duration {
	k := c.clock.Load()
	return k.ran + min(time.Since(k.at), 2*tick)
}

// run looks at everything, every tick, until Stop.
func (c *Cluster) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	beat := time.Now().Add(Beat)
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		now := time.Now()
		last := c.clock.Load()
		gap := now.Sub(last.at)
		ran := gap
		if gap > standstill {
			ran = 2 * tick
		}
		c.clock.Store(&clock{last.ran + ran, now})
		if c.look(gap) {
			c.beat(false)
		}
		if !now.Before(beat) {
			beat = now.Add(Beat - tick/2) // ticks are not exact; a beat must not slip to the next
			c.beat(false)
			c.tellDigests()
		}
	}
}

// look judges everybody, this node too. It reports whether the others should hear
// of it at once.
func (c *Cluster) look(gap time.Duration) (urgent bool) {
	c.mu.Lock()
	now := c.now()
	if gap > standstill {
		c.freeze(gap)
		urgent = true
		c.pokeLease()
	}
	if c.judge(now) {
		urgent = true
		c.pokeLease() // the members must be read since
	}
	c.locate(now)
	c.cutCalls()
	type seen struct {
		o     *origin
		heard bool
		told  uint64
	}
	var all []seen
	for _, p := range c.everybody() {
		if p.origin != nil && p.counts() {
			all = append(all, seen{p.origin, p.standing == Alive, p.told})
		}
	}
	c.settleAfter()
	for _, s := range all {
		s.o.tick(s.heard, s.told)
	}
	return urgent
}

// tellDigests puts the digests of this node's sessions into its log. It does not
// wait for them: the table may be busy with what a node left that died, and heartbeats
// must not wait for it.
func (c *Cluster) tellDigests() {
	c.mu.Lock()
	alone, self := len(c.peers) == 0, c.self
	c.mu.Unlock()
	if alone || !c.summing.CompareAndSwap(false, true) {
		return
	}
	c.goes(func() {
		defer c.summing.Store(false)
		var d Digests
		c.cfg.Table.Digests(self, &d)
		c.mu.Lock()
		same := c.self == self
		c.mu.Unlock()
		if same {
			c.out.digests(&d)
		}
	})
}
