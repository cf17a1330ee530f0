package clustertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// Quorum is where the nodes of a test keep that they live. It stands aside of the
// network's cuts: what reaches it is said here.
type Quorum struct {
	net *Network

	mu      sync.Mutex // guards what follows
	down    bool
	cut     map[string]bool
	delay   time.Duration
	records map[string]store.Life
	renewal uint64
	counter uint64
	renewed map[string][]time.Time // when each record changed, oldest first
}

// NewQuorum returns a quorum that is up. Nodes that are paused on the network do
// not get its answers before they go on.
func NewQuorum(net *Network) *Quorum {
	return &Quorum{net: net, cut: map[string]bool{}, records: map[string]store.Life{}, renewed: map[string][]time.Time{}}
}

// SetDown takes the quorum away from all, or gives it back: calls wait until
// their ctx ends.
func (q *Quorum) SetDown(down bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = down
}

// Cut takes the quorum away from one node, or gives it back.
func (q *Quorum) Cut(name string, cut bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cut[name] = cut
}

// Heal undoes SetDown, Cut and SetDelay.
func (q *Quorum) Heal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down, q.delay = false, 0
	clear(q.cut)
}

// SetDelay is how long each call takes.
func (q *Quorum) SetDelay(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay = d
}

// Away reports whether the quorum is out of a node's reach.
func (q *Quorum) Away(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.down || q.cut[name]
}

// Renewed is how long ago a node's record was last renewed.
func (q *Quorum) Renewed(name string) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.renewed[name]
	if len(all) == 0 {
		return time.Since(time.Time{})
	}
	return time.Since(all[len(all)-1])
}

// Unrenewed reports whether, at some time within the last `within`, a node's record
// had not been renewed for d, or was not there.
func (q *Quorum) Unrenewed(name string, d, within time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, there := q.records[name]; !there {
		return true
	}
	all, end := q.renewed[name], time.Now()
	for i := len(all) - 1; i >= 0; i-- {
		if end.Sub(all[i]) >= d {
			return true
		}
		if end = all[i]; time.Since(end) > within {
			return false
		}
	}
	return true
}

// renew notes that a record changed. mu is held.
func (q *Quorum) renew(name string) {
	const kept = 64
	q.renewed[name] = append(q.renewed[name], time.Now())
	if n := len(q.renewed[name]); n > 2*kept {
		q.renewed[name] = slices.Delete(q.renewed[name], 0, n-kept)
	}
}

// Next counts incarnations: 1, 2, 3, …
func (q *Quorum) Next() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counter++
	return q.counter
}

// For returns the quorum as one node sees it: a store.Liveness.
func (q *Quorum) For(w *Wire) *Seat { return &Seat{q: q, wire: w} }

// Seat is one node's access to the quorum.
type Seat struct {
	q    *Quorum
	wire *Wire
}

var _ store.Liveness = (*Seat)(nil)

// reach waits as long as the call takes, or for ctx when the quorum is away.
func (s *Seat) reach(ctx context.Context) error {
	if err := s.q.net.gate(s.wire.name, s.wire.closed); err != nil {
		return err
	}
	select {
	case <-s.wire.closed:
		return errClosed // a dead node says nothing, not even goodbye
	default:
	}
	s.q.mu.Lock()
	away, d := s.q.down || s.q.cut[s.wire.name], s.q.delay
	s.q.mu.Unlock()
	if !away && d == 0 {
		return nil
	}
	var later <-chan time.Time
	if !away {
		timer := time.NewTimer(d)
		defer timer.Stop()
		later = timer.C
	}
	select {
	case <-later:
		return s.q.net.gate(s.wire.name, s.wire.closed)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.wire.closed:
		return errClosed
	}
}

// Renew is store.Liveness's.
func (s *Seat) Renew(ctx context.Context, name string, incarnation uint64) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if s.q.records[name].Incarnation > incarnation {
		return store.ErrReplaced
	}
	s.q.renewal++
	s.q.renew(name)
	s.q.records[name] = store.Life{Name: name, Incarnation: incarnation, Renewal: s.q.renewal}
	return nil
}

// Leave is store.Liveness's.
func (s *Seat) Leave(ctx context.Context, name string, incarnation uint64) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if s.q.records[name].Incarnation == incarnation {
		delete(s.q.records, name)
	}
	return nil
}

// Members is store.Liveness's.
func (s *Seat) Members(ctx context.Context) ([]store.Life, error) {
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	all := make([]store.Life, 0, len(s.q.records))
	for _, r := range s.q.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b store.Life) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Incarnation takes the next number through the quorum, as a node does at its
// start and when it comes back too late.
func (s *Seat) Incarnation(ctx context.Context) (uint64, error) {
	if err := s.reach(ctx); err != nil {
		return 0, err
	}
	return s.q.Next(), nil
}
