package natsstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	mostLog      = 20 << 30  // unless configured otherwise (design §2)
	temporaryLog = 256 << 20 // of a directory that goes with the process
	leastLog     = 16 << 20  // below it a node would refuse within minutes
)

// Usage is how full a file system is, in bytes.
type Usage struct {
	Used uint64 // by whomever
	Free uint64 // what this process may still write
}

// Share is the part that is used, 0 to 1.
func (u Usage) Share() float64 {
	if u.Used+u.Free == 0 {
		return 0
	}
	return float64(u.Used) / float64(u.Used+u.Free)
}

// Room answers for each directory as a file system with so many bytes to
// write. It is for who must not depend on how full the machine's disk is.
func Room(bytes uint64) func(dir string) (Usage, error) {
	return func(string) (Usage, error) { return Usage{Used: 1, Free: bytes}, nil }
}

// logLimit is the size limit of the log: the configured one, else what the
// first start chose, else what this first start chooses.
func (s *Store) logLimit(ctx context.Context) (int64, error) {
	if s.cfg.MaxBytes > 0 {
		return s.cfg.MaxBytes, nil
	}
	old, err := again(ctx, s, func(ctx context.Context, _ bool) (jetstream.Stream, error) {
		return s.js.Stream(ctx, s.streamName(logStream))
	})
	switch {
	case err == nil:
		return old.CachedInfo().Config.MaxBytes, nil
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, fmt.Errorf("natsstore: cannot ask for stream %s (%s): %w", s.streamName(logStream), s.whyNot(err, 0), err)
	}
	limit := int64(mostLog)
	if s.cfg.Temporary {
		limit = temporaryLog
	}
	u, err := s.cfg.Usage(s.cfg.Bus.Dir())
	if errors.Is(err, errors.ErrUnsupported) {
		return limit, nil
	}
	if err != nil {
		return 0, fmt.Errorf("natsstore: cannot see how much is free for %s: %w", s.cfg.Bus.Dir(), err)
	}
	if limit = min(limit, int64(u.Free/2)); limit < leastLog {
		return 0, fmt.Errorf("natsstore: only %d MB are free for %s and the log needs half of at least %d MB: make room, or choose another data directory",
			u.Free>>20, s.cfg.Bus.Dir(), 2*leastLog>>20)
	}
	return limit, nil
}
