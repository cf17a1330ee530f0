package natsstore

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// allStreams are the streams that several nodes use.
func allStreams() []string {
	return []string{
		logStream, checkpointStream, noteStream, rosterStream, nameStream, erasedStream, baseStream,
		cursorStream, letterStream, mailStream, liveStream, nodeNoteStream,
	}
}

// Rights are the subjects that the account of a cluster of that prefix must be
// allowed to publish and to subscribe to, and no more than that.
func Rights(prefix string) (publish, subscribe []string) {
	all := prefix + ".>"
	publish = []string{all, "$JS.API.INFO"}
	for _, stream := range allStreams() {
		name := strings.ToUpper(prefix) + strings.TrimPrefix(stream, "PL")
		for _, call := range []string{
			"STREAM.INFO.%s", "STREAM.CREATE.%s", "STREAM.UPDATE.%s", "STREAM.PURGE.%s", "STREAM.MSG.GET.%s", "STREAM.MSG.DELETE.%s",
			"CONSUMER.CREATE.%s.>", "CONSUMER.DELETE.%s.*", "CONSUMER.MSG.NEXT.%s.*",
		} {
			publish = append(publish, "$JS.API."+fmt.Sprintf(call, name))
		}
	}
	return publish, []string{all}
}

// rehearse uses each right once on each stream, harmlessly, so that what is
// missing is said at the start and not in the middle of the night.
func (s *Store) rehearse(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, st := range s.streams {
		all.Go(func() { s.rehearseOn(ctx, st) })
	}
	go func() {
		all.Wait()
		close(done)
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return denied(s.cfg.Bus)
		case <-tick.C:
			if err := denied(s.cfg.Bus); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

// denied is nil, or the right that is missing.
func denied(bus *natsbus.Bus) error {
	if right := bus.Denied(); right != "" {
		return fmt.Errorf("natsstore: the account of the NATS cluster lacks a right: %s; see docs/cluster.md for the rights that it needs", right)
	}
	return nil
}

// rehearseOn uses the rights to one stream. Errors count only when a right is
// missing, which rehearse sees.
func (s *Store) rehearseOn(ctx context.Context, st namedStream) {
	const never = math.MaxInt64 // no stream gets there
	_, _ = st.Stream.GetMsg(ctx, never)
	_ = st.Stream.DeleteMsg(ctx, never)
	_ = st.Stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject("pl.rehearsal")))
	r := &reader{s: s, stream: st.stream, next: never}
	if r.open(ctx) == nil {
		_, _, _ = r.take(ctx, time.Millisecond)
		r.close(ctx)
	}
}
