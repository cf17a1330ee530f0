package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Trimming begins at one share of the log's size limit and goes down to the
	// other, so that it is rare and what it cuts is files, not lines.
	trimAbove = 0.90
	trimTo    = 0.85

	// ageSlack is the part of the age limit by which the oldest record may
	// exceed it before a trim, for the same reason: an hour of 30 days.
	ageSlack = 720
)

// trim drops what the limits no longer allow, as far as the checkpoint lets.
func (s *Store) trim(ctx context.Context) error {
	return s.cut(ctx, func(st jetstream.StreamState, maxBytes int64) (uint64, error) {
		var to uint64
		if limit := float64(maxBytes); maxBytes > 0 && float64(st.Bytes) > trimAbove*limit {
			// Messages are alike enough; what is missing, the next trim does.
			excess := (float64(st.Bytes) - trimTo*limit) / float64(st.Bytes)
			to = st.FirstSeq + uint64(excess*float64(st.Msgs)) + 1
		}
		oldest := time.Now().Add(-s.cfg.MaxAge)
		if st.FirstTime.Before(oldest.Add(-s.cfg.MaxAge / ageSlack)) {
			young, err := s.firstSince(ctx, st, oldest)
			if err != nil {
				return 0, err
			}
			to = max(to, young)
		}
		return to, nil
	})
}

// shorten drops the older half of the log, as far as the checkpoint lets. It
// logs what it did.
func (s *Store) shorten(ctx context.Context) {
	if s.clustered { // another node may be the one that moves the checkpoint on
		m, err := s.loadMark(ctx)
		if err != nil {
			s.cfg.Logger.Error("cannot shorten history", "error", err)
			return
		}
		s.mu.Lock()
		s.through = max(s.through, m.through)
		s.mu.Unlock()
	}
	var before, after uint64
	err := s.cut(ctx, func(st jetstream.StreamState, _ int64) (uint64, error) {
		before, after = st.FirstSeq, st.FirstSeq+st.Msgs/2
		return after, nil
	})
	if err != nil {
		s.cfg.Logger.Error("cannot shorten history", "error", err)
		return
	}
	s.cfg.Logger.Warn("history shortened for lack of disk", "messages_asked", after-before)
}

// cut drops all messages before the sequence that want returns, though never
// one behind the newest checkpoint, nor the last: the engine writes an empty
// log anew, and what need not be done cannot fail half way.
func (s *Store) cut(ctx context.Context, want func(st jetstream.StreamState, maxBytes int64) (uint64, error)) error {
	s.trimming.Lock()
	defer s.trimming.Unlock()
	s.mu.Lock()
	through := s.through
	s.mu.Unlock()
	info, err := s.logs.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: trim: %w", refineRead(err))
	}
	if info.State.Msgs == 0 {
		return nil
	}
	to, err := want(info.State, info.Config.MaxBytes)
	if err != nil {
		return err
	}
	if to = min(to, through, info.State.LastSeq); to <= info.State.FirstSeq {
		return nil
	}
	if err := s.logs.Purge(ctx, jetstream.WithPurgeSequence(to)); err != nil {
		return fmt.Errorf("natsstore: trim of the log before %d: %w", to, refineRead(err))
	}
	return s.dropErasures(ctx, to)
}

// firstSince finds the oldest message stored at or after t, or the one after
// the last. The log has no holes save behind damage, where the search errs on
// the side of keeping.
func (s *Store) firstSince(ctx context.Context, st jetstream.StreamState, t time.Time) (uint64, error) {
	from, to := st.FirstSeq, st.LastSeq+1
	for from < to {
		mid := from + (to-from)/2
		m, err := s.logs.GetMsg(ctx, mid)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			m, err = s.beyondDamage(ctx, mid)
		}
		if err != nil {
			return 0, fmt.Errorf("natsstore: trim by age: %w", refineRead(err))
		}
		if m != nil && m.Time.Before(t) {
			from = m.Sequence + 1
		} else {
			to = mid
		}
	}
	return from, nil
}

// beyondDamage returns the message that follows one that cannot be read, nil if there is
// none that can: a single one must not keep the log from being cut for ever.
func (s *Store) beyondDamage(ctx context.Context, damaged uint64) (*jetstream.RawStreamMsg, error) {
	s.cfg.Logger.Warn("a message of the log cannot be read: its files are damaged; what is old is found by those beside it", "sequence", damaged)
	m, err := s.logs.GetMsg(ctx, damaged, jetstream.WithGetMsgSubject(s.subject(logSubject)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}
