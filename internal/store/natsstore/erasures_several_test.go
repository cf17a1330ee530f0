package natsstore

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// brokenReaders is a stream that has no readers for a time, and then quiet ones.
type brokenReaders struct {
	jetstream.Stream
	broken atomic.Bool
}

var errBroken = errors.New("broken")

// CreateConsumer implements jetstream.Stream.
func (b *brokenReaders) CreateConsumer(context.Context, jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if b.broken.Load() {
		return nil, errBroken
	}
	return &quietReader{of: b}, nil
}

// GetMsg implements jetstream.Stream: the leader has nothing either.
func (*brokenReaders) GetMsg(context.Context, uint64, ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return nil, jetstream.ErrMsgNotFound
}

// DeleteConsumer implements jetstream.Stream.
func (*brokenReaders) DeleteConsumer(context.Context, string) error { return nil }

// quietReader is a reader to whom nothing comes.
type quietReader struct {
	jetstream.Consumer
	of *brokenReaders
}

// quiet is what comes to it.
type quiet struct {
	jetstream.MessagesContext
	of *brokenReaders
}

// CachedInfo implements jetstream.Consumer.
func (*quietReader) CachedInfo() *jetstream.ConsumerInfo { return &jetstream.ConsumerInfo{} }

// Messages implements jetstream.Consumer.
func (q *quietReader) Messages(...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	return quiet{of: q.of}, nil
}

// Next implements jetstream.MessagesContext.
func (q quiet) Next(...jetstream.NextOpt) (jetstream.Msg, error) {
	<-time.After(lagPatience)
	if q.of.broken.Load() {
		return nil, jetstream.ErrNoHeartbeat
	}
	return nil, context.DeadlineExceeded
}

// Stop implements jetstream.MessagesContext.
func (quiet) Stop() {}

// TestErasuresThatAreNotHeardAreSaid: an operator sees once that a node does not hear
// who is erased at others, and once that it does again.
func TestErasuresThatAreNotHeardAreSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		erased := &brokenReaders{}
		s := &Store{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, several: several{clustered: true, prefix: "pl"}}
		s.erased = erased
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.watchErasures(ctx); close(done) }()
		for range 2 {
			<-time.After(time.Minute)
			synctest.Wait()
			erased.broken.Store(true)
			<-time.After(time.Minute)
			synctest.Wait()
			erased.broken.Store(false)
		}
		<-time.After(time.Minute)
		cancel()
		<-done
		if said, again := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "level=INFO"); said != 2 || again != 2 {
			t.Errorf("two outages: got %d errors and %d ends, want two of each:\n%s", said, again, &log)
		}
	})
}
