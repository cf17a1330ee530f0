package natsstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A base is a run of pieces, each some whole shards, compressed for itself so
// that one shard can be read without the others. A piece takes one message, or
// several when it is too big for one. The head, which lists the pieces, is
// stored last: without it they are no base, and are cleared away later.

const (
	// pieceSize is how much of shards a piece holds before compression, at least.
	pieceSize = 1 << 20

	// baseShare is the part of the log's limit that bases may take.
	baseShare = 4

	// straggler is the age from which on pieces without a head are no longer
	// on their way.
	straggler = time.Hour

	// shardTries is how often a shard is read that somebody replaces meanwhile.
	shardTries = 5
)

// SaveBase implements store.Bases.
func (s *Store) SaveBase(ctx context.Context) (store.Base, error) {
	s.basing.Lock()
	defer s.basing.Unlock()
	if err := s.loadBases(ctx); err != nil {
		return store.Base{}, err
	}
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
	if w.zip, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault)); err != nil {
		return store.Base{}, fmt.Errorf("natsstore: base: %w", err)
	}
	defer w.zip.Close()
	h, err := w.write(m)
	if err != nil {
		s.dropPieces(ctx, w.id)
		return store.Base{}, fmt.Errorf("natsstore: base: %w", err)
	}
	s.mu.Lock()
	s.bases.list = append(s.bases.list, h)
	s.mu.Unlock()
	s.tidyBases(ctx)
	return h.Base, nil
}

// sameBase returns the newest base if nothing came into the log since.
func (s *Store) sameBase(ctx context.Context) (h baseHead, ok bool, err error) {
	_, next, err := s.Ends(ctx)
	if err != nil {
		return h, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.bases.list); n > 0 && s.bases.list[n-1].Position+1 == next {
		return s.bases.list[n-1], true, nil
	}
	return h, false, nil
}

// baseWriter writes one base.
type baseWriter struct {
	s     *Store
	ctx   context.Context
	id    string
	zip   *zstd.Encoder
	raw   []byte // shards of the piece that grows
	first int    // the first of them
	head  baseHead
	sent  int // messages of pieces
}

func (w *baseWriter) write(m mark) (baseHead, error) {
	w.head = baseHead{id: w.id}
	w.head.From, w.head.At = m.through+1, presence.At(time.Now())
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
		w.raw = presence.AppendNumber(presence.AppendNumber(w.raw, uint64(n)), max(h.through, m.through))
		w.raw = append(presence.AppendNumber(w.raw, uint64(len(state))), state...)
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
	body := w.head.append(nil)
	w.head.Bytes += int64(len(body))
	_, err = w.s.publishInRoom(w.ctx, baseHeadSubject+w.id, body)
	return w.head, err
}

// piece stores the shards that gathered.
func (w *baseWriter) piece() error {
	if len(w.raw) == 0 {
		return nil
	}
	body := w.zip.EncodeAll(w.raw, nil)
	p := piece{first: w.first, at: w.sent, raw: len(w.raw)}
	w.head.Bytes += int64(len(body))
	for len(body) > 0 {
		size := min(partSize, len(body))
		if _, err := w.s.publishInRoom(w.ctx, pieceName(w.id, w.sent), body[:size]); err != nil {
			return fmt.Errorf("message %d: %w", w.sent, err)
		}
		body = body[size:]
		w.sent++
	}
	p.messages = w.sent - p.at
	w.head.pieces = append(w.head.pieces, p)
	w.raw = w.raw[:0]
	return nil
}

func pieceName(id string, i int) string { return basePieceSubject + id + "." + strconv.Itoa(i) }

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

// Bases implements store.Bases.
func (s *Store) Bases(ctx context.Context) ([]store.Base, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	loaded := s.bases.loaded
	s.mu.Unlock()
	if !loaded { // else nobody waits for a base that is being written
		s.basing.Lock()
		err := s.loadBases(ctx)
		s.basing.Unlock()
		if err != nil {
			return nil, err
		}
	}
	first, _, err := s.Ends(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []store.Base
	for i := range s.bases.list {
		if b := s.bases.list[i].Base; b.From >= first {
			all = append(all, b)
		}
	}
	return all, nil
}

// ReadBase implements store.Bases.
func (s *Store) ReadBase(ctx context.Context, position uint64, first, last int, f func(n int, through uint64, state []byte) error) error {
	if _, err := s.Bases(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	var h *baseHead
	for i := range s.bases.list {
		if s.bases.list[i].Position == position {
			found := s.bases.list[i]
			h = &found
		}
	}
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("natsstore: there is no base at %d: %w", position, store.ErrGap)
	}
	zip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxShard))
	if err != nil {
		return fmt.Errorf("natsstore: base: %w", err)
	}
	defer zip.Close()
	for i, p := range h.pieces {
		if p.first > last || i+1 < len(h.pieces) && h.pieces[i+1].first <= first {
			continue
		}
		raw, err := s.readPiece(ctx, zip, h, p)
		if err == nil {
			err = eachShard(raw, first, last, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readPiece(ctx context.Context, zip *zstd.Decoder, h *baseHead, p piece) ([]byte, error) {
	var body []byte
	for i := range p.messages {
		m, err := s.base.GetLastMsgForSubject(ctx, pieceName(h.id, p.at+i))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, fmt.Errorf("natsstore: the base at %d was dropped: %w", h.Position, store.ErrGap)
		}
		if err != nil {
			return nil, fmt.Errorf("natsstore: cannot read a base: %w", refineRead(err))
		}
		body = append(body, m.Data...)
	}
	raw, err := zip.DecodeAll(body, make([]byte, 0, p.raw))
	if err != nil || len(raw) != p.raw {
		return nil, fmt.Errorf("natsstore: the base at %d is damaged: %w", h.Position, errors.Join(err, errBase))
	}
	return raw, nil
}

// eachShard calls f with the shards of a piece within the bounds.
func eachShard(raw []byte, first, last int, f func(n int, through uint64, state []byte) error) (err error) {
	for len(raw) > 0 {
		var n, through, size uint64
		for _, to := range []*uint64{&n, &through, &size} {
			if *to, raw, err = presence.ParseNumber(raw); err != nil {
				return errBase
			}
		}
		if size > uint64(len(raw)) || n >= store.Shards {
			return errBase
		}
		state := raw[:size:size]
		raw = raw[size:]
		if int(n) < first || int(n) > last {
			continue
		}
		if err := f(int(n), through, state); err != nil {
			return err
		}
	}
	return nil
}

// DropBase implements store.Bases.
func (s *Store) DropBase(ctx context.Context, position uint64) error {
	s.basing.Lock()
	defer s.basing.Unlock()
	if err := s.loadBases(ctx); err != nil {
		return err
	}
	return s.dropBase(ctx, position)
}

// dropBase does DropBase's work; basing is held.
func (s *Store) dropBase(ctx context.Context, position uint64) error {
	s.mu.Lock()
	var gone []baseHead
	kept := s.bases.list[:0:0]
	for _, h := range s.bases.list {
		if h.Position == position {
			gone = append(gone, h)
		} else {
			kept = append(kept, h)
		}
	}
	was := s.bases.list
	s.bases.list = kept // first: nobody begins at what is about to go
	s.mu.Unlock()
	for _, h := range gone {
		if err := s.base.Purge(ctx, jetstream.WithPurgeSubject(baseHeadSubject+h.id)); err != nil {
			s.mu.Lock()
			s.bases.list = was
			s.mu.Unlock()
			return fmt.Errorf("natsstore: drop of a base: %w", refineRead(err))
		}
		s.dropPieces(ctx, h.id)
	}
	return nil
}

func (s *Store) dropPieces(ctx context.Context, id string) {
	if err := s.base.Purge(ctx, jetstream.WithPurgeSubject(basePieceSubject+id+".*")); err != nil {
		s.cfg.Logger.Warn("pieces of an old base stay until a next one", "error", err)
	}
}

// tidyBases drops bases that nobody can use, those over their share of the
// disk, and pieces of which a crash kept the head from being written.
func (s *Store) tidyBases(ctx context.Context) {
	first, _, err := s.Ends(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	most := s.maxLog / baseShare
	var useless []uint64
	var bytes int64
	for i := len(s.bases.list) - 1; i >= 0; i-- {
		h := &s.bases.list[i]
		if bytes += h.Bytes; h.From < first || most > 0 && bytes > most && i < len(s.bases.list)-1 {
			useless = append(useless, h.Position)
		}
	}
	known := map[string]bool{}
	for i := range s.bases.list {
		known[s.bases.list[i].id] = true
	}
	s.mu.Unlock()
	for _, position := range useless {
		if err := s.dropBase(ctx, position); err != nil {
			s.cfg.Logger.Warn("an old base stays until a next one", "error", err)
		}
	}
	info, err := s.base.Info(ctx, jetstream.WithSubjectFilter(basePieceSubject+">"))
	if err != nil {
		return
	}
	for subject := range info.State.Subjects {
		id, _, _ := strings.Cut(strings.TrimPrefix(subject, basePieceSubject), ".")
		if !known[id] && time.Since(pieceTime(id)) > straggler {
			known[id] = true
			s.dropPieces(ctx, id)
		}
	}
}

// pieceTime is when the base of that id was begun.
func pieceTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
