package store_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestCommitGathersWhileStoring(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		release := m.Hold()
		for n := range 601 {
			c.submit(n, opened)
			if n == 0 {
				synctest.Wait() // the first goes alone
			}
		}
		if got := c.take(); len(got) != 0 {
			t.Fatalf("done before the store acknowledged: got %v, want none", got)
		}
		release()
		pass(time.Second)
		rs := c.want(t, nil, upTo(601)...)
		sizes := map[uint64]int{}
		for i, r := range rs {
			if i > 0 && !rs[i-1].pos.Before(r.pos) || int(r.pos.Index) != sizes[r.pos.Sequence] {
				t.Fatalf("position of claim %d: got %v after %v", i, r.pos, rs[max(i-1, 0)].pos)
			}
			sizes[r.pos.Sequence]++
		}
		if diff := cmp.Diff(map[uint64]int{1: 1, 2: 256, 3: 256, 4: 88}, sizes); diff != "" {
			t.Errorf("records by message (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(upTo(601), revisions(m)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if s := c.Stats(); s.Records != 601 || s.Messages != 4 || s.Waiting != 0 || s.Lag != 0 {
			t.Errorf("Stats: got %+v, want 601 records in 4 messages, none waiting", s)
		}
	})
}

func TestCommitPaces(t *testing.T) {
	commit(t, store.CommitterConfig{Pace: 10 * time.Millisecond, Burst: 1}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		c.submit(0, opened)
		c.want(t, nil, 0) // after a quiet while at once
		pass(4 * time.Millisecond)
		c.submit(1, opened)
		c.submit(2, opened)
		c.want(t, nil)
		if s := c.Stats(); s.Waiting != 2 || s.Lag != 0 {
			t.Errorf("Stats: got %+v, want 2 waiting since now", s)
		}
		pass(5 * time.Millisecond)
		c.want(t, nil)
		if s := c.Stats(); s.Lag != 5*time.Millisecond {
			t.Errorf("Lag: got %v, want 5ms", s.Lag)
		}
		pass(time.Millisecond)
		c.want(t, nil, 1, 2)
		for n := range store.MaxRecords {
			c.submit(3+n, opened)
		}
		if got := c.take(); len(got) != store.MaxRecords {
			t.Errorf("a full message within the pace: got %d done, want all at once", len(got))
		}
		_ = m
	})
}

// TestCommitBurst has one message after the other go out at once until the
// burst is used up, which a quiet while fills again.
func TestCommitBurst(t *testing.T) {
	commit(t, store.CommitterConfig{Pace: 10 * time.Millisecond, Burst: 3}, func(t *testing.T, _ *storetest.Memory, c *submitter) {
		for round := range 2 {
			for n := range 3 {
				c.submit(n, opened)
				c.want(t, nil, n)
			}
			c.submit(3, opened)
			c.want(t, nil)
			pass(9 * time.Millisecond)
			c.want(t, nil)
			pass(time.Millisecond)
			c.want(t, nil, 3)
			pass(time.Duration(30*(1-round)) * time.Millisecond)
		}
		c.submit(4, opened)
		c.want(t, nil)
		pass(10 * time.Millisecond)
		c.want(t, nil, 4)
	})
}

func TestCommitTriesUnknownAgain(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
				m.Lose(3, stored)
				c.submit(0, opened)
				synctest.Wait()
				c.submit(1, closed) // waits behind
				c.want(t, nil)
				pass(3 * time.Second) // three waits of at most 100, 200, 400 ms
				c.want(t, nil, 0, 1)
				if diff := cmp.Diff([]int{0, 1}, revisions(m)); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
				if s := c.Stats(); s.Retries != 3 {
					t.Errorf("Retries: got %d, want 3", s.Retries)
				}
			})
		})
	}
}

// What nobody wants any more when its message is made is not stored, and holds up
// nobody; what is at the store already is.
func TestCommitStoresNothingWithdrawn(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		var gone atomic.Bool
		release := m.Hold()
		c.submitWhile(0, opened, gone.Load)
		synctest.Wait() // it is at the store
		c.submitWhile(1, opened, gone.Load)
		c.submit(2, opened)
		gone.Store(true)
		release()
		pass(time.Second)
		var results []string
		for _, r := range c.take() {
			results = append(results, fmt.Sprint(r.n, " ", errors.Is(r.err, store.ErrRefused)))
		}
		if diff := cmp.Diff([]string{"0 false", "1 true", "2 false"}, results); diff != "" {
			t.Errorf("claims, and whether they were refused (-want +got):\n%s", diff)
		}
		c.submitWhile(3, opened, gone.Load) // alone
		pass(time.Second)
		c.want(t, store.ErrRefused, 3)
		c.submit(4, opened)
		pass(time.Second)
		c.want(t, nil, 4)
		if diff := cmp.Diff([]int{0, 2, 4}, revisions(m)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if s := c.Stats(); s.Refused != 2 || s.Waiting != 0 {
			t.Errorf("Stats: got %+v, want 2 refused and none waiting", s)
		}
	})
}

func TestCommitGivesUnknownUp(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		m.Lose(1<<20, false)
		c.submit(0, opened)
		c.submit(1, closed)
		pass(10*time.Minute - time.Second)
		c.want(t, nil)
		pass(10 * time.Second)
		c.want(t, store.ErrUnknown, 0)
		if s := c.Stats(); s.Parked+s.Waiting > 1 || s.Refused != 1 {
			t.Errorf("Stats: got %+v, want the closed one kept", s)
		}
		pass(time.Hour) // the closed one is tried for ever
		c.want(t, nil)
		mustRecover(t, m, c)
		c.want(t, nil, 1)
		if diff := cmp.Diff([]int{1}, revisions(m)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestCommitParksRefusedClosed(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		m.Refuse(errors.New("disk full"))
		c.submit(0, closed)
		synctest.Wait()
		for n, kind := range []presence.RecordKind{opened, presence.RecordMoved, presence.RecordHidden, presence.RecordShown, presence.RecordCustom, closed} {
			c.submit(n+1, kind)
		}
		pass(5 * time.Millisecond)
		c.want(t, store.ErrRefused, 1, 2, 3, 4, 5)
		if s := c.Stats(); s.Parked != 2 || s.Refused != 5 {
			t.Errorf("Stats: got %+v, want 2 parked, 5 refused", s)
		}
		pass(time.Hour)
		c.want(t, nil)

		m.Refuse(nil)
		c.submit(7, opened)
		if rs := c.take(); len(rs) == 0 || rs[0].n != 7 || rs[0].err != nil {
			t.Errorf("an opening while closed ones are parked: got %v, want it stored at once", rs)
		}
		mustRecover(t, m, c)
		c.want(t, nil, 0, 6)
	})
}

func TestCommitBoundsTheQueue(t *testing.T) {
	commit(t, store.CommitterConfig{MaxQueue: 10}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		release := m.Hold()
		c.submit(0, opened)
		synctest.Wait()
		for n := range 10 {
			c.submit(1+n, opened)
		}
		c.submit(11, opened)
		c.submit(12, closed)
		c.submit(13, presence.RecordCustom)
		c.want(t, store.ErrRefused, 11, 13) // at once, though the store stands still
		if s := c.Stats(); s.Waiting != 11 {
			t.Errorf("Waiting: got %d, want 11", s.Waiting)
		}
		release()
		pass(time.Second)
		c.want(t, nil, append(upTo(11), 12)...)
	})
}
