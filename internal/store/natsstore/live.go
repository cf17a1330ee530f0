package natsstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const liveVersion = 1

var errLive = errors.New("natsstore: a stored sign of life is of a newer version, or damaged")

func parseLive(b []byte) (incarnation uint64, err error) {
	if len(b) == 0 || b[0] != liveVersion {
		return 0, errLive
	}
	incarnation, rest, err := presence.ParseNumber(b[1:])
	if err != nil || len(rest) > 0 {
		return 0, errLive
	}
	return incarnation, nil
}

func liveName(name string) string {
	return liveSubject + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// lives is the stream of signs of life.
func (s *Store) lives(ctx context.Context) (jetstream.Stream, error) {
	return s.lazily(ctx, &s.live, jetstream.StreamConfig{
		Name:              liveStream,
		Subjects:          []string{liveSubject + "*"},
		MaxMsgsPerSubject: 1,
	})
}

// Renew implements store.Liveness. The engine takes a renewal only behind the one
// that it was made on, so two nodes of one name cannot both live.
func (s *Store) Renew(ctx context.Context, name string, incarnation uint64) error {
	stream, err := s.lives(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: sign of life: %w", err)
	}
	s.renewing.Lock()
	last := s.renewals[name]
	s.renewing.Unlock()
	at, known := last.Renewal, last.Incarnation == incarnation && last.Renewal != 0
	for {
		if !known {
			if at, err = s.lastLife(ctx, stream, name, incarnation); err != nil {
				return err
			}
		}
		body := presence.AppendNumber([]byte{liveVersion}, incarnation)
		ack, err := s.publish(ctx, liveName(name), body, jetstream.WithExpectLastSequencePerSubject(at))
		s.renewing.Lock()
		if delete(s.renewals, name); err == nil {
			if s.renewals == nil {
				s.renewals = map[string]store.Life{}
			}
			s.renewals[name] = store.Life{Incarnation: incarnation, Renewal: ack.Sequence}
		}
		back := err == nil && ack.Sequence < s.fence
		if err == nil && !back {
			s.fence = ack.Sequence
		}
		if s.born.IsZero() {
			s.born = stream.CachedInfo().Created
		}
		was := s.born
		s.renewing.Unlock()
		if back {
			return s.isAnew(ctx, stream, was)
		}
		if err == nil {
			return nil
		}
		if known = false; !errors.Is(err, errMoved) || ctx.Err() != nil {
			return fmt.Errorf("natsstore: sign of life: %w", err)
		}
	}
}

// isAnew fails when the stream is not the one that was written first. Nothing else takes its
// sequences back.
func (s *Store) isAnew(ctx context.Context, stream jetstream.Stream, was time.Time) error {
	info, err := stream.Info(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("natsstore: sign of life: %w: %w", store.ErrUnknown, refineRead(err))
	case info.Created.Equal(was):
		return nil
	}
	return fmt.Errorf("natsstore: the streams with prefix %q are of %v, those that this node wrote were of %v: %w", s.prefix, info.Created, was, store.ErrAnew)
}

// lastLife returns where the last renewal of a name stands, unless a later
// incarnation made it.
func (s *Store) lastLife(ctx context.Context, stream jetstream.Stream, name string, incarnation uint64) (at uint64, err error) {
	m, err := stream.GetLastMsgForSubject(ctx, liveName(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("natsstore: sign of life: %w: %w", store.ErrUnknown, refineRead(err))
	}
	stored, err := parseLive(m.Data)
	switch {
	case err != nil:
		return 0, err
	case stored > incarnation:
		return 0, fmt.Errorf("natsstore: node %q lives as incarnation %d, and this is %d: %w", name, stored, incarnation, store.ErrReplaced)
	}
	return m.Sequence, nil
}

// Leave implements store.Liveness.
func (s *Store) Leave(ctx context.Context, name string, incarnation uint64) error {
	stream, err := s.lives(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: sign of life: %w", err)
	}
	s.renewing.Lock()
	delete(s.renewals, name)
	s.renewing.Unlock()
	for {
		m, err := stream.GetLastMsgForSubject(ctx, liveName(name))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			var stored uint64
			if stored, err = parseLive(m.Data); err == nil && stored != incarnation {
				return nil // another's
			}
		}
		if err == nil {
			err = stream.DeleteMsg(ctx, m.Sequence)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil && (errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful)):
			// A renewal that was under way took its place.
		default:
			return fmt.Errorf("natsstore: sign of life: %w: %w", store.ErrUnknown, refineRead(err))
		}
	}
}

// Members implements store.Liveness. A leader that was voted out and does not
// know it yet is told by a renewal that it lacks.
func (s *Store) Members(ctx context.Context) ([]store.Life, error) {
	stream, err := s.lives(ctx)
	if err != nil {
		return nil, fmt.Errorf("natsstore: signs of life: %w", err)
	}
	s.renewing.Lock()
	fence := s.fence
	s.renewing.Unlock()
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.subject(liveSubject+"*")))
	if err != nil {
		return nil, fmt.Errorf("natsstore: signs of life: %w: %w", store.ErrUnknown, refineRead(err))
	}
	if info.State.LastSeq < fence {
		return nil, fmt.Errorf("natsstore: signs of life: %w: who answers lacks what this node stored", store.ErrUnknown)
	}
	var all []store.Life
	storedAt := map[uint64]time.Time{} // when each renewal was stored, by the engine's clock
	for subject := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it left just now
		}
		if err != nil {
			return nil, fmt.Errorf("natsstore: signs of life: %w: %w", store.ErrUnknown, refineRead(err))
		}
		name, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(subject, liveSubject))
		if err != nil {
			return nil, errLive
		}
		incarnation, err := parseLive(m.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, store.Life{Name: string(name), Incarnation: incarnation, Renewal: m.Sequence})
		storedAt[m.Sequence] = m.Time
	}
	all, old := s.outlived(all, storedAt, time.Now())
	for _, l := range old {
		_ = stream.DeleteMsg(ctx, l.Renewal) // who renews it has another sequence then
	}
	return all, nil
}

// sight is since when a record was seen as it is, by this node's clock.
type sight struct {
	renewal      uint64
	first, since time.Time // since may be before the first sight
}

// outlived drops the records that were not renewed for liveFor, and returns which of
// them to delete. The engine's clock is that of whoever leads the stream, and may jump
// with the next: it says only how old a node's record is when it is seen here for the
// first time, beside the newest of all; from then on this node's own clock does. Nor is
// a record deleted before it was seen unchanged for so long that others may vote against
// its node anyway.
func (s *Store) outlived(all []store.Life, storedAt map[uint64]time.Time, now time.Time) (live, old []store.Life) {
	var newest uint64
	for _, l := range all {
		newest = max(newest, l.Renewal)
	}
	s.renewing.Lock()
	defer s.renewing.Unlock()
	seen := make(map[string]sight, len(all))
	for _, l := range all {
		at, known := s.sights[l.Name]
		switch {
		case !known:
			at = sight{l.Renewal, now, now.Add(-max(0, storedAt[newest].Sub(storedAt[l.Renewal])))}
		case at.renewal != l.Renewal:
			at = sight{l.Renewal, now, now}
		}
		seen[l.Name] = at
		switch {
		case now.Sub(at.since) <= liveFor:
			live = append(live, l)
		case now.Sub(at.first) > deadFor:
			old = append(old, l)
		}
	}
	s.sights = seen
	return live, old
}
