package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// How a node joins: acknowledged by the quorum, and known to those who are there.

const (
	// startLimit is how long a start waits for the quorum, when its ctx does not end
	// before: long enough for the election of a leader (engine.md).
	startLimit = 15 * time.Second
	// meetLimit is how long a start waits to hear those whom the quorum knows: a
	// node with another configuration says so within a beat.
	meetLimit = 3 * Beat
)

// Start joins the cluster: the quorum acknowledges this node, and those whom it
// knows are heard, or were waited for. It fails with one clear error when there is
// no quorum, when a member has another configuration or speaks another protocol,
// or when the node's name is taken. The sessions of others come afterwards
// (Loaded). A Cluster is started once.
func (c *Cluster) Start(ctx context.Context) error {
	c.life.mu.Lock()
	if c.life.started || c.life.closed {
		c.life.mu.Unlock()
		return errors.New("cluster: started already")
	}
	c.life.started = true
	// What runs from now on outlives the start; Stop ends it.
	c.ctx, c.life.stopAll = context.WithCancel(context.WithoutCancel(ctx))
	var send context.Context
	send, c.life.stopSend = context.WithCancel(c.ctx)
	c.life.mu.Unlock()

	others, err := c.enter(ctx)
	if err == nil {
		err = c.subscribe()
	}
	if err != nil {
		c.close()
		return err
	}
	c.life.sending.Go(func() { c.send(send) })
	c.clock.Store(&clock{at: time.Now()})
	c.beat(false)
	for _, f := range []func(){c.run, c.lease, c.deliver} {
		c.goes(f)
	}
	if err = c.meetOthers(ctx, others); err == nil {
		err = c.takePart(others)
	}
	if err != nil {
		_ = c.Stop(context.WithoutCancel(ctx))
	}
	return err
}

// takePart ends a start, unless this node was refused meanwhile.
func (c *Cluster) takePart(others int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.place = here
	self := c.self
	c.emit(nil, func(l Listener) { l.Joined(self) })
	c.log.Info("this node is a member", "node", c.cfg.Name, "incarnation", self, "others", others)
	return nil
}

// enter is acknowledged by the quorum and reads whom it knows.
func (c *Cluster) enter(ctx context.Context) (others int, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	again := time.NewTicker(Beat)
	defer again.Stop()
	looked := false
	for {
		if !looked {
			err = c.lookFirst(ctx)
			looked = err == nil
		}
		if looked {
			if err = c.renew(ctx); err == nil {
				if others, err = c.read(ctx); err == nil {
					return others, c.Err()
				}
			}
		}
		if failed := c.Err(); failed != nil {
			return 0, failed
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("cluster: no quorum acknowledged this node within %v (a majority of the NATS servers must run and reach each other): %w", time.Since(began).Round(time.Millisecond), err)
		}
	}
}

// lookFirst ends a start under a name that the quorum knows, where a node runs with
// another configuration or protocol: the quorum must not take this one for the next
// of that name. The one before would have to go, for one that is refused itself, as
// when a second cluster is started under the prefix of the first.
func (c *Cluster) lookFirst(ctx context.Context) error {
	read, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	all, err := c.cfg.Liveness.Members(read)
	if err != nil || !slices.ContainsFunc(all, func(l store.Life) bool { return l.Name == c.cfg.Name }) {
		return err
	}
	first := make(chan error, 1) // what the first that is heard means for this one
	stop, err := c.cfg.Transport.Subscribe(beatSubject, func(_ string, b []byte, _ func([]byte)) {
		if h, _, err := parseHello(b); err == nil {
			select {
			case first <- c.strange(&h):
			default:
			}
		}
	})
	if err != nil {
		return fmt.Errorf("cluster: cannot subscribe to heartbeats: %w", err)
	}
	defer stop()
	limit := time.NewTimer(meetLimit)
	defer limit.Stop()
	select {
	case why := <-first:
		if why != nil {
			c.mu.Lock()
			c.fail(why)
			c.mu.Unlock()
		}
		return why
	case <-limit.C:
		return nil // they are dead
	case <-ctx.Done():
		return ctx.Err()
	}
}

// meetOthers waits until those are heard whom the quorum knows, within limits.
func (c *Cluster) meetOthers(ctx context.Context, others int) error {
	if others == 0 {
		return nil
	}
	limit := time.NewTimer(meetLimit)
	defer limit.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-c.failed:
			return c.Err()
		case <-limit.C:
			return nil // they are dead, or will be told apart later
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if c.metAll() {
				return nil
			}
		}
	}
}

func (c *Cluster) metAll() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if p.counts() && p.origin == nil {
			return false
		}
	}
	return c.echoed > 0
}

var errStopped = errors.New("cluster: stopped before the start was over")

// subscribe listens to all but others' logs.
func (c *Cluster) subscribe() error {
	stop, err := c.cfg.Transport.Subscribe(beatSubject, c.hear)
	if err != nil {
		return fmt.Errorf("cluster: cannot subscribe to heartbeats: %w", err)
	}
	c.life.mu.Lock()
	closed := c.life.closed
	if !closed {
		c.life.subs = append(c.life.subs, stop)
	}
	c.life.mu.Unlock()
	if closed { // while it started
		stop()
		return errStopped
	}
	return c.resubscribe(c.Self())
}

// resubscribe listens to what is sent to one incarnation of this node, and no
// more to what was sent to the one before.
func (c *Cluster) resubscribe(self Incarnation) error {
	calls, err := c.cfg.Transport.Subscribe(c.subject("call", self), c.asked())
	if err != nil {
		return fmt.Errorf("cluster: cannot subscribe to calls: %w", err)
	}
	own := []func(){calls}
	shards, err := c.cfg.Transport.Subscribe(c.subject("sh", self), func(_ string, b []byte, _ func([]byte)) { c.part(b) })
	if err != nil {
		calls()
		return fmt.Errorf("cluster: cannot subscribe to shards: %w", err)
	}
	own = append(own, shards)
	c.life.mu.Lock()
	c.life.own, own = own, c.life.own
	closed := c.life.closed
	if closed {
		own = append(own, c.life.own...)
		c.life.own = nil
	}
	c.life.mu.Unlock()
	for _, stop := range own {
		stop()
	}
	return nil
}
