package natsstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// erasures is the list of who was erased, in the order of the log. Append
// writes each into a stream of its own before it acknowledges the record. What
// a crash kept from being written is in the end of the log, behind the
// checkpoint, since that never goes beyond what was acknowledged; it is written
// before the checkpoint moves on.
type erasures struct {
	loading sync.Mutex // one load at a time; taken before mu

	mu     sync.Mutex // over all below
	loaded bool
	read   uint64 // the stream was read through it
	list   []erasure
	seen   map[store.Erasure]bool
	count  uint64 // since the store was opened
}

type erasure struct {
	store.Erasure
	at    uint64 // where it is stored
	count uint64 // of erasures with it
}

const erasureVersion = 1

var errErasure = errors.New("natsstore: a stored erasure is of a newer version, or damaged")

func appendErasure(dst []byte, e store.Erasure) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, erasureVersion), e.User)
	return presence.AppendNumber(presence.AppendNumber(dst, e.Sequence), uint64(e.Time))
}

func parseErasure(b []byte) (e store.Erasure, err error) {
	if len(b) < 9 || b[0] != erasureVersion {
		return e, errErasure
	}
	e.User = binary.BigEndian.Uint64(b[1:])
	if e.Sequence, b, err = presence.ParseNumber(b[9:]); err != nil {
		return e, errErasure
	}
	at, b, err := presence.ParseNumber(b)
	if err != nil || len(b) > 0 {
		return e, errErasure
	}
	e.Time = presence.Time(at)
	return e, nil
}

// add takes an erasure that is stored at `at`.
func (es *erasures) add(e store.Erasure, at uint64) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if es.seen[e] {
		return
	}
	if es.seen == nil {
		es.seen = map[store.Erasure]bool{}
	}
	es.seen[e] = true
	es.count++
	es.list = append(es.list, erasure{e, at, es.count})
}

func (es *erasures) has(e store.Erasure) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.seen[e]
}

// saveErasures stores the erasures among the records of one stored message.
func (s *Store) saveErasures(ctx context.Context, sequence uint64, records []presence.Record) error {
	for i := range records {
		r := &records[i]
		if r.Kind != presence.RecordErased {
			continue
		}
		e := store.Erasure{User: store.UserMark(r.User), Sequence: sequence, Time: r.Time}
		if s.erasures.has(e) {
			continue
		}
		body := appendErasure(nil, e)
		ack, err := s.publishNamed(ctx, erasedSubject, body)
		if err != nil {
			// The record is stored: only another try of the whole can help.
			return fmt.Errorf("%w: the list of erasures: %w", store.ErrUnknown, err)
		}
		s.erasures.add(e, ack.Sequence)
		s.askScrub()
	}
	return nil
}

// Erased implements store.Erasures.
func (s *Store) Erased() uint64 {
	s.erasures.mu.Lock()
	defer s.erasures.mu.Unlock()
	return s.erasures.count
}

// Erasures implements store.Erasures.
func (s *Store) Erasures(ctx context.Context, since uint64, f func(store.Erasure) error) (count uint64, err error) {
	if err := s.closed(); err != nil {
		return 0, err
	}
	if err := s.loadErasures(ctx); err != nil {
		return 0, err
	}
	s.erasures.mu.Lock()
	list, count := s.erasures.list, s.erasures.count
	from, _ := slices.BinarySearchFunc(list, since+1, func(e erasure, n uint64) int { return cmp.Compare(e.count, n) })
	list = slices.Clip(list[from:])
	s.erasures.mu.Unlock()
	for _, e := range list {
		if err := f(e.Erasure); err != nil {
			return 0, err
		}
	}
	return count, nil
}

// loadErasures reads the list once, and the end of the log for what is missing
// in it.
func (s *Store) loadErasures(ctx context.Context) error {
	s.erasures.loading.Lock()
	defer s.erasures.loading.Unlock()
	if s.erasures.loaded && !s.clustered {
		return nil
	}
	info, err := s.erased.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: erasures: %w", refineRead(err))
	}
	s.erasures.mu.Lock()
	read := s.erasures.read
	s.erasures.mu.Unlock()
	err = s.read(ctx, s.erased, span{from: read + 1, through: info.State.LastSeq}, func(m jetstream.Msg, seq uint64) error {
		e, err := parseErasure(m.Data())
		if err == nil {
			s.erasures.add(e, seq)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.erasures.mu.Lock()
	s.erasures.read = max(s.erasures.read, info.State.LastSeq)
	s.erasures.mu.Unlock()
	if s.erasures.loaded {
		return nil // other nodes' were what was new
	}
	log, err := s.logs.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: cannot read the log's ends: %w", refineRead(err))
	}
	end := span{from: max(s.opened+1, log.State.FirstSeq), through: log.State.LastSeq}
	err = s.read(ctx, s.logs, end, func(m jetstream.Msg, seq uint64) error {
		records, err := parseMessage(m.Data(), seq)
		if err != nil {
			return err
		}
		return s.saveErasures(ctx, seq, records)
	})
	s.erasures.loaded = err == nil
	if err == nil {
		s.scanning.Lock()
		s.scanned = max(s.scanned, log.State.LastSeq)
		s.scanning.Unlock()
	}
	return err
}

// dropErasures forgets the erasures of which the log before them is gone. Those that
// other nodes listed do not stand in the order of the log.
func (s *Store) dropErasures(ctx context.Context, first uint64) error {
	es := &s.erasures
	es.mu.Lock()
	var kept []erasure
	last, least := uint64(0), uint64(math.MaxUint64) // where those that go, and those that stay, are stored
	for _, e := range es.list {
		if e.Sequence < first {
			last = max(last, e.at)
			delete(es.seen, e.Erasure)
			continue
		}
		kept, least = append(kept, e), min(least, e.at)
	}
	if last > 0 {
		es.list = kept
	}
	last = min(last, least)
	es.mu.Unlock()
	if last == 0 {
		return nil
	}
	if err := s.erased.Purge(ctx, jetstream.WithPurgeSequence(last)); err != nil {
		return fmt.Errorf("natsstore: drop of old erasures: %w", refineRead(err))
	}
	return nil
}
