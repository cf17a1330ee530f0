package natsstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

func pieceName(id string, i int) string { return basePieceSubject + id + "." + strconv.Itoa(i) }

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
