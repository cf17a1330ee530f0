package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// batchBytes is when a batch is full.
	batchBytes = 64 << 10
	// pace is the least time between two batches that are not full: a lone change
	// leaves at once, many share a message.
	pace = time.Millisecond
	// maxWaiting batches wait while the transport does not take them; then the
	// oldest is dropped, and its readers find a gap and repair it.
	maxWaiting = 256
	// MaxMessage is the most bytes of one change and of one message to a topic.
	MaxMessage = maxFrame - 1<<10

	// Each batch begins with protocol, kind, incarnation and number.
	batchHead = 2 + 8 + 8
)

// What an entry of a batch is; from entryChange on it is a change of the shard
// entry - entryChange.
const (
	entryDigests = 0
	entryTell    = 1
	entryChange  = 2
)

// outbox is this node's numbered log.
type outbox struct {
	wake chan struct{} // something waits

	mu      sync.Mutex // guards what follows; held for the time of a copy
	self    Incarnation
	number  uint64   // of the last closed batch
	open    []byte   // gathers entries; empty: none
	full    [][]byte // closed, wait for the sender
	spare   [][]byte // buffers to use again
	changes uint64
	tells   uint64
	dropped uint64
}

func newOutbox(self Incarnation) *outbox {
	return &outbox{wake: make(chan struct{}, 1), self: self}
}

// change adds a change of one session.
func (o *outbox) change(shard int, b []byte) {
	o.mu.Lock()
	first := o.begin(len(b))
	o.open = binary.AppendUvarint(o.open, uint64(entryChange+shard))
	o.open = appendBytes(o.open, b)
	o.changes++
	ring := o.settle() || first
	o.mu.Unlock()
	if ring {
		o.ring()
	}
}

// tell adds a message to a topic.
func (o *outbox) tell(topic string, b []byte) {
	o.mu.Lock()
	o.begin(len(b))
	o.open = append(o.open, entryTell)
	o.open = appendBytes(o.open, topic)
	o.open = appendBytes(o.open, b)
	o.tells++
	o.settle()
	o.mu.Unlock()
	o.ring()
}

// digests adds the digests of this node's sessions.
func (o *outbox) digests(d *Digests) {
	o.mu.Lock()
	o.begin(batchBytes / 4)
	o.open = append(o.open, entryDigests)
	o.open = appendDigests(o.open, d)
	o.settle()
	o.mu.Unlock()
	o.ring()
}

func (o *outbox) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// begin makes room for an entry and reports whether it is the first of its
// batch. mu is held.
func (o *outbox) begin(size int) (first bool) {
	if len(o.open) > 0 {
		if len(o.open)+size < maxFrame-1<<9 {
			return false
		}
		o.close()
	}
	if n := len(o.spare); n > 0 {
		o.open, o.spare = o.spare[n-1][:batchHead], o.spare[:n-1]
	} else {
		o.open = make([]byte, batchHead, batchBytes+4<<10)
	}
	return true
}

// settle closes a full batch and reports whether it did. mu is held.
func (o *outbox) settle() bool {
	if len(o.open) < batchBytes {
		return false
	}
	o.close()
	return true
}

// close gives the open batch its number. mu is held.
func (o *outbox) close() {
	o.number++
	b := o.open
	b[0], b[1] = Protocol, frameBatch
	binary.LittleEndian.PutUint64(b[2:], o.self)
	binary.LittleEndian.PutUint64(b[10:], o.number)
	if len(o.full) >= maxWaiting {
		o.recycle(o.full[0])
		o.full = append(o.full[:0], o.full[1:]...)
		o.dropped++
	}
	o.full, o.open = append(o.full, b), nil
}

// recycle keeps a buffer for later. mu is held.
func (o *outbox) recycle(b []byte) {
	if len(o.spare) < 4 && cap(b) <= 2*batchBytes {
		o.spare = append(o.spare, b)
	}
}

// take gives the next batch to send, the open one too if that is wanted; nil:
// none. done is the one it gave last, which is sent.
func (o *outbox) take(open bool, done []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if done != nil {
		o.recycle(done)
	}
	if len(o.full) == 0 && open && len(o.open) > 0 {
		o.close()
	}
	if len(o.full) == 0 {
		return nil
	}
	b := o.full[0]
	o.full = append(o.full[:0], o.full[1:]...)
	return b
}

// position is the number of the last batch that was closed: all that was added
// before is in it or in earlier ones, unless something is open still.
func (o *outbox) position() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.number
}

// restart begins the log of another incarnation.
func (o *outbox) restart(self Incarnation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.self, o.number, o.open, o.full = self, 0, nil, nil
}

// send publishes batches until ctx ends, and then those that wait.
func (c *Cluster) send(ctx context.Context) {
	o := c.out
	timer := time.NewTimer(pace)
	defer timer.Stop()
	var sent time.Time
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			c.flush(true)
			return
		}
		c.flush(false)
		if wait := pace - time.Since(sent); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		// Whoever is about to change something gets to do so first: one message for
		// many costs little more than one for one.
		runtime.Gosched()
		c.flush(true)
		sent = time.Now()
	}
}

// flush publishes the batches that are full, and the open one if that is wanted.
func (c *Cluster) flush(open bool) {
	var done []byte
	for {
		b := c.out.take(open, done)
		if b == nil {
			return
		}
		// The number decides the subject: after a rebirth the former log has ended.
		self := binary.LittleEndian.Uint64(b[2:])
		if err := c.cfg.Transport.Publish(c.subject("ch", self), b); err != nil {
			c.counts.unsent.Add(1) // readers find the gap
		}
		c.counts.sentBatches.Add(1)
		c.counts.sentBytes.Add(uint64(len(b)))
		done = b
	}
}

// Change tells the other nodes what one of this node's sessions is now. It is
// called after the table has it, and copies b. Up to MaxMessage bytes; longer
// ones are dropped and logged. The hot path: one short lock, no allocation.
func (c *Cluster) Change(shard int, b []byte) {
	if len(b) > MaxMessage || shard < 0 || shard >= Shards {
		c.log.Error("a change of a session cannot be told to other nodes", "shard", shard, "bytes", len(b), "most", MaxMessage)
		return
	}
	c.out.change(shard, b)
}

// Tell gives b to whoever listens to topic on each other node, in the order of
// this node's calls; b is copied. It waits for nobody. A node that misses some of
// it is told so (Topic.Missed).
func (c *Cluster) Tell(topic string, b []byte) error {
	if len(b)+len(topic) > MaxMessage || len(topic) > 200 {
		return fmt.Errorf("cluster: a message of %d bytes to topic %.40q is too long: at most %d", len(b), topic, MaxMessage)
	}
	c.out.tell(topic, b)
	return nil
}
