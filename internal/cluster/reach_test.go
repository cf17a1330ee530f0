package cluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// has reports whether a node's table has a session of another one.
func (n *node) has(id uint64, of *node) bool {
	r := n.table.replica(of.c.Self())
	n.table.mu.Lock()
	defer n.table.mu.Unlock()
	_, ok := r.at[id%uint64(len(r.at))][id]
	return ok
}

// TestReachWaitsForAll: when it returns all others have what was changed before, however
// slow the way is to one of them.
func TestReachWaitsForAll(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		for i := range uint64(20) {
			d := time.Duration(i) * 10 * time.Millisecond
			w.net.Slow("a", "b", d)
			wait(d + 10*time.Millisecond) // until what was slower has come
			id := 700_000 + i
			a.table.change(id, false)
			began := time.Now()
			a.c.Reach(t.Context())
			if !b.has(id, a) || !c.has(id, a) {
				t.Errorf("%v after the change b has it: %v, c: %v", time.Since(began), b.has(id, a), c.has(id, a))
			}
			if took := time.Since(began); took > d+20*time.Millisecond {
				t.Errorf("it took %v over a way of %v", took, d)
			}
		}
	})
}

// TestReachWaitsForABatch: an answer that comes before the batch is no answer.
func TestReachWaitsForABatch(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		w.net.Cut("a", "b")
		a.table.change(700_001, false)
		wait(10 * time.Millisecond) // the batch is lost
		w.net.Heal()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		a.c.Reach(ctx)
		if took := time.Since(began); b.has(700_001, a) || took < 50*time.Millisecond {
			t.Errorf("after %v: b has what was lost: %v", took, b.has(700_001, a))
		}
		synctest.Wait()
		w.agree(t)
	})
}

// TestReachOfNobody: who is silent or not there is not waited for.
func TestReachOfNobody(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		w.kill("b")
		began := time.Now()
		a.c.Reach(t.Context())
		if took := time.Since(began); took > 1700*time.Millisecond {
			t.Errorf("a node that died held it up for %v", took)
		}
		w.kill("c")
		wait(2 * time.Second)
		began = time.Now()
		a.c.Reach(t.Context())
		if took := time.Since(began); took != 0 {
			t.Errorf("nobody held it up for %v", took)
		}
	})
}
