package natsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// A lease that was not renewed for leaseFor, by the clock of who waits, is
	// free. Its holder gives up earlier, by his own: clocks need not agree.
	leaseFor   = 10 * time.Second
	leaseUntil = 6 * time.Second
	leaseEvery = 2 * time.Second
	leasePoll  = 500 * time.Millisecond
)

// errLeaseLost is why the context of who held a lease has ended.
var errLeaseLost = fmt.Errorf("natsstore: another node may be at it: %w", store.ErrUnknown)

// lockBases gives the right to change the bases, to one of this node's and, with
// several nodes, to one node; the list of bases is fresh. The context ends when
// the right does.
func (s *Store) lockBases(ctx context.Context) (held context.Context, unlock func(), err error) {
	s.basing.Lock()
	held, release := ctx, func() {}
	if s.clustered {
		if held, release, err = s.lease(ctx, "bases"); err != nil {
			s.basing.Unlock()
			return nil, nil, err
		}
		s.bases.swept = false // others may have left something
	}
	if err := s.loadBases(held); err != nil {
		release()
		s.basing.Unlock()
		return nil, nil, err
	}
	return held, func() {
		release()
		s.basing.Unlock()
	}, nil
}

// lease waits until no other node holds the lease and takes it.
func (s *Store) lease(ctx context.Context, what string) (held context.Context, release func(), err error) {
	subject := leaseSubject + what
	var seen uint64 // as it stood
	var since time.Time
	for {
		m, err := s.ckpt.GetLastMsgForSubject(ctx, subject)
		at, free := uint64(0), errors.Is(err, jetstream.ErrMsgNotFound)
		switch {
		case err == nil:
			at, free = m.Sequence, len(m.Data) == 0
		case !free:
			return nil, nil, fmt.Errorf("natsstore: lease of the %s: %w", what, refineRead(err))
		}
		if at != seen || since.IsZero() {
			seen, since = at, time.Now()
		}
		if free || time.Since(since) >= leaseFor {
			asked := time.Now()
			ack, err := s.publish(ctx, subject, []byte(rand.Text()), jetstream.WithExpectLastSequencePerSubject(at))
			if err == nil {
				held, release := s.keepLease(ctx, subject, ack.Sequence, asked)
				return held, release, nil
			}
			if !errors.Is(err, errMoved) {
				return nil, nil, fmt.Errorf("natsstore: lease of the %s: %w", what, err)
			}
		}
		pause(ctx, leasePoll)
		if err := errors.Join(ctx.Err(), s.closed()); err != nil {
			return nil, nil, err
		}
	}
}

// keepLease renews a lease that stands at a sequence until it is released.
func (s *Store) keepLease(ctx context.Context, subject string, at uint64, asked time.Time) (held context.Context, release func()) {
	held, lost := context.WithCancelCause(ctx)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(leaseEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-held.Done():
				return
			case <-tick.C:
			}
			now := time.Now()
			try, cancel := context.WithDeadline(held, asked.Add(leaseUntil))
			ack, err := s.publish(try, subject, []byte(rand.Text()), jetstream.WithExpectLastSequencePerSubject(at))
			cancel()
			if err != nil {
				lost(errLeaseLost) // also when it may be stored: where it stands is not known
				return
			}
			asked, at = now, ack.Sequence
		}
	}()
	return held, func() {
		close(quit)
		<-ended
		lost(nil)
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTimeout)
		defer cancel()
		// Best effort: it ends by itself.
		_, _ = s.publish(free, subject, nil, jetstream.WithExpectLastSequencePerSubject(at))
	}
}
