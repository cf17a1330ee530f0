package natsstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
