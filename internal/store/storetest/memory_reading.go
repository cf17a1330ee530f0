package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// reading is what a Memory keeps for readers of its log; its mu guards it.
type reading struct {
	times   []time.Time   // of the messages
	grown   chan struct{} // closed when a message came, or the log was cut, or the store stopped
	erased  []store.Erasure
	gone    []store.Gone // the same, with names
	late    bool         // erased users stay in bases until Scrub
	bases   []memoryBase
	cursors map[store.Endpoint]store.Cursors
	letters []memoryLetter
	last    uint64 // revision or number given last
}

type memoryBase struct {
	store.Base
	shards map[int]shard
}

type memoryLetter struct {
	endpoint store.Endpoint
	stored   time.Time
	store.Letter
}

func newReading() reading {
	return reading{grown: make(chan struct{}), cursors: map[store.Endpoint]store.Cursors{}}
}

func (r *reading) clone() reading {
	c := *r
	c.times, c.erased, c.bases, c.letters = slices.Clone(r.times), slices.Clone(r.erased), slices.Clone(r.bases), slices.Clone(r.letters)
	c.gone = slices.Clone(r.gone)
	c.cursors, c.grown = maps.Clone(r.cursors), make(chan struct{})
	return c
}

// wake lets who follows look again; mu is held.
func (r *reading) wake() {
	close(r.grown)
	r.grown = make(chan struct{})
}

// appended takes note of a stored message; mu is held.
func (r *reading) appended(sequence uint64, records []presence.Record) {
	r.times = append(r.times, time.Now())
	for i := range records {
		if records[i].Kind == presence.RecordErased {
			e := store.Erasure{User: store.UserMark(records[i].User), Sequence: sequence, Time: records[i].Time}
			r.erased, r.gone = append(r.erased, e), append(r.gone, store.Gone{Name: records[i].User, Erasure: e})
			if !r.late {
				r.scrub()
			}
		}
	}
	r.wake()
}

// ScrubLate lets bases have erased users until Scrub, as they may for a while.
func (m *Memory) ScrubLate() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reading.late = true
}

// Scrub takes erased users out of all bases.
func (m *Memory) Scrub() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reading.scrub()
}

func (r *reading) scrub() {
	for _, b := range r.bases {
		for n, s := range b.shards {
			b.shards[n] = s.stripped(r.gone)
		}
	}
}

// stripped is a shard as a base has it; one that is none stays as it is.
func (s shard) stripped(gone []store.Gone) shard {
	if state, _, err := store.StripShard(s.state, s.through, gone); err == nil {
		s.state = state
	}
	return s
}

// Ends implements store.Reading.
func (m *Memory) Ends(context.Context) (first, next uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return 0, 0, store.ErrClosed
	}
	return m.first, m.first + uint64(len(m.messages)), nil
}

// SequenceAt implements store.Reading.
func (m *Memory) SequenceAt(_ context.Context, t time.Time) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return 0, store.ErrClosed
	}
	n, _ := slices.BinarySearchFunc(m.reading.times, t, time.Time.Compare)
	return m.first + uint64(n), nil
}

// Follow implements store.Reading.
func (m *Memory) Follow(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) error {
	for {
		m.mu.Lock()
		grown := m.reading.grown
		m.mu.Unlock()
		next, err := m.Replay(ctx, from, f)
		if err != nil {
			return err
		}
		from = next
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReplayUser implements store.Reading.
func (m *Memory) ReplayUser(ctx context.Context, _ presence.User, from, to uint64, f func(uint64, []presence.Record) error) error {
	_, err := m.Replay(ctx, from, func(seq uint64, rs []presence.Record) error {
		if seq >= to {
			return errEnough
		}
		return f(seq, rs)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a replay early.
var errEnough = errors.New("enough")

// Erasures implements store.Erasures.
func (m *Memory) Erasures(_ context.Context, since uint64, f func(store.Erasure) error) (uint64, error) {
	m.mu.Lock()
	list, stopped := slices.Clone(m.reading.erased), m.stopped
	m.mu.Unlock()
	if stopped {
		return 0, store.ErrClosed
	}
	for _, e := range list[min(since, uint64(len(list))):] {
		if err := f(e); err != nil {
			return 0, err
		}
	}
	return uint64(len(list)), nil
}

// Erased implements store.Erasures.
func (m *Memory) Erased() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.reading.erased))
}

// SaveBase implements store.Bases.
func (m *Memory) SaveBase(context.Context) (store.Base, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.Base{}, store.ErrClosed
	case m.through == 0:
		return store.Base{}, store.ErrNoCheckpoint
	}
	last := m.first + uint64(len(m.messages)) - 1
	if n := len(m.reading.bases); n > 0 && m.reading.bases[n-1].Position == last {
		if newest := m.reading.bases[n-1].Base; newest.From >= m.first {
			return newest, nil
		}
		m.reading.bases = m.reading.bases[: n-1 : n-1]
	}
	b := memoryBase{shards: maps.Clone(m.shards)}
	b.Position, b.From, b.At = last, m.through+1, presence.At(time.Now())
	for n, s := range b.shards {
		s.through = max(s.through, m.through)
		s = s.stripped(m.reading.gone)
		b.shards[n] = s
		b.Bytes += int64(len(s.state))
	}
	m.reading.bases = append(m.reading.bases, b)
	return b.Base, nil
}

// Bases implements store.Bases.
func (m *Memory) Bases(context.Context) ([]store.Base, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, store.ErrClosed
	}
	var all []store.Base
	for _, b := range m.reading.bases {
		if b.From >= m.first {
			all = append(all, b.Base)
		}
	}
	return all, nil
}

// ReadBase implements store.Bases.
func (m *Memory) ReadBase(_ context.Context, position uint64, first, last int, f func(int, uint64, []byte) error) error {
	m.mu.Lock()
	var shards map[int]shard
	for _, b := range m.reading.bases {
		if b.Position == position {
			shards = b.shards
		}
	}
	stopped := m.stopped
	m.mu.Unlock()
	switch {
	case stopped:
		return store.ErrClosed
	case shards == nil:
		return fmt.Errorf("no base at %d: %w", position, store.ErrGap)
	}
	for n := max(first, 0); n <= min(last, store.Shards-1); n++ {
		if s, ok := shards[n]; ok {
			if err := f(n, s.through, bytes.Clone(s.state)); err != nil {
				return err
			}
		}
	}
	return nil
}

// DropBase implements store.Bases.
func (m *Memory) DropBase(_ context.Context, position uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	m.reading.bases = slices.DeleteFunc(m.reading.bases, func(b memoryBase) bool { return b.Position == position })
	return nil
}

// Forget cuts the log before a sequence, as its limits would; never behind the
// newest checkpoint.
func (m *Memory) Forget(before uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.first < min(before, m.through) && len(m.messages) > 1 {
		m.dropOldest()
	}
	m.reading.wake()
}

// dropOldest drops the oldest message; mu is held.
func (m *Memory) dropOldest() {
	m.bytes -= len(m.messages[0])
	m.messages, m.first = m.messages[1:], m.first+1
	m.reading.times = m.reading.times[1:]

}
