package natsstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// Next implements store.Counter by compare-and-swap: the engine takes the next
// number only if nobody took one since we read. A number whose storing is not
// known to have succeeded is given to nobody.
func (s *Store) Next(ctx context.Context, name string) (uint64, error) {
	subject := counterSubject + base64.RawURLEncoding.EncodeToString([]byte(name))
	if name == "" {
		return 0, errors.New("natsstore: a counter needs a name")
	}
	for {
		n, at, err := s.readCounter(ctx, subject)
		if err != nil {
			return 0, fmt.Errorf("natsstore: counter %s: %w", name, err)
		}
		n++
		_, err = s.publish(ctx, subject, binary.AppendUvarint(nil, n), jetstream.WithExpectLastSequencePerSubject(at))
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, errMoved):
			continue // another took this number
		case s.clustered && errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrClosed) && ctx.Err() == nil:
			continue // perhaps we took it: nobody gets it
		default:
			return 0, fmt.Errorf("natsstore: counter %s: %w", name, err)
		}
	}
}

// readCounter returns the last number given, and the sequence it is stored at.
func (s *Store) readCounter(ctx context.Context, subject string) (n, at uint64, err error) {
	if err := s.closed(); err != nil {
		return 0, 0, err
	}
	m, err := s.ckpt.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", store.ErrUnknown, refineRead(err))
	}
	n, size := binary.Uvarint(m.Data)
	if size <= 0 || size != len(m.Data) {
		return 0, 0, errors.New("its stored number is damaged; restore the data directory from a backup")
	}
	return n, m.Sequence, nil
}
