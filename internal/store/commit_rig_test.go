package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commit runs f in a bubble with a Committer over a store in memory, and stops
// it at the end.
func commit(t *testing.T, cfg store.CommitterConfig, f func(t *testing.T, m *storetest.Memory, c *submitter)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		c := &submitter{Committer: store.NewCommitter(m, cfg)}
		c.Start()
		f(t, m, c)
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.Stop(over)
	})
}

// submitter submits numbered records and keeps their results in the order of
// their Done.
type submitter struct {
	*store.Committer
	mu      sync.Mutex
	results []result
}

type result struct {
	n   int
	pos store.Position
	err error
}

// submit hands in record n of the given kind.
func (s *submitter) submit(n int, kind presence.RecordKind) { s.submitWhile(n, kind, nil) }

// submitWhile hands it in as long as it is not withdrawn.
func (s *submitter) submitWhile(n int, kind presence.RecordKind, withdrawn func() bool) {
	r := storetest.Records(1, n%1000+1)[n%1000]
	r.Kind, r.Revision = kind, uint64(n)
	s.mu.Lock() // held on purpose: Done takes it, so Submit must not call Done
	defer s.mu.Unlock()
	s.Submit(store.Claim{Record: r, Withdrawn: withdrawn, Done: func(pos store.Position, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.results = append(s.results, result{n, pos, err})
	}})
}

// take returns the results since the last take.
func (s *submitter) take() []result {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	rs := s.results
	s.results = nil
	return rs
}

// want checks that the next results are those of the claims, in order, with
// that error (nil: stored).
func (s *submitter) want(t *testing.T, err error, claims ...int) []result {
	t.Helper()
	rs := s.take()
	got := []int{}
	for _, r := range rs {
		got = append(got, r.n)
		if !errors.Is(r.err, err) {
			t.Errorf("result of %d: got %v, want %v", r.n, r.err, err)
		}
	}
	if diff := cmp.Diff(append([]int{}, claims...), got); diff != "" {
		t.Errorf("claims that are done (-want +got):\n%s", diff)
	}
	return rs
}

// pass lets the fake clock run on by d.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// revisions are the revisions of what is in the log, which name the claims.
func revisions(m *storetest.Memory) (all []int) {
	for _, r := range m.Records() {
		all = append(all, int(r.Revision))
	}
	return all
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

const (
	opened = presence.RecordOpened
	closed = presence.RecordClosed
)

// mustRecover ends all losses and waits until parked records are stored.
func mustRecover(t *testing.T, m *storetest.Memory, c *submitter) {
	t.Helper()
	m.Recover()
	pass(10 * time.Second)
	synctest.Wait()
	if s := c.Stats(); s.Parked != 0 {
		t.Errorf("parked records after the store recovered: got %d, want none", s.Parked)
	}
}
