package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// LoadCursors implements store.CursorKeeper.
func (m *Memory) LoadCursors(_ context.Context, e store.Endpoint) (store.Cursors, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.Cursors{}, store.ErrClosed
	}
	if err := validEndpoint(e); err != nil {
		return store.Cursors{}, err
	}
	c := m.reading.cursors[e]
	c.Endpoint, c.Lanes = e, cloneLanes(c.Lanes)
	return c, nil
}

func cloneLanes(lanes []store.Cursor) []store.Cursor {
	lanes = slices.Clone(lanes)
	for i := range lanes {
		lanes[i].State = bytes.Clone(lanes[i].State)
		if len(lanes[i].State) == 0 {
			lanes[i].State = nil
		}
	}
	return lanes
}

func validEndpoint(e store.Endpoint) error {
	if !presence.ValidAppID(string(e.App)) || e.Name == "" || len(e.Name) > store.MaxEndpointName {
		return fmt.Errorf("endpoint %q: %w", e, store.ErrRefused)
	}
	return nil
}

// SaveCursors implements store.CursorKeeper.
func (m *Memory) SaveCursors(_ context.Context, c store.Cursors) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return 0, store.ErrClosed
	}
	if err := validEndpoint(c.Endpoint); err != nil {
		return 0, err
	}
	if len(c.Lanes) > store.MaxLanes || slices.ContainsFunc(c.Lanes, func(l store.Cursor) bool {
		return len(l.State)+len(l.Position) > store.MaxCursorState
	}) {
		return 0, fmt.Errorf("cursors too large: %w", store.ErrRefused)
	}
	old := m.reading.cursors[c.Endpoint]
	switch {
	case c.Term < old.Term:
		return 0, store.ErrTerm
	case c.Revision != old.Revision:
		return 0, fmt.Errorf("%w: %w", store.ErrRefused, store.ErrMoved)
	}
	m.reading.last++
	c.Revision, c.Lanes = m.reading.last, cloneLanes(c.Lanes)
	m.reading.cursors[c.Endpoint] = c
	return c.Revision, nil
}

// ListCursors implements store.CursorKeeper.
func (m *Memory) ListCursors(_ context.Context, f func(store.Cursors) error) error {
	m.mu.Lock()
	var all []store.Cursors
	for _, c := range m.reading.cursors {
		if c.Lanes != nil || c.Term > 0 {
			c.Lanes = cloneLanes(c.Lanes)
			all = append(all, c)
		}
	}
	stopped := m.stopped
	m.mu.Unlock()
	if stopped {
		return store.ErrClosed
	}
	for _, c := range all {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// DropCursors implements store.CursorKeeper.
func (m *Memory) DropCursors(_ context.Context, e store.Endpoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	if _, ok := m.reading.cursors[e]; ok {
		m.reading.last++
		m.reading.cursors[e] = store.Cursors{Endpoint: e, Revision: m.reading.last}
	}
	return nil
}

// AddLetters implements store.Letters.
func (m *Memory) AddLetters(_ context.Context, e store.Endpoint, letters []store.Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	if err := validEndpoint(e); err != nil {
		return err
	}
	for _, l := range letters {
		if len(l.Body) > store.MaxLetterBody || l.User.App != e.App || !presence.ValidUserID(string(l.User.ID)) || l.Lane < 0 || l.Lane > store.MaxLanes {
			return fmt.Errorf("letter: %w", store.ErrRefused)
		}
	}
	for _, l := range letters {
		m.reading.last++
		l.Number, l.Body = m.reading.last, bytes.Clone(l.Body)
		m.reading.letters = append(m.reading.letters, memoryLetter{e, time.Now(), l})
	}
	return nil
}

// lettersOf returns copies of an endpoint's letters.
func (m *Memory) lettersOf(e store.Endpoint) (all []store.Letter, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, store.ErrClosed
	}
	for _, l := range m.reading.letters {
		if l.endpoint == e && time.Since(l.stored) < store.MaxLetterAge {
			l.Body = bytes.Clone(l.Body)
			all = append(all, l.Letter)
		}
	}
	return all, nil
}

// ListLetters implements store.Letters.
func (m *Memory) ListLetters(_ context.Context, e store.Endpoint, filter store.LetterFilter, page store.LetterPage) (letters []store.Letter, next uint64, err error) {
	all, err := m.lettersOf(e)
	if err != nil {
		return nil, 0, err
	}
	for i := range all {
		l := &all[i]
		if l.Number <= page.After {
			continue
		}
		if len(letters) >= max(page.Limit, 1) {
			return letters, next, nil
		}
		if next = l.Number; filter.Match(l) {
			letters = append(letters, *l)
		}
	}
	return letters, 0, nil
}

// CountLetters implements store.Letters.
func (m *Memory) CountLetters(_ context.Context, e store.Endpoint) (int, error) {
	all, err := m.lettersOf(e)
	return len(all), err
}

// ReadLetter implements store.Letters.
func (m *Memory) ReadLetter(_ context.Context, e store.Endpoint, number uint64) (store.Letter, error) {
	all, err := m.lettersOf(e)
	if err != nil {
		return store.Letter{}, err
	}
	for _, l := range all {
		if l.Number == number {
			return l, nil
		}
	}
	return store.Letter{}, store.ErrNoLetter
}

// TakeLetters implements store.Letters.
func (m *Memory) TakeLetters(_ context.Context, e store.Endpoint, numbers []uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	m.reading.letters = slices.DeleteFunc(m.reading.letters, func(l memoryLetter) bool {
		return l.endpoint == e && slices.Contains(numbers, l.Number)
	})
	return nil
}

// EraseLetters implements store.Letters.
func (m *Memory) EraseLetters(_ context.Context, user presence.User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	m.reading.letters = slices.DeleteFunc(m.reading.letters, func(l memoryLetter) bool { return l.User == user })
	return nil
}
