package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Refuse makes every append from now on fail with an error that wraps
// store.ErrRefused and why; nil ends it.
func (m *Memory) Refuse(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.refuse = why
}

// Lose makes the next n appends answer store.ErrUnknown; stored tells whether
// they are stored all the same.
func (m *Memory) Lose(n int, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.lose = append(m.faults.lose, slices.Repeat([]bool{stored}, n)...)
}

// Recover ends every Refuse and Lose, of rosters and mailboxes too.
func (m *Memory) Recover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.refuse, m.faults.lose = nil, nil
	m.rosters.refuse, m.rosters.lose = nil, nil
	m.mail.refuse, m.mail.lose = nil, nil
}

// Hold makes appends wait until release is called, or their context ends
// (store.ErrUnknown, not stored). Calls of release after the first do nothing.
func (m *Memory) Hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.faults.held = held
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.faults.held == held {
			m.faults.held = nil
		}
		close(held)
	})
}

// Held returns how many appends wait for a release.
func (m *Memory) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults.waiting
}

// Stop makes every call from now on fail with store.ErrClosed.
func (m *Memory) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	m.reading.wake()
}

// Reopen returns a store with the same content that obeys no earlier Refuse,
// Lose, Hold or Stop, as a new process would find it. m is stopped.
func (m *Memory) Reopen() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	n := newMemory(m.maxBytes)
	n.first, n.messages, n.bytes = m.first, slices.Clone(m.messages), m.bytes
	n.ids, n.shards, n.counters = maps.Clone(m.ids), maps.Clone(m.shards), maps.Clone(m.counters)
	n.notes, n.note, n.through = slices.Clone(m.notes), m.note, m.through
	n.reading = m.reading.clone()
	n.mail = m.mail.clone()
	m.reading.wake()
	n.nodeNotes = maps.Clone(m.nodeNotes)
	n.rosters.values, n.rosters.last = maps.Clone(m.rosters.values), m.rosters.last
	n.lives, n.renewal = maps.Clone(m.lives), m.renewal
	return n
}

// Records returns all records of the log, in order.
func (m *Memory) Records() []presence.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []presence.Record
	for _, b := range m.messages {
		rs, err := presence.ParseRecords(b)
		if err != nil {
			panic(err) // it was checked when it was stored
		}
		all = append(all, rs...)
	}
	return all
}

// wait waits while appends are held.
func (m *Memory) wait(ctx context.Context) error {
	m.mu.Lock()
	held := m.faults.held
	if held == nil {
		m.mu.Unlock()
		return nil
	}
	m.faults.waiting++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.faults.waiting--
		m.mu.Unlock()
	}()
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
}

// OpenMemory opens stores in memory, for the tests that take an Open. A
// directory's content lives as long as the func it returns.
func OpenMemory() Open {
	var (
		mu   sync.Mutex
		dirs = map[string]*Memory{}
	)
	return func(_ testing.TB, dir string, maxBytes int64) (store.Store, func()) {
		mu.Lock()
		defer mu.Unlock()
		m := dirs[dir]
		if m == nil {
			m = newMemory(int(maxBytes))
		} else {
			m = m.Reopen()
		}
		dirs[dir] = m
		return m, m.Stop
	}
}
