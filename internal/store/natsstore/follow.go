package natsstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Ends implements store.Reading.
func (s *Store) Ends(ctx context.Context) (first, next uint64, err error) {
	if err := s.closed(); err != nil {
		return 0, 0, err
	}
	info, err := s.logs.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("natsstore: cannot read the log's ends: %w", refineRead(err))
	}
	return max(info.State.FirstSeq, 1), info.State.LastSeq + 1, nil
}

// SequenceAt implements store.Reading.
func (s *Store) SequenceAt(ctx context.Context, t time.Time) (uint64, error) {
	if err := s.closed(); err != nil {
		return 0, err
	}
	info, err := s.logs.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("natsstore: cannot read the log's ends: %w", refineRead(err))
	}
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1, nil
	}
	return s.firstSince(ctx, info.State, t)
}

// Follow implements store.Reading.
func (s *Store) Follow(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) error {
	first, _, err := s.Ends(ctx)
	switch {
	case err != nil:
		return err
	case from == 0:
		from = first
	case from < first:
		return s.gap(from, first)
	}
	if s.clustered {
		return s.followLeaders(ctx, from, f)
	}
	reader, err := s.logs.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		InactiveThreshold: readerLinger,
	})
	if err != nil {
		return fmt.Errorf("natsstore: cannot follow the log: %w", refineRead(err))
	}
	messages, err := reader.Messages(ahead())
	if err != nil {
		return fmt.Errorf("natsstore: cannot follow the log: %w", refineRead(err))
	}
	defer s.endReader(ctx, s.logs, reader)
	defer messages.Stop()
	for next := from; ; next++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return s.followEnd(ctx, err)
		}
		at, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("natsstore: %w", err)
		}
		if at.Sequence.Stream != next {
			if err := s.holeAt(ctx, next, at.Sequence.Stream); err != nil {
				return err
			}
			next = at.Sequence.Stream
		}
		if err := s.followed(ctx, m.Data(), next, f); err != nil {
			return err
		}
	}
}

// followed gives one message to f.
func (s *Store) followed(ctx context.Context, body []byte, seq uint64, f func(sequence uint64, records []presence.Record) error) error {
	records, err := parseMessage(body, seq)
	if err != nil {
		return err
	}
	if s.clustered {
		if err := s.heardErasures(ctx, seq, records); err != nil {
			return err
		}
	}
	return f(seq, records)
}

// followLeaders is Follow for several nodes: it goes on over the ends of leaders,
// servers and connections.
func (s *Store) followLeaders(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) error {
	ctx, cancel := s.untilStop(ctx)
	defer cancel()
	r := &reader{s: s, stream: s.logs, next: from}
	defer func() { r.close(ctx) }()
	for next := from; ; next++ {
		m, seq, err := r.await(ctx)
		if err != nil {
			return s.followEnd(ctx, err)
		}
		if seq != next {
			if err := s.holeAt(ctx, next, seq); err != nil {
				return err
			}
			next = seq
		}
		if err := s.followed(ctx, m.Data(), next, f); err != nil {
			return err
		}
	}
}

// followEnd says why no more messages come.
func (s *Store) followEnd(ctx context.Context, err error) error {
	switch stopped := s.closed(); {
	case stopped != nil:
		return stopped
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, jetstream.ErrMsgIteratorClosed):
		return fmt.Errorf("natsstore: %w: %w", store.ErrClosed, err)
	}
	return fmt.Errorf("natsstore: cannot follow the log: %w", refineRead(err))
}

// holeAt tells a log that was cut while we read from one with damage in it.
func (s *Store) holeAt(ctx context.Context, want, got uint64) error {
	first, _, err := s.Ends(ctx)
	if err != nil {
		return err
	}
	if want < first {
		return s.gap(want, first)
	}
	s.cfg.Logger.Error("the log has a hole: its files are damaged; what was in it is lost", "from", want, "through", got-1)
	return nil
}

func (s *Store) gap(want, first uint64) error {
	return fmt.Errorf("natsstore: the log begins at %d, %d is gone: %w", first, want, store.ErrGap)
}

func parseMessage(body []byte, seq uint64) ([]presence.Record, error) {
	records, err := presence.ParseRecords(body)
	if err != nil {
		return nil, fmt.Errorf("natsstore: log message %d cannot be read (written by a newer version, or damaged): %w", seq, err)
	}
	return records, nil
}

// ReplayUser implements store.Reading: messages without the user's id anywhere
// in their bytes are not parsed.
func (s *Store) ReplayUser(ctx context.Context, user presence.User, from, to uint64, f func(sequence uint64, records []presence.Record) error) error {
	first, next, err := s.Ends(ctx)
	switch {
	case err != nil:
		return err
	case from == 0:
		from = first
	case from < first:
		return s.gap(from, first)
	}
	id := []byte(user.ID)
	_, err = s.readLog(ctx, span{from: from, through: min(to, next) - 1}, func(seq uint64, body []byte) error {
		if !bytes.Contains(body, id) {
			return nil
		}
		records, err := parseMessage(body, seq)
		if err != nil {
			return err
		}
		return f(seq, records)
	})
	return err
}
