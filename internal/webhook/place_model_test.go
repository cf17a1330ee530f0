package webhook

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// happening is one thing that happens to one of three nodes, and the time after it.
type happening struct {
	what string
	node int
	then time.Duration
}

func genHappening() *rapid.Generator[happening] {
	return rapid.Custom(func(t *rapid.T) happening {
		what := []string{"start", "start", "die", "mute", "open", "open", "open", "serve"}
		return happening{rapid.SampledFrom(what).Draw(t, "what"), rapid.IntRange(0, 2).Draw(t, "node"), time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * ms}
	})
}

// TestModelBegin starts nodes and lets them die, before and while one serves, with
// stores that do not answer for a while: whatever happened since a node first said that
// it has started is told, in order.
func TestModelBegin(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(genHappening(), 1, 30).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) { beginOver(t, steps) })
		if t.Failed() {
			rt.Fatalf("failed")
		}
	})
}

// beginnings are a crew to which things happen.
type beginnings struct {
	*crew
	nodes [3]*mate
	term  uint64
	begun chan struct{} // has one if it was stored where the endpoint begins when a start returned
	owed  []string
}

func beginOver(t *testing.T, steps []happening) {
	b := &beginnings{crew: newCrew(t), begun: make(chan struct{}, 1)}
	for i, step := range steps {
		b.happens(i, step)
		elapse(step.then + time.Microsecond) // no two things at once
	}
	for n := range b.nodes {
		b.happens(0, happening{what: "die", node: n})
	}
	last := b.mate()
	last.set(b.term+1, time.Time{})
	last.start()
	elapse(time.Minute)
	last.die()
	newest := map[string]int{}
	for _, e := range b.receiver.events() {
		var user string
		var seq int
		_, _ = fmt.Sscan(e, &user, &seq)
		if newest[user] > 0 && seq > newest[user]+1 {
			t.Errorf("%s came after number %d", e, newest[user])
		}
		newest[user] = max(newest[user], seq)
	}
	for _, e := range b.owed {
		if !slices.Contains(b.receiver.events(), e) {
			t.Errorf("%s was not told; told was %q, owed %q", e, b.receiver.events(), b.owed)
		}
	}
}

func (b *beginnings) happens(i int, step happening) {
	m := b.nodes[step.node]
	switch {
	case step.what == "start" && m == nil:
		b.nodes[step.node] = b.begins()
	case step.what == "open":
		for _, e := range b.log.append(opened, fmt.Sprint("user", i%2), byte(i)) {
			if len(b.begun) > 0 {
				b.owed = append(b.owed, fmt.Sprintf("%s %d opened", e.User.ID, e.Seq))
			}
		}
	case m == nil:
	case step.what == "die":
		m.mute.Store(true)
		m.die()
		b.nodes[step.node] = nil
	case step.what == "mute":
		m.mute.Store(!m.mute.Load())
	case step.what == "serve": // who did has ended by then
		for _, o := range b.nodes {
			if o != nil {
				o.set(0, time.Time{})
			}
		}
		elapse(2 * time.Second)
		b.term++
		m.set(b.term, time.Time{})
	}
}

// begins starts a node, which may have to wait for its store.
func (b *beginnings) begins() *mate {
	m := b.mate()
	go func() {
		m.start()
		select {
		case <-m.d.served("demo")[0].placed:
			signal(b.begun)
		default: // it waited for too long, or died
		}
	}()
	synctest.Wait()
	return m
}
