package cluster

import (
	"context"
	"encoding/binary"
)

// partBytes is about the size of the messages in which shards travel.
const partBytes = 256 << 10

// maxServing is how many pulls are served at once: each holds some megabytes.
const maxServing = 4

// methodShards is the call by which a node asks another for shards.
const methodShards = "cluster.shards"

// serveShards sends the shards that a node asks for, and answers with how many
// parts they are and which batches are in them for sure.
func (c *Cluster) serveShards(ctx context.Context, from Incarnation, b []byte) ([]byte, error) {
	id, shards, err := parsePull(b)
	if err != nil {
		return nil, err
	}
	turn, cancel := context.WithTimeout(ctx, pullTimeout) // then who asked has given up
	defer cancel()
	select {
	case c.serving <- struct{}{}:
		defer func() { <-c.serving }()
	case <-turn.Done():
		return nil, turn.Err()
	}
	// The table has everything that was given to Change before, so all of these
	// batches are in what it gives from now on.
	position := c.out.position()
	w := &shardWriter{c: c, to: c.subject("sh", from), id: id, self: c.Self()}
	w.begin()
	for _, shard := range shards {
		w.shard(shard)
		if err := w.flush(partBytes); err != nil {
			return nil, err
		}
	}
	if err := w.flush(0); err != nil {
		return nil, err
	}
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(w.sent)), position), nil
}

// shardWriter packs shards into parts. Nothing is sent while the table gives its
// sessions, because it may hold its lock.
type shardWriter struct {
	c        *Cluster
	to       string
	id       uint64
	self     Incarnation
	begun    int      // parts
	sent     int      // of those
	ready    [][]byte // full, and not sent
	b        []byte
	head     int
	sessions uint64
}

// begin begins a part.
func (w *shardWriter) begin() {
	if cap(w.b) == 0 {
		w.b = make([]byte, 0, partBytes+partBytes/8)
	}
	w.b = append(w.b[:0], Protocol, frameShards)
	w.b = binary.LittleEndian.AppendUint64(w.b, w.self)
	w.b = binary.AppendUvarint(w.b, w.id)
	w.b = binary.AppendUvarint(w.b, uint64(w.begun))
	w.begun++
	w.head = len(w.b)
}

// shard adds one shard.
func (w *shardWriter) shard(n int) {
	w.b = binary.AppendUvarint(w.b, uint64(n))
	w.c.cfg.Table.Dump(n, func(b []byte) {
		if len(b) > MaxMessage {
			return // Change refused it, too
		}
		if len(w.b)+len(b) > partBytes && len(w.b) > w.head+8 {
			w.ready = append(w.ready, append(w.b, shardCut))
			w.b = nil
			w.begin()
			w.b = binary.AppendUvarint(w.b, uint64(n))
		}
		w.b = append(w.b, sessionNext)
		w.b = appendBytes(w.b, b)
		w.sessions++
	})
	w.b = append(w.b, shardEnd)
}

// flush sends the parts that are full, and the open one when it is larger than
// most.
func (w *shardWriter) flush(most int) error {
	for _, b := range w.ready {
		if err := w.publish(b); err != nil {
			return err
		}
	}
	w.ready = w.ready[:0]
	if len(w.b) <= max(most, w.head) {
		return nil
	}
	if err := w.publish(w.b); err != nil {
		return err
	}
	w.begin()
	return nil
}

func (w *shardWriter) publish(b []byte) error {
	w.sent++
	w.c.counts.servedParts.Add(1)
	w.c.counts.servedBytes.Add(uint64(len(b)))
	return w.c.cfg.Transport.Publish(w.to, b)
}
