package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How a node goes, and how all that it runs ends.

// lifetime is what goroutines and subscriptions need to end.
type lifetime struct {
	running sync.WaitGroup
	sending sync.WaitGroup

	mu       sync.Mutex // guards what follows
	started  bool
	closed   bool
	stopSend context.CancelFunc
	stopAll  context.CancelFunc
	subs     []func() // for good
	own      []func() // for this incarnation
}

// Stop says goodbye, after all that was given to Change and Tell, and ends
// everything. It takes two seconds at most, or less when ctx ends sooner. Further
// calls, and calls before Start, do nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	c.life.mu.Lock()
	if !c.life.started || c.life.closed {
		c.life.closed = true
		c.life.mu.Unlock()
		return nil
	}
	c.life.mu.Unlock()

	c.life.stopSend()
	c.life.sending.Wait()
	c.beat(true)
	c.beat(true) // it costs nothing, and saves the others three seconds if one is lost
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := c.cfg.Liveness.Leave(ctx, c.cfg.Name, c.Self())
	c.close()
	if err != nil {
		return fmt.Errorf("cluster: goodbye is said, but the quorum keeps this node's record until it ages out: %w", err)
	}
	return nil
}

// close ends all goroutines and subscriptions.
func (c *Cluster) close() {
	c.life.mu.Lock()
	c.life.closed = true
	subs := append(c.life.subs, c.life.own...)
	c.life.subs, c.life.own = nil, nil
	c.life.mu.Unlock()
	c.life.stopSend()
	c.life.stopAll()
	for _, stop := range subs {
		stop()
	}
	c.mu.Lock()
	c.place = outside
	var origins []*origin
	for _, p := range c.peers {
		if p.origin != nil {
			origins = append(origins, p.origin)
		}
	}
	c.mu.Unlock()
	for _, o := range origins {
		o.end()
	}
	c.life.sending.Wait()
	c.life.running.Wait()
}

// goes runs f on a goroutine that Stop waits for. It reports false, and runs
// nothing, when everything ends.
func (c *Cluster) goes(f func()) bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.closed {
		return false
	}
	c.life.running.Go(f)
	return true
}

// Failed is closed when this node can take no part any more, until it is started
// anew; Err says why.
func (c *Cluster) Failed() <-chan struct{} { return c.failed }

// Err returns why this node takes no part any more, or nil.
func (c *Cluster) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
