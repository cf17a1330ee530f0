package natsstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// A shard's state is one message, its head. What does not fit in one message
// goes into parts first, under the name of a set that is new each time; the
// head that names the set comes last. So the former state stays whole until the
// new one is, wherever a crash falls.

// partSize keeps a message below the usual limit of 1 MB of engines that are
// not ours.
const partSize = 896 << 10

// errBack means that a newer state of the shard is stored.
var errBack = fmt.Errorf("%w: %w: its state cannot go back", errMoved, store.ErrBehind)

// maxShard bounds a state, in bytes before compression: what the node could
// not hold in memory twice is a mistake.
const maxShard = 1 << 30

// SaveShard implements store.Checkpoints. data is compressed; more than 896 kB
// of that takes several messages, more than 1 GB is refused.
func (s *Store) SaveShard(ctx context.Context, n int, through uint64, data []byte) error {
	if n < 0 || len(data) > maxShard {
		return fmt.Errorf("natsstore: shard %d of %d bytes: numbers begin at 0 and states end at %d: %w", n, len(data), maxShard, store.ErrRefused)
	}
	h := head{through: through, size: uint64(len(data)), body: s2.Encode(nil, data)}
	err := s.saveShard(ctx, n, h)
	for range shardTries {
		if !s.clustered || !errors.Is(err, errMoved) || errors.Is(err, errBack) {
			break
		}
		// Another node saved it since we looked. Ours is as good if it is not older.
		err = s.saveShard(ctx, n, h)
	}
	if err != nil {
		return fmt.Errorf("natsstore: shard %d: %w", n, err)
	}
	return nil
}

func (s *Store) saveShard(ctx context.Context, n int, h head) error {
	old, err := s.head(ctx, n)
	if err != nil {
		return err
	}
	if h.through < old.through {
		return fmt.Errorf("%w from log position %d to %d", errBack, old.through, h.through)
	}
	firstPart := uint64(0)
	if len(h.body) > partSize {
		if firstPart, err = s.saveParts(ctx, n, &h); err != nil {
			return err
		}
	}
	// The engine takes the head only if it is the next after the one we know.
	ack, err := s.publishInRoom(ctx, shardSubject+strconv.Itoa(n), h.append(nil), jetstream.WithExpectLastSequencePerSubject(old.sequence))
	s.mu.Lock()
	if err != nil {
		delete(s.heads, n) // perhaps it is stored: look before the next
	} else {
		s.heads[n] = head{through: h.through, parts: h.parts, sequence: ack.Sequence}
	}
	s.mu.Unlock()
	if err == nil && h.parts+old.parts > 0 {
		if firstPart == 0 {
			firstPart = ack.Sequence // what is behind the head may be another node's, for the next
		}
		s.dropParts(ctx, n, firstPart)
	}
	return err
}

// saveParts stores h's body as a new set of parts, leaves in h what names
// them, and returns the sequence of the first.
func (s *Store) saveParts(ctx context.Context, n int, h *head) (first uint64, err error) {
	body := h.body
	h.set, h.body = rand.Uint64(), nil
	for len(body) > 0 {
		size := min(partSize, len(body))
		ack, err := s.publishInRoom(ctx, partName(n, h.set, h.parts), body[:size])
		if err != nil {
			return 0, fmt.Errorf("part %d: %w", h.parts, err)
		}
		if h.parts == 0 {
			first = ack.Sequence
		}
		body = body[size:]
		h.parts++
	}
	return first, nil
}

func partName(n int, set uint64, i uint64) string {
	return fmt.Sprintf("%s%d.%x.%d", partSubject, n, set, i)
}

// dropParts forgets the parts of shard n before the given sequence. Those of a save that a crash broke off go with them.
func (s *Store) dropParts(ctx context.Context, n int, before uint64) {
	err := s.ckpt.Purge(ctx, jetstream.WithPurgeSubject(fmt.Sprintf("%s%d.>", partSubject, n)), jetstream.WithPurgeSequence(before))
	if err != nil {
		s.cfg.Logger.Warn("old parts of a checkpoint stay until its next one", "shard", n, "error", err)
	}
}

// head returns what is known of the newest state of shard n without its body;
// the zero head when there is none.
func (s *Store) head(ctx context.Context, n int) (head, error) {
	s.mu.Lock()
	h, known := s.heads[n]
	s.mu.Unlock()
	if known {
		return h, nil
	}
	if err := s.closed(); err != nil {
		return head{}, err
	}
	m, err := s.ckpt.GetLastMsgForSubject(ctx, shardSubject+strconv.Itoa(n))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("cannot read its last state: %w", refineRead(err))
	}
	if h, err = parseHead(m.Data); err != nil {
		return head{}, err
	}
	h.sequence, h.body = m.Sequence, nil
	return h, nil
}

// loadShards calls f with each shard's newest state.
func (s *Store) loadShards(ctx context.Context, f func(n int, through uint64, data []byte) error) error {
	return s.readAll(ctx, s.ckpt, shardSubject+"*", func(m jetstream.Msg, seq uint64) error {
		n, err := strconv.Atoi(strings.TrimPrefix(m.Subject(), shardSubject))
		if err != nil {
			return fmt.Errorf("natsstore: a checkpoint on subject %s is not ours", m.Subject())
		}
		h, state, err := s.loadShard(ctx, n, m.Data())
		if s.clustered && errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // another node replaced it, and dropped its parts: it comes again
		}
		if err != nil {
			return fmt.Errorf("natsstore: shard %d of the checkpoint cannot be read (written by a newer version, or damaged): %w", n, err)
		}
		h.sequence, h.body = seq, nil
		s.mu.Lock()
		s.heads[n] = h
		s.mu.Unlock()
		return f(n, h.through, state)
	})
}

// loadShard makes a state of the head's message and its parts.
func (s *Store) loadShard(ctx context.Context, n int, message []byte) (h head, state []byte, err error) {
	if h, err = parseHead(message); err != nil {
		return head{}, nil, err
	}
	body := slices.Clip(h.body) // empty when there are parts
	for i := range h.parts {
		part, err := s.ckpt.GetLastMsgForSubject(ctx, partName(n, h.set, i))
		if err != nil {
			return head{}, nil, fmt.Errorf("part %d of %d: %w", i, h.parts, refineRead(err))
		}
		body = append(body, part.Data...)
	}
	if size, err := s2.DecodedLen(body); err != nil || uint64(size) != h.size {
		return head{}, nil, errHead
	}
	if state, err = s2.Decode(nil, body); err != nil {
		return head{}, nil, err
	}
	return h, state, nil
}
