package natsstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// publish stores one message and waits until it is on disk, at most
// answerTimeout. Errors wrap one of package store's.
func (s *Store) publish(ctx context.Context, subject string, body []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: s.subject(subject), Data: body}
	if s.clustered {
		return s.publishLeader(ctx, m, opts, false)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return nil, refine(err)
	}
	return ack, nil
}

// publishInRoom publishes what is large or frequent, and so is refused before
// the disk is full. Counters and marks are neither, and let us make room.
func (s *Store) publishInRoom(ctx context.Context, subject string, body []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if err := s.spend(len(body)); err != nil {
		return nil, err
	}
	return s.publish(ctx, subject, body, opts...)
}

// publishOnce publishes in room under an id, by which the engine knows a message
// that it is given again.
func (s *Store) publishOnce(ctx context.Context, subject string, body []byte, id string) (*jetstream.PubAck, error) {
	if !s.clustered {
		return s.publishInRoom(ctx, subject, body, jetstream.WithMsgID(id))
	}
	if err := s.spend(len(body)); err != nil {
		return nil, err
	}
	if err := s.closed(); err != nil {
		return nil, err
	}
	return s.publishLeader(ctx, &nats.Msg{Subject: s.subject(subject), Data: body}, []jetstream.PublishOpt{jetstream.WithMsgID(id)}, true)
}

// errMoved means that somebody else wrote the subject since we looked.
var errMoved = fmt.Errorf("%w: %w", store.ErrRefused, store.ErrMoved)

// refine tells what an error of a publish says about the message.
func refine(err error) error {
	var answer *jetstream.APIError
	switch {
	case errors.As(err, &answer):
		switch {
		case answer.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, answer.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return errMoved
		case leaderless(answer):
			return fmt.Errorf("%w: the cluster is between two leaders: %w", store.ErrUnknown, err)
		}
		return fmt.Errorf("%w by the engine: %w", store.ErrRefused, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		// Nobody took the message: the engine's store is off, which it does by
		// itself when the disk is full.
		return fmt.Errorf("%w: the engine's store is off (disk full, or stopping): %w", store.ErrRefused, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: too large for one message: %w", store.ErrRefused, err)
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w, %w: %w", store.ErrClosed, store.ErrUnknown, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnknown, err)
}
