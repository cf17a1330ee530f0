package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// methodReach is the call by which a node asks another to say when it has applied a batch.
const methodReach = "cluster.reach"

// Reach returns when every other node that is heard has applied all that was given to
// Change before the call, or will not say so: it fell silent, its program does not know
// the question, or ctx ended.
func (c *Cluster) Reach(ctx context.Context) {
	c.CallAll(ctx, methodReach, binary.AppendUvarint(nil, c.out.coming()))
}

// coming is the number of the batch that has, or will have, what was added last.
func (o *outbox) coming() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) > 0 {
		return o.number + 1
	}
	return o.number
}

// serveReach answers when a batch of the node that asks is applied.
func (c *Cluster) serveReach(ctx context.Context, from Incarnation, b []byte) ([]byte, error) {
	r := reader{b: b}
	number := r.number()
	c.mu.Lock()
	var o *origin
	if p := c.peers[from]; p != nil {
		o = p.origin
	}
	c.mu.Unlock()
	if o == nil || r.bad {
		return nil, fmt.Errorf("node %q does not read the changes of incarnation %d", c.cfg.Name, from)
	}
	return nil, o.reached(ctx, number)
}

// passage is somebody who waits for a batch.
type passage struct {
	number uint64
	passed chan struct{}
}

// reached returns when a batch is applied, or ctx ends.
func (o *origin) reached(ctx context.Context, number uint64) error {
	o.mu.Lock()
	if number < o.next {
		o.mu.Unlock()
		return nil
	}
	passed := make(chan struct{})
	o.awaited = append(o.awaited, passage{number, passed})
	o.mu.Unlock()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaited = slices.DeleteFunc(o.awaited, func(p passage) bool { return p.passed == passed })
	return ctx.Err()
}

// passes tells who waits for batches that are applied. mu is held.
func (o *origin) passes() {
	o.awaited = slices.DeleteFunc(o.awaited, func(p passage) bool {
		if p.number >= o.next {
			return false
		}
		close(p.passed)
		return true
	})
}
