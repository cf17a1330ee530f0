package tracker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// shared is one node's way to the store that all have.
type shared struct {
	*storetest.Memory
	down atomic.Bool
	cut  atomic.Bool
	late atomic.Bool // the log is not read meanwhile
	slow atomic.Bool // nothing is written to it meanwhile
	// stuck: no shard is written meanwhile.
	stuck atomic.Bool
	dies  atomic.Bool // with the next notes that it takes
	// loaded is called when the checkpoint was read; nil: nobody asks.
	loaded func()
	// read is told of each record that is read; nil: nobody asks.
	read func(*presence.Record)
	// reads of notes that are under way, and the most there were; each takes a moment
	// while it dawdles.
	dawdles     atomic.Bool
	reads, most atomic.Int32
}

func (s *shared) away(ctx context.Context) error {
	for s.cut.Load() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: cut off", store.ErrUnknown)
		}
	}
	if s.down.Load() {
		return store.ErrClosed
	}
	return nil
}

func (s *shared) Load(ctx context.Context, shard func(int, uint64, []byte) error, note func([]byte) error) (uint64, error) {
	through, err := s.Memory.Load(ctx, shard, note)
	if s.loaded != nil {
		s.loaded()
	}
	return through, err
}

func (s *shared) Append(ctx context.Context, id string, records []presence.Record) (store.Position, error) {
	if err := s.away(ctx); err != nil {
		return store.Position{}, err
	}
	for s.slow.Load() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return store.Position{}, fmt.Errorf("%w: slow", store.ErrUnknown)
		}
	}
	return s.Memory.Append(ctx, id, records)
}

func (s *shared) Follow(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) error {
	return s.Memory.Follow(ctx, from, func(n uint64, list []presence.Record) error {
		if err := s.away(ctx); err != nil {
			return err
		}
		for s.late.Load() && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		for i := range list {
			if s.read != nil {
				s.read(&list[i])
			}
		}
		return f(n, list)
	})
}

func (s *shared) SaveNotes(ctx context.Context, incarnation uint64, group int, whole bool, b ...[]byte) error {
	if err := s.away(ctx); err != nil {
		return err
	}
	if s.dies.Load() {
		s.down.Store(true)
	}
	return s.Memory.SaveNotes(ctx, incarnation, group, whole, b...)
}

func (s *shared) LoadNotes(ctx context.Context, incarnation uint64, group int, f func(uint64, []byte) error) error {
	if err := s.away(ctx); err != nil {
		return err
	}
	if n := s.reads.Add(1); n > s.most.Load() {
		s.most.Store(n) // who reads at once reads for a while
	}
	if s.dawdles.Load() {
		<-time.After(20 * time.Millisecond)
	}
	defer s.reads.Add(-1)
	return s.Memory.LoadNotes(ctx, incarnation, group, f)
}

func (s *shared) SaveShard(ctx context.Context, n int, through uint64, b []byte) error {
	for s.stuck.Load() && ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
	}
	if err := s.away(ctx); err != nil {
		return err
	}
	return s.Memory.SaveShard(ctx, n, through, b)
}
