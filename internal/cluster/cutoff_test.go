package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// When a node sends its clients away, and when it must not.

func TestPartialCuts(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(w *world){
		"one way":  func(w *world) { w.net.Cut("c", "a") },
		"two ways": func(w *world) { w.net.CutBoth("c", "a") },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, "a b c", func(t *testing.T, w *world) {
				cut(w)
				for i := range 60 {
					w.nodes["c"].table.change(uint64(i), false)
					wait(time.Second)
				}
				w.nodes["a"].is(t, "cut off from c", "silent 3")
				w.nodes["b"].is(t, "cut off from nobody")
				if s := w.nodes["c"].table.seen(); slices.Contains(s, "isolated") {
					t.Errorf("c heard %v: b hears it", s)
				}
				w.net.Heal()
				w.agree(t)
				w.nodes["a"].is(t, "healed", "returned 3")
			})
		})
	}
}

func TestCutOffNode(t *testing.T) {
	t.Parallel()
	for _, quorum := range []bool{true, false} {
		for _, d := range []time.Duration{4 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprint(d, " quorum ", quorum), func(t *testing.T) {
				inWorld(t, "a b c", func(t *testing.T, w *world) {
					w.alone("c")
					w.quorum.Cut("c", !quorum)
					began := time.Now()
					for c := w.nodes["c"]; c.c.Joined() && time.Since(began) < time.Minute; {
						wait(10 * time.Millisecond)
					}
					if took := time.Since(began); took > 2700*time.Millisecond {
						t.Errorf("isolated after %v: others call it lost by then", took)
					}
					wait(d - time.Since(began))
					w.nodes["c"].is(t, "cut off", "silent 1", "silent 2", "isolated")
					w.net.Heal()
					w.quorum.Heal()
					w.agree(t)
					back := w.nodes["c"].table.seen()
					want := "joined 3"
					if d > 9*time.Second {
						want = "joined 4"
					}
					if !slices.Contains(back, want) {
						t.Errorf("healed: c heard %v, want %s", back, want)
					}
					if a := w.nodes["a"].table.seen(); slices.Contains(a, "returned 3") != (d < 9*time.Second) {
						t.Errorf("healed: a heard %v", a)
					}
				})
			})
		}
	}
}

// Of the two others one cannot be heard and the other does not hear: both may call
// this node lost.
func TestUnheardInTwoWaysIsIsolated(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.net.CutBoth("c", "a")
		w.net.Cut("c", "b")
		wait(2900 * time.Millisecond)
		w.nodes["c"].is(t, "unheard", "silent 1", "isolated")
		wait(20 * time.Second)
		w.net.Heal()
		w.agree(t)
	})
}

// Who is left of three when the others die serves on, as the quorum stands behind
// it and nobody lives who could call it lost.
func TestTheLastNodeStays(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.kill("b")
		w.kill("c")
		wait(30 * time.Second)
		w.nodes["a"].is(t, "alone", "silent 2", "silent 3")
	})
}

// Of five, two that the quorum acknowledges are cut off all the same: the three
// others may call them lost.
func TestASmallerSideIsIsolated(t *testing.T) {
	inWorld(t, "a b c d e", func(t *testing.T, w *world) {
		for _, x := range []string{"a", "b"} {
			for _, y := range []string{"c", "d", "e"} {
				w.net.CutBoth(x, y)
			}
		}
		wait(2700 * time.Millisecond)
		for name, n := range w.nodes {
			if small := name < "c"; n.c.Joined() == small {
				t.Errorf("%s takes part: %v", name, !small)
			}
		}
		wait(20 * time.Second)
		w.net.Heal()
		w.agree(t)
	})
}

// Who can send to nobody learns it from the others, though the quorum still
// acknowledges it.
func TestUnheardNodeIsIsolated(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.net.Cut("c", "a")
		w.net.Cut("c", "b")
		wait(2500 * time.Millisecond)
		w.nodes["c"].is(t, "unheard", "isolated")
		wait(3 * time.Second)
		w.net.Heal()
		w.agree(t)
		w.nodes["c"].is(t, "heard again", "joined 3")
	})
}

// Whom those do not hear yet who start, because the servers between them have not met,
// sends nobody away.
func TestWhoStartsSaysNothingAgainstOthers(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		w.net.Cut("a", "b")
		w.net.Cut("a", "c")
		var starting sync.WaitGroup
		for _, name := range []string{"b", "c"} {
			n := w.make(name, nil)
			starting.Go(func() {
				if err := n.c.Start(context.Background()); err != nil {
					t.Errorf("start of %s: %v", name, err)
				}
			})
		}
		wait(2400 * time.Millisecond)
		w.net.Heal()
		starting.Wait()
		w.agree(t)
		if s := w.nodes["a"].table.seen(); slices.Contains(s, "isolated") {
			t.Errorf("a heard %v: those who did not hear it were only starting", s)
		}
	})
}

// With two nodes the quorum's own record is the third vote.
func TestTwoNodes(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		w.net.CutBoth("a", "b")
		wait(time.Minute)
		w.nodes["a"].is(t, "b renews", "silent 2")
		w.nodes["b"].is(t, "a renews", "silent 1")
		w.net.Heal()
		w.agree(t)
		w.nodes["a"].table.seen()
		w.kill("b")
		began := time.Now()
		w.until("b is lost", began.Add(5*time.Second), func() bool { return w.nodes["a"].standing("b") == "lost" })
		t.Logf("lost after %v", time.Since(began))
		w.nodes["a"].is(t, "b is dead", "silent 2", "lost 2")
	})
}
