package publisher

import (
	"context"
	"sync"
	"time"
)

// maxAge is how old what was read may be: how late a node is that nobody told
// of a change at another.
const maxAge = time.Second

// mostCached bounds what is remembered of a kind.
const mostCached = 1 << 16

// cache remembers what was read, for maxAge.
type cache[K comparable, V any] struct {
	mu    sync.Mutex // guards all below
	all   map[K]cached[V]
	drops uint64 // how often something was forgotten because it changed
}

type cached[V any] struct {
	value V
	at    time.Time
}

// get returns what is remembered, or reads it. What changed while it was read
// is not remembered.
func (c *cache[K, V]) get(ctx context.Context, key K, read func(context.Context, K) (V, error)) (V, error) {
	now := time.Now()
	c.mu.Lock()
	got, ok := c.all[key]
	drops := c.drops
	c.mu.Unlock()
	if ok && now.Sub(got.at) < maxAge {
		return got.value, nil
	}
	v, err := read(ctx, key)
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drops != drops {
		return v, nil
	}
	if c.all == nil || len(c.all) >= mostCached {
		c.all = map[K]cached[V]{} // what is in use is read again
	}
	c.all[key] = cached[V]{v, now}
	return v, nil
}

// drop forgets what changed.
func (c *cache[K, V]) drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	delete(c.all, key)
}
