package natsstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Erasures of other nodes come by the stream of erasures, which is watched. What a
// node's death keeps from being written there is seen in the log: by whoever
// follows it, and before the checkpoint moves on.

// publishNamed stores a message that several nodes may store at once: it is its
// own id.
func (s *Store) publishNamed(ctx context.Context, subject string, body []byte) (*jetstream.PubAck, error) {
	if !s.clustered {
		return s.publish(ctx, subject, body)
	}
	return s.publishOnce(ctx, subject, body, fmt.Sprintf("%x", body))
}

// watchErasures takes in what other nodes store, until ctx ends.
func (s *Store) watchErasures(ctx context.Context) {
	r := &reader{s: s, stream: s.erased, next: 1}
	defer func() { r.close(ctx) }()
	failing := false
	for patience := lagPatience; ; {
		m, seq, err := r.take(ctx, patience)
		switch {
		case ctx.Err() != nil || s.closed() != nil:
			return
		case err != nil && !errors.Is(err, errLags):
			if !failing { // an operator is told once
				s.cfg.Logger.Error("who is erased at other nodes is not heard; it is tried again", "error", err)
			}
			failing = true
			pause(ctx, tryPause)
			continue
		case failing:
			s.cfg.Logger.Info("who is erased at other nodes is heard again")
			failing = false
		}
		if err != nil { // nobody is erased just now
			patience = r.lagged(ctx)
			continue
		}
		patience = lagPatience
		e, err := parseErasure(m.Data())
		if err != nil {
			s.cfg.Logger.Error("an erasure that another node stored is not obeyed here", "error", err)
			continue
		}
		if !s.erasures.has(e) {
			s.erasures.add(e, seq)
			s.askScrub()
		}
	}
}

// heardErasures stores the erasures among records of the log that are stored
// nowhere else, and remembers how far the log was looked at.
func (s *Store) heardErasures(ctx context.Context, seq uint64, records []presence.Record) error {
	if slices.ContainsFunc(records, func(r presence.Record) bool { return r.Kind == presence.RecordErased }) {
		if err := s.loadErasures(ctx); err != nil {
			return err
		}
		if err := s.saveErasures(ctx, seq, records); err != nil {
			return err
		}
	}
	s.scanning.Lock()
	defer s.scanning.Unlock()
	if seq == s.scanned+1 {
		s.scanned = seq
	}
	return nil
}

// scanErasures looks through the log up to the sequence for erasures that are
// stored nowhere else.
func (s *Store) scanErasures(ctx context.Context, through uint64) error {
	s.scanning.Lock()
	from := s.scanned + 1
	s.scanning.Unlock()
	err := s.read(ctx, s.logs, span{from: from, through: through}, func(m jetstream.Msg, seq uint64) error {
		records, err := parseMessage(m.Data(), seq)
		if err != nil {
			return err
		}
		return s.saveErasures(ctx, seq, records)
	})
	if err == nil {
		s.scanning.Lock()
		s.scanned = max(s.scanned, through)
		s.scanning.Unlock()
	}
	return err
}
