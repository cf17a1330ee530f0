package clustertest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ cluster.Transport = (*clustertest.Wire)(nil)

// pair is two nodes; b notes what it gets.
func pair(t *testing.T) (n *clustertest.Network, a, b *clustertest.Wire, got func() []string) {
	n = clustertest.NewNetwork(1)
	a, b = n.Wire("a"), n.Wire("b")
	var mu sync.Mutex // guards all
	var all []string
	if _, err := b.Subscribe("x.*", func(_ string, m []byte, reply func([]byte)) {
		mu.Lock()
		all = append(all, string(m))
		mu.Unlock()
		reply([]byte("got " + string(m)))
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return n, a, b, func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func wait(d time.Duration) { <-time.After(d) }

func TestInOrderWithoutFaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, _, got := pair(t)
		n.SetFaults(clustertest.Faults{Delay: time.Millisecond, Jitter: 50 * time.Millisecond})
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprint(i))
			if err := a.Publish("x.1", []byte(want[i])); err != nil {
				t.Fatal(err)
			}
		}
		if len(got()) != 0 {
			t.Error("came without delay")
		}
		wait(time.Second)
		if !slices.Equal(got(), want) {
			t.Errorf("got %v", got())
		}
	})
}

func TestFaults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, _, got := pair(t)
		n.SetFaults(clustertest.Faults{Loss: 0.2, Double: 0.2, Jitter: 50 * time.Millisecond, Reorder: true})
		const sent = 1000
		for i := range sent {
			_ = a.Publish("x.1", []byte(fmt.Sprintf("%04d", i)))
		}
		wait(time.Second)
		all := got()
		if slices.IsSorted(all) {
			t.Error("nothing was reordered")
		}
		once := slices.Compact(slices.Sorted(slices.Values(all)))
		if lost := sent - len(once); lost < 100 || lost > 300 {
			t.Errorf("%d of %d lost, want about 200", lost, sent)
		}
		if doubled := len(all) - len(once); doubled < 80 || doubled > 250 {
			t.Errorf("%d of %d doubled, want about 160", doubled, sent)
		}
	})
}

func TestCutsAreOneSided(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, _, got := pair(t)
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.Request(ctx, "x.1", []byte("?"))
			return err
		}
		n.Cut("b", "a") // answers do not come back, questions do arrive
		if err := ask(); err == nil || len(got()) != 1 {
			t.Errorf("b to a cut: got %v, %v", err, got())
		}
		n.Mend("b", "a")
		n.Cut("a", "b")
		if err := ask(); err == nil || len(got()) != 1 {
			t.Errorf("a to b cut: got %v, %v", err, got())
		}
		n.Heal()
		if err := ask(); err != nil || len(got()) != 2 {
			t.Errorf("healed: got %v, %v", err, got())
		}
		if _, err := a.Request(t.Context(), "y", nil); err == nil {
			t.Error("an answer from nobody")
		}
	})
}

func TestPauseHoldsBothWays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b, got := pair(t)
		n.Pause("b")
		_ = a.Publish("x.1", []byte("1"))
		var sent atomic.Bool
		go func() { sent.Store(b.Publish("x.1", []byte("2")) == nil) }()
		wait(time.Minute)
		if len(got()) != 0 || sent.Load() {
			t.Errorf("while paused: got %v, sent %v", got(), sent.Load())
		}
		n.Resume("b")
		if all := got(); len(all) != 2 || !sent.Load() {
			t.Errorf("after: got %v, sent %v", all, sent.Load())
		}
	})
}

func TestQuorumWaitsWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b, _ := pair(t)
		q := clustertest.NewQuorum(n)
		try := func(s *clustertest.Seat) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.Renew(ctx, "a", 1)
		}
		q.SetDown(true)
		if try(q.For(a)) == nil {
			t.Error("down: got no error")
		}
		q.Heal()
		q.Cut("b", true)
		if try(q.For(a)) != nil || try(q.For(b)) == nil {
			t.Error("only b is cut")
		}
		q.Heal()
		first, _ := q.For(a).Members(t.Context())
		_ = try(q.For(a))
		second, err := q.For(b).Members(t.Context())
		if err != nil || len(second) != 1 || second[0].Renewal == first[0].Renewal {
			t.Errorf("got %v and %v, %v: a renewal shows", first, second, err)
		}
	})
}
