package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// readAhead is how many bytes the engine sends ahead of what was taken.
	// More would overrun the connection's own limit of 64 MB, at which it drops.
	readAhead = 16 << 20

	// readMost is how many messages. The client library makes room for so many at once;
	// where only bytes are asked for that is a million, 8 MB for each reader: devices of a
	// killed node that come back make hundreds of them.
	readMost = 4096

	// readerLinger is how long the engine keeps a reader that nobody ended.
	readerLinger = time.Minute

	// readPatience is how long a reader waits for a message that was counted
	// before it asks whether that is still there: a newer one of its subject may
	// have taken its place, or it was dropped.
	readPatience = time.Second
)

// ahead says how much is sent ahead.
func ahead() jetstream.PullMessagesOpt {
	return jetstream.PullMaxMessagesWithBytesLimit(readMost, readAhead)
}

// span is a part of a stream.
type span struct {
	from, through uint64 // sequences, both included
	subject       string // only these; empty means all
}

// read calls f with each message of the span, in order. It ends with f's
// first error, or ctx's.
func (s *Store) read(ctx context.Context, stream jetstream.Stream, part span, f func(m jetstream.Msg, seq uint64) error) error {
	part.from = max(part.from, 1)
	if part.from > part.through {
		return nil
	}
	if s.clustered {
		return s.readLeader(ctx, stream, part, f)
	}
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       part.from,
		InactiveThreshold: readerLinger,
	}
	if part.subject != "" {
		cfg.FilterSubjects = []string{s.subject(part.subject)}
	}
	reader, err := stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("natsstore: cannot read %s: %w", stream.CachedInfo().Config.Name, refineRead(err))
	}
	if reader.CachedInfo().NumPending == 0 {
		return s.endReader(ctx, stream, reader)
	}
	messages, err := reader.Messages(ahead())
	if err != nil {
		return fmt.Errorf("natsstore: cannot read %s: %w", stream.CachedInfo().Config.Name, refineRead(err))
	}
	defer s.endReader(ctx, stream, reader)
	defer messages.Stop()
	for {
		m, err := nextMessage(ctx, reader, messages)
		if err != nil {
			return fmt.Errorf("natsstore: cannot read on in %s: %w", stream.CachedInfo().Config.Name, refineRead(err))
		}
		if m == nil {
			return nil
		}
		at, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("natsstore: %w", err)
		}
		if at.Sequence.Stream > part.through {
			return nil
		}
		if s.prefix != "pl" {
			m = renamed{m, s.plain(m.Subject())}
		}
		if err := f(m, at.Sequence.Stream); err != nil {
			return err
		}
		if at.Sequence.Stream == part.through || at.NumPending == 0 {
			return nil
		}
	}
}

// mostPasses bounds readAll where writers never rest: none writes one subject, or
// one node's notes, so often that it is hidden from as many.
const mostPasses = 8

// readAll calls f with all that a stream has of the subjects (empty: of any), in
// order, beside writers: what they replace while it reads moves to the end of the
// stream, where a single read would not look, and a subject that is kept once would
// be missing. So it reads on until the end stands still. A subject that is replaced
// comes twice, the newer later.
func (s *Store) readAll(ctx context.Context, stream jetstream.Stream, subjects string, f func(m jetstream.Msg, seq uint64) error) error {
	part := span{subject: subjects}
	for range mostPasses {
		info, err := stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("natsstore: cannot ask for %s: %w", stream.CachedInfo().Config.Name, refineRead(err))
		}
		if part.from, part.through = part.through+1, info.State.LastSeq; part.from > part.through {
			return nil
		}
		if err := s.read(ctx, stream, part, f); err != nil {
			return err
		}
	}
	return nil
}

// nextMessage waits for the next message; nil means that none is left although
// more were counted.
func nextMessage(ctx context.Context, reader jetstream.Consumer, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	for ended := false; ; {
		patience, cancel := context.WithTimeout(ctx, readPatience)
		m, err := messages.Next(jetstream.NextContext(patience))
		cancel()
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return nil, fmt.Errorf("%w: %w", store.ErrClosed, err)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case ended:
			return nil, nil
		}
		info, err := reader.Info(ctx)
		if err != nil {
			return nil, err
		}
		ended = info.NumPending == 0 // one more look: it may have come just now
	}
}

// endReader lets the engine forget a reader. It is best effort: what fails here
// ends by itself after readerLinger.
func (s *Store) endReader(ctx context.Context, stream jetstream.Stream, reader jetstream.Consumer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = stream.DeleteConsumer(ctx, reader.CachedInfo().Name)
	return nil
}
