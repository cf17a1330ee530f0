package lease

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// TestTermsDiffer: whatever nodes see of each other, no two ever have a duty under
// one term, and who has it is, in his own view, its owner.
func TestTermsDiffer(t *testing.T) {
	watch := rapidtest.Observe(t, rapidtest.Limit)
	inBubble(t, func(t *testing.T) {
		watch.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			n := newNodes(t, rt)
			for range rapid.IntRange(20, 120).Draw(rt, "steps") {
				n.step()
				for i := range n.worlds {
					n.check(i)
				}
			}
			for _, l := range n.leases {
				l.Stop()
			}
		})
	})
}

// nodes are three that see each other by chance.
type nodes struct {
	rt     *rapid.T
	worlds []*world
	leases []*Leases
	alive  []bool         // its renewals arrive
	terms  map[uint64]int // who had the duty under it
}

func newNodes(t *testing.T, rt *rapid.T) *nodes {
	n, c := &nodes{rt: rt, alive: []bool{true, true, true}, terms: map[uint64]int{}}, &counter{}
	for i := range n.alive {
		w := &world{self: uint64(i + 1), owner: 1, joined: true, renewed: time.Now(), heard: map[uint64]time.Time{}, left: map[uint64]bool{}}
		n.worlds, n.leases = append(n.worlds, w), append(n.leases, newLeases(t, w, c))
	}
	return n
}

// step lets something happen to a node, and some time pass.
func (n *nodes) step() {
	i := rapid.IntRange(0, 2).Draw(n.rt, "node")
	w := n.worlds[i]
	switch rapid.IntRange(0, 3).Draw(n.rt, "what") {
	case 0:
		n.alive[i] = !n.alive[i]
		w.set(func() { w.joined = n.alive[i] })
	case 1: // its view of the owner changes: only to nodes that are alive
		to := rapid.IntRange(1, 3).Draw(n.rt, "to")
		if n.alive[to-1] {
			w.set(func() { w.owner = uint64(to) })
		}
	}
	pass(time.Duration(rapid.IntRange(0, 1500).Draw(n.rt, "ms")) * time.Millisecond)
	n.renew()
}

// renew confirms who is alive, and lets all hear him.
func (n *nodes) renew() {
	now := time.Now()
	for i, w := range n.worlds {
		if !n.alive[i] {
			continue
		}
		w.set(func() { w.renewed = now })
		for _, o := range n.worlds {
			o.set(func() { o.heard[w.self] = now })
		}
	}
}

// check holds a node's right to the duty, if it has it, against what it sees and
// against the terms of the others.
func (n *nodes) check(i int) {
	l, w := n.leases[i], n.worlds[i]
	l.Held("a")
	synctest.Wait()
	term, until := l.Held("a")
	if term == 0 {
		return
	}
	if owner := w.Owner(nil); owner != w.self {
		n.rt.Fatalf("node %d has what is node %d's", w.self, owner)
	}
	if !time.Now().Before(until) {
		n.rt.Fatalf("node %d has what it may not have since %v", w.self, time.Since(until))
	}
	if was, ok := n.terms[term]; ok && was != i {
		n.rt.Fatalf("nodes %d and %d have term %d", was, i, term)
	}
	n.terms[term] = i
}
