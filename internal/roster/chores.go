package roster

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// workers is how many chores run at a time: each may wait for a source, and a
	// source that is slow for one user must not hold up all others.
	workers = 64

	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// chores runs what goes on behind the callers: lists that are asked for again.
// It has no goroutine while there is nothing to do.
type chores struct {
	mu      sync.Mutex // guards all below
	ctx     context.Context
	cancel  context.CancelFunc
	queue   []func(context.Context)
	running int
	done    sync.WaitGroup
}

func (c *chores) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx)) // until stop
}

// stop ends the chores that run and drops the others.
func (c *chores) stop() {
	c.mu.Lock()
	if c.cancel != nil {
		c.cancel()
	}
	c.queue = nil
	c.mu.Unlock()
	c.done.Wait()
}

// after runs f when d has passed and a worker is free.
func (c *chores) after(d time.Duration, f func(context.Context)) {
	if d <= 0 {
		c.push(f)
		return
	}
	time.AfterFunc(d, func() { c.push(f) })
}

func (c *chores) push(f func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil || c.ctx.Err() != nil {
		return
	}
	c.queue = append(c.queue, f)
	if c.running < workers {
		c.running++
		c.done.Add(1)
		go c.work(c.ctx)
	}
}

// work runs chores until none is left.
func (c *chores) work(ctx context.Context) {
	defer c.done.Done()
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.queue = nil // let go of what a storm made of it
			c.running--
			c.mu.Unlock()
			return
		}
		f := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		f(ctx)
	}
}

// backoff is how long to wait after so many failures in a row; spread, since
// all users of a source fail together.
func backoff(failures int) time.Duration {
	d := lastRetry
	if failures < 5 {
		d = firstRetry << failures
	}
	return d/2 + rand.N(d/2)
}
