package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Memory is a store.Store in memory. It keeps records as the bytes the log
// would hold, so that what it gives back went through the codec. Besides the
// contract it can be told to misbehave: Refuse, Lose and Hold, and for rosters
// RefuseRosters and LoseRosters.
type Memory struct {
	maxBytes int

	mu      sync.Mutex // over all below
	stopped bool
	faults  faults

	first    uint64 // sequence of messages[0]
	messages [][]byte
	bytes    int
	ids      map[string]store.Position
	shards   map[int]shard
	notes    [][]byte
	note     uint64 // number of notes[0]
	through  uint64
	counters map[string]uint64
	rosters  rosters
	// nodeNotes are what nodes keep of their sessions.
	nodeNotes map[notesOf][][]byte
	reading   reading
	mail      mail
	lives     map[string]store.Life
	renewal   uint64 // of the last life
}

// faults are how a Memory misbehaves.
type faults struct {
	refuse  error
	lose    []bool // what becomes of the next appends: stored, or not
	held    chan struct{}
	waiting int // appends that are held
}

type shard struct {
	through uint64
	state   []byte
}

var _ store.Store = (*Memory)(nil)

// NewMemory returns an empty store that takes everything.
func NewMemory() *Memory { return newMemory(0) }

// newMemory returns a store whose log takes maxBytes; 0 means without limit.
func newMemory(maxBytes int) *Memory {
	return &Memory{
		maxBytes: maxBytes, first: 1, note: 1,
		ids: map[string]store.Position{}, shards: map[int]shard{}, counters: map[string]uint64{},
		nodeNotes: map[notesOf][][]byte{},
		rosters:   rosters{values: map[rosterKey]store.Roster{}}, reading: newReading(),
		mail: mail{limit: memoryMail},
	}
}

// Append implements store.Log.
func (m *Memory) Append(ctx context.Context, id string, records []presence.Record) (store.Position, error) {
	if err := m.wait(ctx); err != nil {
		return store.Position{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.Position{}, store.ErrClosed
	case len(records) == 0 || len(records) > store.MaxRecords:
		return store.Position{}, fmt.Errorf("append of %d records: %w", len(records), store.ErrRefused)
	case m.faults.refuse != nil:
		return store.Position{}, fmt.Errorf("%w: %w", store.ErrRefused, m.faults.refuse)
	case ctx.Err() != nil:
		return store.Position{}, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
	stored, lost := true, len(m.faults.lose) > 0
	if lost {
		stored, m.faults.lose = m.faults.lose[0], m.faults.lose[1:]
	}
	var pos store.Position
	if stored {
		var err error
		if pos, err = m.append(id, records); err != nil {
			return store.Position{}, err
		}
	}
	if lost {
		return store.Position{}, fmt.Errorf("%w: lost", store.ErrUnknown)
	}
	return pos, nil
}

// append stores records unless id is known; mu is held.
func (m *Memory) append(id string, records []presence.Record) (store.Position, error) {
	if pos, known := m.ids[id]; known {
		return pos, nil
	}
	b := presence.AppendRecords(nil, records)
	if _, err := presence.ParseRecords(b); err != nil {
		return store.Position{}, fmt.Errorf("%w: the records cannot be read back: %w", store.ErrRefused, err)
	}
	if m.maxBytes > 0 && m.bytes+len(b) > m.maxBytes {
		return store.Position{}, fmt.Errorf("%w: the log is full", store.ErrRefused)
	}
	pos := store.Position{Sequence: m.first + uint64(len(m.messages))}
	m.messages = append(m.messages, b)
	m.bytes += len(b)
	m.ids[id] = pos
	m.reading.appended(pos.Sequence, records)
	return pos, nil
}

// Replay implements store.Log.
func (m *Memory) Replay(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) (uint64, error) {
	m.mu.Lock()
	first, messages, stopped := m.first, slices.Clone(m.messages), m.stopped
	m.mu.Unlock()
	switch {
	case stopped:
		return from, store.ErrClosed
	case from == 0:
		from = first
	case from < first:
		return from, store.ErrGap
	}
	for end := first + uint64(len(messages)); from < end; from++ {
		if err := ctx.Err(); err != nil {
			return from, err
		}
		rs, err := presence.ParseRecords(messages[from-first])
		if err != nil {
			return from, err
		}
		if err := f(from, rs); err != nil {
			return from, err
		}
	}
	return from, nil
}

// SaveShard implements store.Checkpoints.
func (m *Memory) SaveShard(_ context.Context, n int, through uint64, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.ErrClosed
	case n < 0:
		return store.ErrRefused
	case through < m.shards[n].through:
		return fmt.Errorf("shard %d through %d: %w", n, through, store.ErrBehind)
	}
	m.shards[n] = shard{through, bytes.Clone(data)}
	return nil
}

// SaveNote implements store.Checkpoints.
func (m *Memory) SaveNote(_ context.Context, data []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return 0, store.ErrClosed
	}
	m.notes = append(m.notes, bytes.Clone(data))
	return m.note + uint64(len(m.notes)) - 1, nil
}

// Advance implements store.Checkpoints.
func (m *Memory) Advance(_ context.Context, through, note uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.ErrClosed
	case through < m.through:
		return fmt.Errorf("a checkpoint through %d: %w", through, store.ErrBehind)
	}
	m.through = through
	if note > m.note {
		drop := min(int(note-m.note), len(m.notes))
		m.notes, m.note = m.notes[drop:], m.note+uint64(drop)
	}
	for m.maxBytes > 0 && m.bytes > m.maxBytes*9/10 && m.first < through && len(m.messages) > 1 {
		m.dropOldest()
	}
	return nil
}

// Load implements store.Checkpoints.
func (m *Memory) Load(_ context.Context, shard func(int, uint64, []byte) error, note func([]byte) error) (uint64, error) {
	m.mu.Lock()
	shards, notes, through, stopped := maps.Clone(m.shards), slices.Clone(m.notes), m.through, m.stopped
	m.mu.Unlock()
	if stopped {
		return 0, store.ErrClosed
	}
	for n, s := range shards {
		if err := shard(n, s.through, bytes.Clone(s.state)); err != nil {
			return 0, err
		}
	}
	for _, b := range notes {
		if err := note(bytes.Clone(b)); err != nil {
			return 0, err
		}
	}
	return through, nil
}

// Next implements store.Counter.
func (m *Memory) Next(_ context.Context, name string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return 0, store.ErrClosed
	case name == "":
		return 0, errors.New("a counter needs a name")
	}
	m.counters[name]++
	return m.counters[name], nil
}

// Health implements store.Store.
func (m *Memory) Health() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	return m.faults.refuse
}
