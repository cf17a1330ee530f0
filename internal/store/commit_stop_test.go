package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestCommitFlush(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		if err := c.Flush(context.Background()); err != nil {
			t.Errorf("Flush of nothing: got %v, want no error", err)
		}
		release := m.Hold()
		c.submit(0, opened)
		synctest.Wait()
		c.submit(1, opened)
		flushed := make(chan int, 1)
		go func() {
			if err := c.Flush(context.Background()); err != nil {
				t.Errorf("Flush: got %v, want no error", err)
			}
			flushed <- len(c.take())
		}()
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush beyond its time: got %v, want the context's error", err)
		}
		release()
		pass(time.Second)
		if got := <-flushed; got != 2 {
			t.Errorf("done when Flush returned: got %d, want 2", got)
		}
	})
}

func TestCommitStopsWhenAllIsStored(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		m.Lose(2, true)
		for n := range 300 {
			c.submit(n, opened)
		}
		if err := c.Stop(context.Background()); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		c.want(t, nil, upTo(300)...)
		c.submit(300, opened)
		c.want(t, store.ErrClosed, 300)
		if err := c.Stop(context.Background()); err != nil {
			t.Errorf("Stop again: got %v, want no error", err)
		}
		c.Start()
	})
}

func TestCommitStopsWhenItsTimeIsOver(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		m.Refuse(errors.New("disk full"))
		c.submit(0, closed) // parked
		synctest.Wait()
		m.Refuse(nil)
		m.Hold()
		c.submit(1, opened) // at the log
		pass(5 * time.Millisecond)
		c.submit(2, opened) // waits
		c.submit(3, closed)
		late := time.AfterFunc(time.Second, func() { c.submit(4, opened) })
		defer late.Stop()
		short, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := c.Stop(short); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Stop: got %v, want ErrClosed", err)
		}
		for _, r := range c.take() {
			if !errors.Is(r.err, store.ErrClosed) || errors.Is(r.err, store.ErrUnknown) != (r.n == 1) && r.n != 0 {
				t.Errorf("result of %d: got %v, want ErrClosed, and ErrUnknown for what was at the log", r.n, r.err)
			}
		}
		if s := c.Stats(); s.Waiting != 0 || s.Parked != 0 {
			t.Errorf("Stats: got %+v, want nothing left", s)
		}
	})
}

func TestCommitStopsBeforeStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		c := &submitter{Committer: store.NewCommitter(m, store.CommitterConfig{})}
		c.submit(0, opened)
		if err := c.Stop(context.Background()); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		c.want(t, store.ErrClosed, 0)
		if len(m.Records()) != 0 {
			t.Error("records were stored without Start")
		}
		c.Start() // does nothing
	})
}

func TestCommitStopsWithItsLog(t *testing.T) {
	commit(t, store.CommitterConfig{}, func(t *testing.T, m *storetest.Memory, c *submitter) {
		m.Stop()
		c.submit(0, opened)
		c.submit(1, closed)
		pass(time.Second)
		c.want(t, store.ErrClosed, 0, 1)
	})
}

// TestCommitStartStopStress has many start, submit, flush and stop at once;
// every claim must be answered exactly once.
func TestCommitStartStopStress(t *testing.T) {
	t.Parallel()
	for range 20 {
		m := storetest.NewMemory()
		m.Lose(1, true)
		c := store.NewCommitter(m, store.CommitterConfig{MaxQueue: 50, Pace: 50 * time.Microsecond, Burst: 1})
		var (
			wg      sync.WaitGroup
			mu      sync.Mutex
			answers = map[string]int{}
		)
		const workers, each = 8, 40
		claims := sync.WaitGroup{}
		for w := range workers {
			wg.Go(func() {
				c.Start()
				for i := range each {
					name := fmt.Sprint(w, "-", i)
					kind := opened
					if i%3 == 0 {
						kind = closed
					}
					r := storetest.Records(w, 1)[0]
					r.Kind = kind
					claims.Add(1)
					c.Submit(store.Claim{Record: r, Done: func(store.Position, error) {
						mu.Lock()
						answers[name]++
						mu.Unlock()
						claims.Done()
					}})
				}
				if w == 0 {
					_ = c.Flush(context.Background())
				}
				if err := c.Stop(context.Background()); err != nil {
					t.Errorf("Stop: got %v, want no error", err)
				}
			})
		}
		wg.Wait()
		claims.Wait()
		for name, n := range answers {
			if n != 1 {
				t.Errorf("claim %s: got %d answers, want 1", name, n)
			}
		}
		if len(answers) != workers*each {
			t.Errorf("got answers to %d claims, want %d", len(answers), workers*each)
		}
	}
}
