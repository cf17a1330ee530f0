package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

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
				n.lostBy[o.number()] = true
			}
		}
		c.mu.Unlock()
		switch {
		case gone && lost:
			o.inbox <- func() { o.tr.Lost(n.number(), since, since.Add(3*time.Second)) }
		case gone:
			o.inbox <- func() { o.tr.Silent(n.number(), since) }
		}
	}
}

// give tells o that n is lost.
func (c *nodes) give(o, n *node, alive presence.Time) {
	c.mu.Lock()
	n.lostBy[o.number()] = true
	c.mu.Unlock()
	o.tr.Lost(n.number(), alive, presence.At(time.Now()))
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
					n.tr.Silent(o.number(), presence.At(time.Now()))
				}
			}
		}
	})
}

// heal lets a node back: as the same incarnation when it was not lost for longer
// than the grace, else as another.
func (c *nodes) heal(n *node, anew bool) {
	n.store.cut.Store(false)
	number := n.number()
	if anew {
		var err error
		if number, err = c.mem.Next(context.Background(), "incarnation"); err != nil {
			c.t.Fatal(err)
		}
	}
	c.mu.Lock()
	n.cut = false
	n.incarnation.Store(number)
	clear(n.lostBy)
	c.mu.Unlock()
	for _, o := range c.running() {
		if o != n {
			if !anew {
				o.inbox <- func() { o.tr.Returned(number); o.tr.Caught(number) }
			}
			n.inbox <- func() { n.tr.Returned(o.number()); n.tr.Caught(o.number()) }
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
	n.digests(n.number(), &theirs)
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
		o.inbox <- func() { o.tr.Left(n.number(), at) }
	}
}
