package webhook

import (
	"context"
	"slices"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// fakeStore keeps cursors and letters in memory.
type fakeStore struct {
	mu      sync.Mutex
	cursors map[store.Endpoint]store.Cursors
	letters map[store.Endpoint][]store.Letter
	number  uint64
	saves   int
	fail    func() error // of each write; nil: none
}

func newFakeStore() *fakeStore {
	return &fakeStore{cursors: map[store.Endpoint]store.Cursors{}, letters: map[store.Endpoint][]store.Letter{}}
}

func (s *fakeStore) failed() error {
	if s.fail == nil {
		return nil
	}
	return s.fail()
}

func (s *fakeStore) LoadCursors(_ context.Context, e store.Endpoint) (store.Cursors, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cursors[e]
	c.Endpoint, c.Lanes = e, slices.Clone(c.Lanes)
	return c, nil
}

func (s *fakeStore) SaveCursors(_ context.Context, c store.Cursors) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(); err != nil {
		return 0, err
	}
	was := s.cursors[c.Endpoint]
	switch {
	case c.Term < was.Term:
		return 0, store.ErrTerm
	case c.Revision != was.Revision:
		return 0, store.ErrMoved
	}
	s.saves++
	c.Revision++
	c.Lanes = slices.Clone(c.Lanes)
	s.cursors[c.Endpoint] = c
	return c.Revision, nil
}

func (s *fakeStore) AddLetters(_ context.Context, e store.Endpoint, letters []store.Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed(); err != nil {
		return err
	}
	for _, l := range letters {
		if len(l.Body) > store.MaxLetterBody {
			return store.ErrRefused
		}
	}
	for _, l := range letters {
		s.number++
		l.Number = s.number
		s.letters[e] = append(s.letters[e], l)
	}
	return nil
}

func (s *fakeStore) ListLetters(_ context.Context, e store.Endpoint, _ store.LetterFilter, page store.LetterPage) (found []store.Letter, next uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.letters[e] {
		if l.Number > page.After {
			if len(found) == page.Limit {
				return found, found[len(found)-1].Number, nil
			}
			found = append(found, l)
		}
	}
	return found, 0, nil
}

func (s *fakeStore) CountLetters(_ context.Context, e store.Endpoint) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.letters[e]), nil
}

func (s *fakeStore) ReadLetter(_ context.Context, e store.Endpoint, number uint64) (store.Letter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.letters[e] {
		if l.Number == number {
			return l, nil
		}
	}
	return store.Letter{}, store.ErrNoLetter
}

func (s *fakeStore) TakeLetters(_ context.Context, e store.Endpoint, numbers []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters[e] = slices.DeleteFunc(s.letters[e], func(l store.Letter) bool { return slices.Contains(numbers, l.Number) })
	return nil
}
