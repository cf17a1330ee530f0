package natsstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	list, err := s.usableBases(ctx)
	if err != nil {
		return nil, err
	}
	var all []store.Base
	for i := range list {
		all = append(all, list[i].Base)
	}
	return all, nil
}

// usableBases are the heads of the bases that the log reaches back to. With
// several nodes they are read each time, since any may change them.
func (s *Store) usableBases(ctx context.Context) ([]baseHead, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	loaded := s.bases.loaded
	s.mu.Unlock()
	var list []baseHead
	var err error
	switch {
	case s.clustered:
		if list, err = s.readHeads(ctx); err != nil {
			return nil, err
		}
	case !loaded: // else nobody waits for a base that is being written
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
	if !s.clustered {
		s.mu.Lock()
		list = slices.Clone(s.bases.list)
		s.mu.Unlock()
	}
	return slices.DeleteFunc(list, func(h baseHead) bool { return h.From < first }), nil
}

// ReadBase implements store.Bases. Pieces that are written anew meanwhile are
// read where they are then.
func (s *Store) ReadBase(ctx context.Context, position uint64, first, last int, f func(n int, through uint64, state []byte) error) error {
	zip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxShard))
	if err != nil {
		return fmt.Errorf("natsstore: base: %w", err)
	}
	defer zip.Close()
	for seen := uint64(0); ; {
		h, err := s.baseHead(ctx, position)
		if err != nil {
			return err
		}
		if h.sequence == seen {
			return fmt.Errorf("natsstore: the base at %d was dropped: %w", position, store.ErrGap)
		}
		seen = h.sequence
		gone, err := s.readPieces(ctx, zip, h, &first, last, f)
		if !gone {
			return err
		}
	}
}

// baseHead returns the head of the base at a position.
func (s *Store) baseHead(ctx context.Context, position uint64) (*baseHead, error) {
	list, err := s.usableBases(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Position == position {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("natsstore: there is no base at %d: %w", position, store.ErrGap)
}

// readPieces calls f with the shards from first to last, and moves first on. gone
// says that a piece is no longer there.
func (s *Store) readPieces(ctx context.Context, zip *zstd.Decoder, h *baseHead, first *int, last int, f func(n int, through uint64, state []byte) error) (gone bool, err error) {
	for i, p := range h.pieces {
		if p.first > last || i+1 < len(h.pieces) && h.pieces[i+1].first <= *first {
			continue
		}
		raw, err := s.readPiece(ctx, zip, h, p)
		if errors.Is(err, errPieceGone) {
			return true, err
		}
		if err == nil {
			err = eachShard(raw, *first, last, f)
		}
		if err != nil {
			return false, err
		}
		if i+1 < len(h.pieces) {
			*first = h.pieces[i+1].first
		}
	}
	return false, nil
}

// errPieceGone: its base was dropped, or has another in its place.
var errPieceGone = errors.New("natsstore: a piece of a base is no longer there")

func (s *Store) readPiece(ctx context.Context, zip *zstd.Decoder, h *baseHead, p piece) ([]byte, error) {
	var body []byte
	for i := range p.messages {
		m, err := s.base.GetLastMsgForSubject(ctx, pieceName(h.id, p.at+i))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, errPieceGone
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
	ctx, unlock, err := s.lockBases(ctx)
	if err != nil {
		return err
	}
	defer unlock()
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
	info, err := s.base.Info(ctx, jetstream.WithSubjectFilter(s.subject(basePieceSubject+">")))
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
