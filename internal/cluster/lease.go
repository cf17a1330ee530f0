package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// leaseWait is how long one renewal may take: then it is tried anew.
const leaseWait = 1500 * time.Millisecond

// life is a node's record with the quorum, as it was seen to change.
type life struct {
	name        string
	incarnation Incarnation
}

// renewal is when a record was first seen as it is.
type renewal struct {
	number uint64
	since  time.Time
}

// leased reports whether the quorum acknowledged this node within d. Time goes on
// here while the process stands still, as it does for the others. mu is held.
func (c *Cluster) leased(d time.Duration) bool {
	return !c.acked.IsZero() && time.Since(c.acked) <= d
}

// unrenewed reports whether the quorum's record of p had not changed for LostAfter,
// or was taken away, when it was read last. That must be as recent as the word of a
// member has to be: the record may have been renewed since. mu is held.
func (c *Cluster) unrenewed(p *peer) bool {
	if time.Since(c.readAt) > SuspectAfter {
		return false
	}
	r, ok := c.lives[life{p.name, p.incarnation}]
	return !ok || c.readAt.Sub(r.since) >= LostAfter
}

// renewedSince reports whether the quorum's record of p was seen to change after p
// had been silent here for isolateAfter: it lives, and is out of reach. mu is held.
func (c *Cluster) renewedSince(p *peer, now time.Duration) bool {
	r, ok := c.lives[life{p.name, p.incarnation}]
	return ok && r.since.After(time.Now().Add(p.heard+isolateAfter-now))
}

// Renewed is when the quorum was last asked for an acknowledgement that it gave:
// the zero time before the first.
func (c *Cluster) Renewed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked
}

func (c *Cluster) pokeLease() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// lease keeps this node's record with the quorum, and reads the others' while
// somebody is silent.
func (c *Cluster) lease() {
	ticker := time.NewTicker(Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.poke:
		case <-c.ctx.Done():
			return
		}
		if c.uncalled {
			c.beCalled()
		}
		if c.comeAnew(); c.renew(c.ctx) == nil {
			c.sweep()
			if c.somebodySilent() {
				_, _ = c.read(c.ctx)
			}
		}
	}
}

// renew says to the quorum that this node lives.
func (c *Cluster) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	self, began := c.Self(), time.Now()
	err := c.cfg.Liveness.Renew(ctx, c.cfg.Name, self)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		if self == c.self {
			c.acked = began
		}
	case errors.Is(err, store.ErrReplaced):
		c.fail(fmt.Errorf("cluster: another node has started under the name %q (this one is incarnation %d): give each node a name of its own", c.cfg.Name, self))
	case errors.Is(err, store.ErrAnew):
		c.fail(fmt.Errorf("cluster: this node knows what the others do not have any more: start it anew: %w", err))
	default:
		c.counts.unrenewed.Add(1)
	}
	return err
}

// somebodySilent reports whether the quorum's records may be needed soon.
func (c *Cluster) somebodySilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, p := range c.peers {
		if p.counts() && now-p.heard >= watchAfter {
			return true
		}
	}
	return false
}

// read reads who is a member, and how its record changed. It returns how many
// others there are.
func (c *Cluster) read(ctx context.Context) (others int, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	began := time.Now()
	all, err := c.cfg.Liveness.Members(ctx)
	if err != nil {
		c.counts.unrenewed.Add(1)
		return 0, err
	}
	c.mu.Lock()
	defer c.settleAfter()
	ended := time.Now()
	seen := make(map[life]renewal, len(all))
	for _, l := range all {
		if l.Name == c.cfg.Name {
			if l.Incarnation > c.self {
				c.fail(fmt.Errorf("cluster: another node has started under the name %q (incarnation %d, this one is %d): give each node a name of its own", l.Name, l.Incarnation, c.self))
			}
			continue
		}
		others++
		key := life{l.Name, l.Incarnation}
		r, ok := c.lives[key]
		if !ok || r.number != l.Renewal {
			// As it is, it may have been since any time during the call: the latest is
			// what cannot be wrong.
			r = renewal{l.Renewal, ended}
		}
		seen[key] = r
		if c.peers[l.Incarnation] == nil && l.Incarnation > c.past[l.Name] && !c.refusals[l.Incarnation] {
			// It counts, though it was never heard: a majority is one of all.
			c.meet(l.Name, l.Incarnation)
		}
	}
	c.lives, c.readAt = seen, began
	return others, nil
}

// sweep takes the records of the nodes that are gone away from the quorum, so that
// they do not count for who starts later. Whoever does it, does it.
func (c *Cluster) sweep() {
	c.mu.Lock()
	gone := c.buried
	c.buried = nil
	c.mu.Unlock()
	for _, l := range gone {
		ctx, cancel := context.WithTimeout(c.ctx, leaseWait)
		_ = c.cfg.Liveness.Leave(ctx, l.name, l.incarnation)
		cancel()
	}
}

// comeAnew takes another incarnation, when the others gave this one up.
func (c *Cluster) comeAnew() {
	c.mu.Lock()
	fenced := c.fenced && c.err == nil
	c.mu.Unlock()
	if !fenced {
		return
	}
	if c.cfg.Next == nil {
		c.mu.Lock()
		c.fail(errors.New("cluster: the others gave this node up while it was away: restart it"))
		c.mu.Unlock()
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, leaseWait)
	defer cancel()
	next, err := c.cfg.Next(ctx)
	if err != nil {
		c.counts.unrenewed.Add(1)
		return // with the next beat
	}
	c.out.restart(next)
	c.mu.Lock()
	was := c.self
	c.self, c.fenced, c.acked = next, false, time.Time{}
	c.counts.reborn.Add(1)
	c.reseat()
	c.mu.Unlock()
	c.log.Info("this node has another incarnation", "was", was, "is", next)
	c.beCalled()
	c.beat(false)
}

// beCalled listens to what is sent to this node's new incarnation, or is to be tried
// again.
func (c *Cluster) beCalled() {
	err := c.resubscribe(c.Self())
	if c.uncalled = err != nil; err != nil {
		c.log.Error("calls do not reach this node's new incarnation; trying again", "error", err)
	}
}
