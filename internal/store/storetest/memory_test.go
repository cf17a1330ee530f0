package storetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.OpenMemory())
}

func TestMemoryMisbehaves(t *testing.T) {
	t.Parallel()
	ctx, rs := context.Background(), storetest.Records(1, 1)

	t.Run("refuse", func(t *testing.T) {
		t.Parallel()
		m, why := storetest.NewMemory(), errors.New("disk full")
		m.Refuse(why)
		if _, err := m.Append(ctx, "a", rs); !errors.Is(err, store.ErrRefused) || !errors.Is(err, why) {
			t.Errorf("got %v, want ErrRefused and the reason", err)
		}
		if m.Health() == nil {
			t.Error("Health: got nil, want the reason")
		}
		m.Refuse(nil)
		if _, err := m.Append(ctx, "a", rs); err != nil {
			t.Errorf("afterwards: got %v, want no error", err)
		}
	})
	t.Run("lose", func(t *testing.T) {
		t.Parallel()
		m := storetest.NewMemory()
		m.Lose(1, true)
		m.Lose(1, false)
		for _, id := range []string{"kept", "lost"} {
			if _, err := m.Append(ctx, id, rs); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("%s: got %v, want ErrUnknown", id, err)
			}
		}
		if got := len(m.Records()); got != 1 {
			t.Errorf("got %d records, want the kept one", got)
		}
		if pos, err := m.Append(ctx, "kept", rs); err != nil || pos.Sequence != 1 {
			t.Errorf("kept again: got %v, %v, want the first's position", pos, err)
		}
	})
	t.Run("hold", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := storetest.NewMemory()
			release := m.Hold()
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := m.Append(short, "a", rs); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("held beyond its time: got %v, want ErrUnknown", err)
			}
			answer := make(chan error)
			go func() { _, err := m.Append(ctx, "a", rs); answer <- err }()
			synctest.Wait()
			if m.Held() != 1 {
				t.Errorf("Held: got %d, want 1", m.Held())
			}
			release()
			release()
			if err := <-answer; err != nil || m.Held() != 0 {
				t.Errorf("released: got %v with %d held, want no error and none", err, m.Held())
			}
		})
	})
}
