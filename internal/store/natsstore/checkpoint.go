package natsstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// mark is what Advance says.
type mark struct {
	through uint64 // shards are good through this log sequence
	note    uint64 // notes before this one are no longer needed
}

// markVersion stands in front of a stored mark.
const markVersion = 1

func (m mark) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, markVersion), m.through), m.note)
}

func parseMark(b []byte) (m mark, err error) {
	if len(b) == 0 || b[0] != markVersion {
		return mark{}, errors.New("the checkpoint's mark is of a newer version, or damaged")
	}
	var size int
	b = b[1:]
	for _, n := range []*uint64{&m.through, &m.note} {
		if *n, size = binary.Uvarint(b); size <= 0 {
			return mark{}, errors.New("the checkpoint's mark is damaged")
		}
		b = b[size:]
	}
	if len(b) > 0 {
		return mark{}, errors.New("the checkpoint's mark is damaged")
	}
	return m, nil
}

func (s *Store) loadMark(ctx context.Context) (mark, error) {
	m, err := s.ckpt.GetLastMsgForSubject(ctx, markSubject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, fmt.Errorf("natsstore: cannot read the checkpoint's mark: %w", refineRead(err))
	}
	at, err := parseMark(m.Data)
	if err != nil {
		return mark{}, fmt.Errorf("natsstore: %w", err)
	}
	return at, nil
}

// SaveNote implements store.Checkpoints.
func (s *Store) SaveNote(ctx context.Context, body []byte) (note uint64, err error) {
	ack, err := s.publishInRoom(ctx, noteSubject, body)
	if err != nil {
		return 0, fmt.Errorf("natsstore: note: %w", err)
	}
	return ack.Sequence, nil
}

// Advance implements store.Checkpoints. Once the mark is on disk it drops the
// notes before it and trims the log; what of that fails is logged and done
// after the next Advance.
func (s *Store) Advance(ctx context.Context, through, note uint64) error {
	s.mu.Lock()
	old := s.through
	s.mu.Unlock()
	if through < old {
		return fmt.Errorf("natsstore: %w: the checkpoint would go from %d to %d", errBack, old, through)
	}
	if err := s.loadErasures(ctx); err != nil {
		return err
	}
	if err := s.saveMark(ctx, mark{through, note}); err != nil {
		return fmt.Errorf("natsstore: advance: %w", err)
	}
	s.mu.Lock()
	s.through = max(s.through, through)
	s.mu.Unlock()
	if err := errors.Join(s.dropNotes(ctx, note), s.trim(ctx)); err != nil {
		s.cfg.Logger.Warn("old history and notes stay until the next checkpoint", "error", err)
	}
	return nil
}

// saveMark stores what Advance says. Of several nodes the one that says less comes
// too late.
func (s *Store) saveMark(ctx context.Context, m mark) error {
	if !s.clustered {
		_, err := s.publish(ctx, markSubject, m.append(nil))
		return err
	}
	if err := s.scanErasures(ctx, m.through); err != nil {
		return err
	}
	for {
		var old mark
		var at uint64
		stored, err := s.ckpt.GetLastMsgForSubject(ctx, markSubject)
		if err == nil {
			old, err = parseMark(stored.Data)
			at = stored.Sequence
		}
		switch {
		case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
			return refineRead(err)
		case m.through < old.through:
			return fmt.Errorf("%w: the checkpoint would go from %d to %d", errBack, old.through, m.through)
		}
		m.note = max(m.note, old.note)
		_, err = s.publish(ctx, markSubject, m.append(nil), jetstream.WithExpectLastSequencePerSubject(at))
		if !errors.Is(err, errMoved) || ctx.Err() != nil {
			return err
		}
	}
}

// dropNotes forgets the notes before the given one, save the last of all: see
// cut.
func (s *Store) dropNotes(ctx context.Context, note uint64) error {
	info, err := s.notes.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: notes: %w", refineRead(err))
	}
	if note = min(note, info.State.LastSeq); note <= info.State.FirstSeq {
		return nil
	}
	if err := s.notes.Purge(ctx, jetstream.WithPurgeSequence(note)); err != nil {
		return fmt.Errorf("natsstore: drop of old notes: %w", refineRead(err))
	}
	return nil
}

// Load implements store.Checkpoints.
func (s *Store) Load(ctx context.Context, shard func(n int, through uint64, data []byte) error, note func(data []byte) error) (through uint64, err error) {
	if err := s.closed(); err != nil {
		return 0, err
	}
	m, err := s.loadMark(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.loadShards(ctx, shard); err != nil {
		return 0, err
	}
	info, err := s.notes.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("natsstore: notes: %w", refineRead(err))
	}
	notes := span{from: max(m.note, info.State.FirstSeq), through: info.State.LastSeq}
	if err := s.read(ctx, s.notes, notes, func(m jetstream.Msg, _ uint64) error { return note(m.Data()) }); err != nil {
		return 0, err
	}
	return m.through, nil
}
