package natsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// readerHeartbeat is how often the engine says that a reader still lives; after
	// two without it another is made, from where the last one stood.
	readerHeartbeat = time.Second

	// readerExpiry is how long one request for messages stands.
	readerExpiry = 10 * time.Second

	// lagPatience is how long a reader on a replica that lags is waited for before
	// the leader is asked again whether there is more.
	lagPatience = 250 * time.Millisecond

	// lagLooks is how often the leader says that there is more before the reader is
	// given up for another one, which may live on another replica: the engine may
	// take half a minute until one that missed something asks for it again.
	lagLooks = 4

	// lookEach is how often the leader is asked whether there is more by one who follows
	// a stream in which nothing happens.
	lookEach = time.Second

	// mostRepeats is how often a new reader's request for messages is made again: after
	// that the engine's word that it lives, or its silence, tells whether it arrived.
	mostRepeats = 4
)

// reader reads a stream of several servers in order, without loss or repeats. It
// lives on one of them, which may lag behind the leader or go.
type reader struct {
	s       *Store
	stream  jetstream.Stream
	subject string // only these; empty means all

	next     uint64 // sequence of the stream
	consumer jetstream.Consumer
	messages jetstream.MessagesContext
	pulled   uint64 // messages of this consumer so far
	repeats  int    // of the request for its first one
	pending  uint64 // how many more its server knew of

	asked *look // what the leader was asked while nothing came; nil before
}

// open makes the reader's consumer, trying for electionPatience.
func (r *reader) open(ctx context.Context) error {
	cfg := jetstream.ConsumerConfig{
		// Of one name, so that all tries make the same: a leader that is slow, as when
		// thousands of devices come back after a kill, would else be given more and more
		// to do, until the stream has as many readers as it may (1,000).
		Name:          rand.Text(),
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.next,
		AckPolicy: jetstream.AckNonePolicy, MaxDeliver: 1, Replicas: 1, MemoryStorage: true,
		InactiveThreshold: readerLinger,
	}
	if r.subject != "" {
		cfg.FilterSubject = r.s.subject(r.subject)
	}
	// One that is made and not heard of goes by itself.
	consumer, err := asked(ctx, r.s, func(ctx context.Context) (jetstream.Consumer, error) {
		return r.stream.CreateConsumer(ctx, cfg)
	})
	if err != nil {
		return err
	}
	r.consumer, r.pulled, r.repeats, r.pending = consumer, 0, 0, consumer.CachedInfo().NumPending
	return r.pull()
}

// pull asks for messages. The first request after a consumer was made may reach
// nobody: the server we speak to learns of it by the way, a moment later.
func (r *reader) pull() (err error) {
	if r.messages != nil {
		r.messages.Stop()
	}
	r.messages, err = r.consumer.Messages(ahead(), jetstream.PullHeartbeat(readerHeartbeat),
		jetstream.PullExpiry(readerExpiry), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		r.messages = nil
	}
	return err
}

// await waits for the next message for as long as ctx lasts.
func (r *reader) await(ctx context.Context) (m jetstream.Msg, seq uint64, err error) {
	for patience := lagPatience; ; patience = r.lagged(ctx) {
		if m, seq, err = r.take(ctx, patience); !errors.Is(err, errLags) {
			return m, seq, err
		}
	}
}

// look is a question to the leader, asked beside: one that died answers nothing.
type look struct {
	next uint64 // where the reader stood
	at   time.Time
	more chan bool // the answer
}

// lagged is called by who follows a stream when nothing came, and returns how long to
// wait next. The engine's word that a reader lives does not say that its replica has
// all: when the leader had more a second ago, the reader is left for another one.
func (r *reader) lagged(ctx context.Context) time.Duration {
	if q := r.asked; q != nil && q.next == r.next {
		if wait := lookEach - time.Since(q.at); wait > 0 {
			return wait
		}
		select {
		case more := <-q.more:
			if more {
				r.close(ctx)
			}
		default:
			return lagPatience // until it is answered, or not in time
		}
	}
	q := &look{r.next, time.Now(), make(chan bool, 1)}
	r.asked = q
	from := *r // the reader goes on meanwhile
	go func() {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		more, err := from.more(ctx, math.MaxUint64)
		q.more <- err == nil && more
	}()
	return lookEach
}

// errLags: nothing came in time.
var errLags = errors.New("natsstore: the reader lags")

// take returns the next message, or errLags when none came for that long. It goes
// on by another consumer when this one goes, for as long as ctx lasts.
func (r *reader) take(ctx context.Context, patience time.Duration) (m jetstream.Msg, seq uint64, err error) {
	for {
		if r.messages == nil {
			if err := r.open(ctx); err != nil {
				if !passing(err) || ctx.Err() != nil || r.s.closed() != nil {
					return nil, 0, err
				}
				pause(ctx, tryPause)
				continue
			}
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		m, err := r.messages.Next(jetstream.NextContext(wait))
		cancel()
		switch {
		case err == nil:
			at, err := m.Metadata()
			if err != nil {
				return nil, 0, fmt.Errorf("natsstore: %w", err)
			}
			if r.pulled++; at.Sequence.Consumer != r.pulled || at.Sequence.Stream < r.next {
				break // something between was lost on the way
			}
			r.next, r.pending = at.Sequence.Stream+1, at.NumPending
			return renamed{m, r.s.plain(m.Subject())}, at.Sequence.Stream, nil
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		case r.s.closed() != nil:
			return nil, 0, store.ErrClosed
		case errors.Is(err, jetstream.ErrConnectionClosed):
			return nil, 0, fmt.Errorf("%w: %w", store.ErrClosed, err)
		case errors.Is(err, context.DeadlineExceeded):
			if r.pulled == 0 && r.repeats < mostRepeats {
				if r.repeats++; r.pull() != nil {
					break
				}
			}
			return nil, 0, errLags
		}
		r.close(ctx)
	}
}

// close ends the consumer; the reader can go on by another.
func (r *reader) close(ctx context.Context) {
	if r.consumer == nil {
		return
	}
	if r.messages != nil {
		r.messages.Stop()
	}
	_ = r.s.endReader(ctx, r.stream, r.consumer)
	r.messages, r.consumer = nil, nil
}

// more asks the leader whether there is anything from r.next through the
// sequence.
func (r *reader) more(ctx context.Context, through uint64) (bool, error) {
	subject := ">"
	if r.subject != "" {
		subject = r.s.subject(r.subject)
	}
	m, err := r.stream.GetMsg(ctx, r.next, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil && m.Sequence <= through, err
}
