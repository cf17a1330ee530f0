package natsstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// SaveBase implements store.Bases.
func (s *Store) SaveBase(ctx context.Context) (store.Base, error) {
	ctx, unlock, err := s.lockBases(ctx)
	if err != nil {
		return store.Base{}, err
	}
	defer unlock()
	// Before any shard: each is good through the mark at least.
	m, err := s.loadMark(ctx)
	if err != nil {
		return store.Base{}, err
	}
	if m.through == 0 {
		return store.Base{}, store.ErrNoCheckpoint
	}
	if h, ok, err := s.sameBase(ctx); ok || err != nil {
		return h.Base, err
	}
	w := &baseWriter{s: s, ctx: ctx, id: fmt.Sprintf("%x-%x", time.Now().UnixMilli(), rand.Uint32())}
	if w.pack, err = newPacker(); err != nil {
		return store.Base{}, fmt.Errorf("natsstore: base: %w", err)
	}
	defer w.pack.close()
	h, err := w.write(m)
	if err != nil {
		s.dropPieces(ctx, w.id)
		return store.Base{}, fmt.Errorf("natsstore: base: %w", err)
	}
	s.mu.Lock()
	s.bases.list = append(s.bases.list, h)
	s.mu.Unlock()
	s.tidyBases(ctx)
	s.askScrub() // who was erased while it was written
	return h.Base, nil
}

// sameBase returns the newest base if nothing came into the log since. One that
// the log was cut behind meanwhile makes room for another at its position.
func (s *Store) sameBase(ctx context.Context) (h baseHead, ok bool, err error) {
	first, next, err := s.Ends(ctx)
	if err != nil {
		return h, false, err
	}
	s.mu.Lock()
	if n := len(s.bases.list); n > 0 {
		h = s.bases.list[n-1]
	}
	s.mu.Unlock()
	switch {
	case h.id == "" || h.Position+1 != next:
		return h, false, nil
	case h.From < first:
		return h, false, s.dropBase(ctx, h.Position)
	}
	return h, true, nil
}

// baseWriter writes one base.
type baseWriter struct {
	s     *Store
	ctx   context.Context
	id    string
	pack  packer
	gone  map[int][]store.Gone // by shard
	raw   []byte               // shards of the piece that grows
	first int                  // the first of them
	head  baseHead
	sent  int // messages of pieces
}

func (w *baseWriter) write(m mark) (baseHead, error) {
	w.head = baseHead{id: w.id}
	w.head.From, w.head.At = m.through+1, presence.At(time.Now())
	if err := w.erased(); err != nil {
		return w.head, err
	}
	for n := range store.Shards {
		h, state, err := w.s.storedShard(w.ctx, n)
		if err != nil {
			return w.head, fmt.Errorf("shard %d: %w", n, err)
		}
		if h.sequence == 0 {
			continue
		}
		if len(w.raw) == 0 {
			w.first = n
		}
		through := max(h.through, m.through)
		// What is no shard is kept as it is.
		if users, _, err := store.StripShard(state, through, w.gone[n]); err == nil {
			state = users
		}
		w.raw = appendPieceShard(w.raw, n, through, state)
		if len(w.raw) >= pieceSize {
			if err := w.piece(); err != nil {
				return w.head, err
			}
		}
	}
	if err := w.piece(); err != nil {
		return w.head, err
	}
	// After all shards: whatever is in one was in the log by now.
	info, err := w.s.logs.Info(w.ctx)
	if err != nil {
		return w.head, refineRead(err)
	}
	w.head.Position = info.State.LastSeq
	return w.head, w.s.storeHead(w.ctx, &w.head, w.s.publishInRoom)
}

// erased looks up who must not be in the base, before any shard is read.
func (w *baseWriter) erased() error {
	if err := w.s.loadErasures(w.ctx); err != nil {
		return err
	}
	gone, clean, err := w.s.goneFrom(w.ctx, &w.head, map[store.Erasure]presence.User{})
	w.head.clean, w.gone = clean, map[int][]store.Gone{}
	for _, g := range gone {
		n := store.Shard(g.Name)
		w.gone[n] = append(w.gone[n], g)
	}
	return err
}

// publisher is publish or publishInRoom.
type publisher func(ctx context.Context, subject string, body []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)

// storeHead makes a base of the pieces that are stored.
func (s *Store) storeHead(ctx context.Context, h *baseHead, publish publisher) error {
	body := h.append(nil)
	ack, err := publish(ctx, baseHeadSubject+h.id, body)
	if err != nil {
		return err
	}
	h.sequence = ack.Sequence
	h.Bytes += int64(len(body))
	return nil
}

func appendPieceShard(dst []byte, n int, through uint64, state []byte) []byte {
	dst = presence.AppendNumber(presence.AppendNumber(dst, uint64(n)), through)
	return append(presence.AppendNumber(dst, uint64(len(state))), state...)
}

// piece stores the shards that gathered.
func (w *baseWriter) piece() error {
	if len(w.raw) == 0 {
		return nil
	}
	body := w.pack.zip.EncodeAll(w.raw, nil)
	p := piece{first: w.first, at: w.sent, raw: len(w.raw)}
	w.head.Bytes += int64(len(body))
	var err error
	if p.messages, err = w.s.storePiece(w.ctx, w.id, w.sent, body, w.s.publishInRoom); err != nil {
		return err
	}
	w.sent += p.messages
	w.head.pieces = append(w.head.pieces, p)
	w.raw = w.raw[:0]
	return nil
}

// storePiece stores a compressed piece from its message `at` on, and returns how
// many it takes.
func (s *Store) storePiece(ctx context.Context, id string, at int, body []byte, publish publisher) (messages int, err error) {
	for len(body) > 0 {
		size := min(partSize, len(body))
		if _, err := publish(ctx, pieceName(id, at+messages), body[:size]); err != nil {
			return 0, fmt.Errorf("message %d: %w", at+messages, err)
		}
		body = body[size:]
		messages++
	}
	return messages, nil
}

// storedShard reads the newest state of shard n; the head's sequence is 0 when
// there is none. A state whose parts go while they are read was replaced.
func (s *Store) storedShard(ctx context.Context, n int) (h head, state []byte, err error) {
	for range shardTries {
		var m *jetstream.RawStreamMsg
		m, err = s.ckpt.GetLastMsgForSubject(ctx, shardSubject+strconv.Itoa(n))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return head{}, nil, nil
		}
		if err != nil {
			return head{}, nil, refineRead(err)
		}
		if h, state, err = s.loadShard(ctx, n, m.Data); err == nil {
			h.sequence = m.Sequence
			return h, state, nil
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
	}
	return head{}, nil, err
}
