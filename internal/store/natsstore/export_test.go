package natsstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// ExpireLetters drops letters older than that, as the store does by the hour
// with those older than 30 days.
func (s *Store) ExpireLetters(ctx context.Context, most time.Duration) { s.expireLetters(ctx, most) }

// Shorten drops the older half of the log, as the store does where the disk is
// nearly full.
func (s *Store) Shorten(ctx context.Context) { s.shorten(ctx) }

// StoreErasure lists, as another node does, who was erased by the record at a sequence
// of the log, and returns how this one hears of it.
func (s *Store) StoreErasure(ctx context.Context, sequence uint64) (heard func(), err error) {
	e := store.Erasure{User: sequence, Sequence: sequence, Time: 1}
	ack, err := s.publish(ctx, erasedSubject, appendErasure(nil, e))
	if err != nil {
		return nil, err
	}
	return func() { s.erasures.add(e, ack.Sequence) }, nil
}

// DropErasures forgets who was erased before a sequence of the log.
func (s *Store) DropErasures(ctx context.Context, first uint64) error {
	return s.dropErasures(ctx, first)
}

// HoldBases stands for a base that is being written, until it is let go.
func (s *Store) HoldBases() (let func()) {
	s.basing.Lock()
	return s.basing.Unlock
}

// StoredPieces returns what the messages of the bases' stream hold, whether a
// head lists them or not, each piece decompressed as far as that goes.
func (s *Store) StoredPieces(ctx context.Context) (all [][]byte, err error) {
	zip, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer zip.Close()
	info, err := s.base.Info(ctx)
	if err != nil {
		return nil, err
	}
	var run []byte // messages of one piece follow one another
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := s.base.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			run = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m.Data)
		if strings.HasPrefix(m.Subject, baseHeadSubject) {
			run = nil
			continue
		}
		run = append(run, m.Data...)
		if raw, err := zip.DecodeAll(run, nil); err == nil {
			all, run = append(all, raw), nil
		}
	}
	return all, nil
}
