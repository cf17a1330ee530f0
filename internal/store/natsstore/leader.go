package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// heardWithin is how lately a leader's replicas must have answered it, so that nobody
// else can have been voted in: they answer once a second, and vote after 4 s of silence.
const heardWithin = 3 * time.Second

// doubtFor is how long a former leader may still answer beside the next one after it was
// found out: it hears of that one within a second, unless the machine is busy.
const doubtFor = 3 * time.Second

// errNotLed: who answered does not lead the stream, and may lack what was acknowledged.
var errNotLed = errors.New("the stream has no leader")

// led reports whether an answer is of a stream's leader. Without one any replica answers,
// and one that stood still while another was voted in takes itself for the leader until
// it hears of that.
func led(info *jetstream.StreamInfo) bool {
	at := info.Cluster
	if at == nil || at.Leader == "" {
		return false
	}
	heard := 1 // itself
	for _, r := range at.Replicas {
		if r.Active > 0 && r.Active <= heardWithin {
			heard++
		}
	}
	return 2*heard > len(at.Replicas)+1
}

// readLeader is read for several nodes: what the leader had when it was called is
// given, though the reader may live on a replica that lags.
func (s *Store) readLeader(ctx context.Context, from jetstream.Stream, part span, f func(m jetstream.Msg, seq uint64) error) error {
	r := &reader{s: s, stream: from, subject: part.subject, next: part.from}
	defer func() { r.close(ctx) }()
	if err := r.open(ctx); err != nil {
		return fmt.Errorf("natsstore: cannot read %s: %w", from.CachedInfo().Config.Name, refineRead(err))
	}
	for lags, nothing := 0, 0; r.next <= part.through; {
		if r.pending == 0 {
			none, err := r.none(ctx, part.through)
			if err != nil {
				return fmt.Errorf("natsstore: cannot read on in %s: %w", from.CachedInfo().Config.Name, refineRead(err))
			}
			if nothing++; !none {
				nothing = 0
			} else if nothing >= r.looks() {
				return nil
			}
		}
		m, seq, err := r.take(ctx, lagPatience)
		switch {
		case err == nil && seq > part.through:
			return nil
		case err == nil:
			lags, nothing = 0, 0
			if err := f(m, seq); err != nil {
				return err
			}
		case errors.Is(err, errLags):
			r.pending = 0 // ask the leader again
			if lags++; lags%lagLooks == 0 {
				r.close(ctx)
			}
		default:
			return fmt.Errorf("natsstore: cannot read on in %s: %w", from.CachedInfo().Config.Name, refineRead(err))
		}
	}
	return nil
}

// none asks the leader whether there is nothing from r.next through the sequence. A
// former leader may say so of what it lacks, so the leader is waited for in between.
func (r *reader) none(ctx context.Context, through uint64) (bool, error) {
	more, err := r.more(ctx, through)
	if err != nil || more {
		return false, err
	}
	if _, err := r.stream.Info(ctx); err != nil {
		return false, err
	}
	more, err = r.more(ctx, through)
	return err == nil && !more, err
}

// looks is how often nothing must be found where there was something: a former leader may
// answer one question, and the leader the next. Of one subject there often is nothing.
func (r *reader) looks() int {
	if at := r.s.doubted.Load(); r.subject != "" && (at == nil || time.Since(*at) > doubtFor) {
		return 1
	}
	return lagLooks
}
