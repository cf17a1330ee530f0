package natsstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Append implements store.Log. It waits at most 5 s for the disk; a message of
// more than natsbus.MaxPayload bytes is refused.
func (s *Store) Append(ctx context.Context, id string, records []presence.Record) (store.Position, error) {
	if len(records) == 0 || len(records) > store.MaxRecords {
		return store.Position{}, fmt.Errorf("natsstore: append of %d records, want 1 to %d: %w", len(records), store.MaxRecords, store.ErrRefused)
	}
	body := presence.AppendRecords(make([]byte, 0, 256*len(records)), records)
	// A message nobody can read would keep the node from ever starting again.
	if _, err := presence.ParseRecords(body); err != nil {
		return store.Position{}, fmt.Errorf("natsstore: append: %w: the records could not be read back: %w", store.ErrRefused, err)
	}
	ack, err := s.publishOnce(ctx, logSubject, body, id)
	if err == nil {
		err = s.saveErasures(ctx, ack.Sequence, records)
	}
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	if err != nil {
		return store.Position{}, fmt.Errorf("natsstore: append: %w", err)
	}
	return store.Position{Sequence: ack.Sequence}, nil
}

// Replay implements store.Log. A hole in the log (damaged files) is logged and
// stepped over: what is there counts.
func (s *Store) Replay(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) (next uint64, err error) {
	if err := s.closed(); err != nil {
		return from, err
	}
	info, err := s.logs.Info(ctx)
	if err != nil {
		return from, fmt.Errorf("natsstore: cannot read the log's ends: %w", refineRead(err))
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	switch {
	case from == 0:
		from = max(first, 1)
	case from < first:
		return from, s.gap(from, first)
	}
	return s.readLog(ctx, span{from: from, through: last}, func(seq uint64, body []byte) error {
		records, err := parseMessage(body, seq)
		if err != nil {
			return err
		}
		return f(seq, records)
	})
}

// readLog reads a part of the log, and returns what would come next. Where the log
// was cut meanwhile, behind the back of a slow f, it ends with store.ErrGap.
func (s *Store) readLog(ctx context.Context, part span, f func(seq uint64, body []byte) error) (next uint64, err error) {
	next = part.from
	err = s.read(ctx, s.logs, part, func(m jetstream.Msg, seq uint64) error {
		if seq != next {
			if err := s.holeAt(ctx, next, seq); err != nil {
				return err
			}
		}
		if err := f(seq, m.Data()); err != nil {
			return err
		}
		next = seq + 1
		return nil
	})
	if err == nil && next <= part.through {
		err = s.holeAt(ctx, next, part.through+1)
	}
	return next, err
}

// refineRead tells a stopped store from other failures to read.
func refineRead(err error) error {
	if r := refine(err); errors.Is(r, store.ErrClosed) {
		return r
	}
	return err
}
