package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// What convicts nobody: votes that are old, or of who has none.

func TestNobodyIsLostWithoutQuorum(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.quorum.SetDown(true)
		wait(4 * time.Second)
		w.kill("c")
		wait(30 * time.Second)
		w.nodes["a"].is(t, "without a quorum", "silent 3")
		if w.nodes["a"].c.Quorum() {
			t.Error("says that there is a quorum")
		}
		w.quorum.Heal()
		wait(3 * time.Second)
		w.nodes["a"].is(t, "with it again", "lost 3")
		if s := w.nodes["a"].standing("c"); s != "lost" {
			t.Errorf("c is %s: nobody could return while there was no quorum", s)
		}
		wait(6 * time.Second)
		if s := w.nodes["a"].standing("c"); s != "gone" {
			t.Errorf("c is %s: the time to return is over", s)
		}
	})
}

// The record of the quorum votes as it is now: a reading from before it was renewed
// does not count.
func TestOldReadingsDoNotCount(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		a, dark := startBlind(t, w, "a")
		w.calm("b", "c", "d")
		w.net.Cut("d", "a")
		w.quorum.Cut("d", true)
		wait(6 * time.Second) // a is silent to d, and so is the record
		dark.Store(true)
		w.quorum.Cut("d", false)
		wait(3 * time.Second)
		w.net.Cut("d", "b") // two of four now: the record decides, and d renews it
		wait(10 * time.Second)
		if got := a.table.seen(); slices.Contains(got, "lost 4") {
			t.Errorf("a heard %v: c hears d, and the quorum has it renewed", got)
		}
	})
}

// The judge's own liveness must be acknowledged within three seconds, though it
// was when the silence began.
func TestNoVerdictOnAnOldLease(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.net.Cut("c", "a") // a has not heard c for long, b has
		wait(10 * time.Second)
		w.quorum.SetDown(true)
		w.kill("c")
		wait(20 * time.Second)
		w.nodes["a"].is(t, "without a quorum", "silent 3")
	})
}

// A report that was long on its way says nothing of now.
func TestOldReportsDoNotCount(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.net.Cut("c", "a")
		w.net.Slow("b", "a", 6*time.Second)
		wait(10 * time.Second) // a hears b again, as it was
		w.net.Pause("c")
		wait(4 * time.Second) // b is silent to c, and says so
		w.net.Resume("c")
		wait(20 * time.Second)
		if s := w.nodes["a"].table.seen(); slices.Contains(s, "lost 3") {
			t.Errorf("a heard %v: b heard c again long ago", s)
		}
	})
}

// blind is a quorum whose records cannot be read any more.
type blind struct {
	store.Liveness
	now *atomic.Bool
}

// Members is store.Liveness's.
func (b blind) Members(ctx context.Context) ([]store.Life, error) {
	if b.now.Load() {
		return nil, errors.New("blind")
	}
	return b.Liveness.Members(ctx)
}

// startBlind starts a node that cannot read the quorum's records while it is dark.
func startBlind(t *testing.T, w *world, name string) (n *node, dark *atomic.Bool) {
	t.Helper()
	dark = &atomic.Bool{}
	n = w.make(name, func(cfg *cluster.Config) { cfg.Liveness = blind{cfg.Liveness, dark} })
	if err := n.c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n, dark
}

// A majority is one of all members, those that were never heard among them; who
// cannot read who they are convicts nobody.
func TestMajorityIsOfAll(t *testing.T) {
	t.Parallel()
	for _, sees := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", sees), func(t *testing.T) {
			inWorld(t, "", func(t *testing.T, w *world) {
				a, dark := startBlind(t, w, "a")
				w.calm("b", "c")
				dark.Store(!sees)
				for _, late := range []string{"d", "e"} {
					w.net.CutBoth("a", late)
					w.net.CutBoth("b", late)
				}
				w.start("d", "e")
				w.net.CutBoth("a", "c")
				w.net.CutBoth("b", "c")
				wait(20 * time.Second)
				if got := a.table.seen(); slices.Contains(got, "lost 3") {
					t.Errorf("a heard %v: d and e hear c", got)
				}
				if got := w.nodes["b"].table.seen(); slices.Contains(got, "lost 3") {
					t.Errorf("b heard %v: d and e hear c", got)
				}
			})
		})
	}
}

// Who takes no part judges nobody: here a node whose name was taken by another
// process while it still had its lease.
func TestWhoTakesNoPartJudgesNobody(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		first := w.nodes["a"]
		w.kill("c")
		wait(2400 * time.Millisecond)
		w.start("a")
		wait(5 * time.Second)
		first.is(t, "its name taken", "silent 3", "isolated")
		_ = first.c.Stop(t.Context())
		first.wire.Close()
	})
}

// A heartbeat that comes again, or late, is no sign of life.
func TestOldHeartbeatsAreNoLife(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		ghost := w.net.Wire("ghost")
		defer ghost.Close()
		var words [][]byte
		if _, err := ghost.Subscribe("hb", func(_ string, b []byte, _ func([]byte)) {
			if b[2] == 3 {
				words = append(words, b)
			}
		}); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
		w.kill("c")
		for i := range 40 {
			_ = ghost.Publish("hb", words[i%len(words)])
			wait(100 * time.Millisecond)
		}
		w.nodes["a"].is(t, "of a ghost", "silent 3", "lost 3")
	})
}
