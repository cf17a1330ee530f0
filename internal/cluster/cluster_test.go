package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestThreeNodesKnowEachOther(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		for i := range 5000 {
			w.nodes["a"].table.change(uint64(i), false)
		}
		for i := range 1000 {
			w.nodes["a"].table.change(uint64(i), true)
			w.nodes["b"].table.change(uint64(i), false)
			w.nodes["b"].tell()
		}
		wait(10 * time.Millisecond)
		if d := w.differ(); d != "" {
			t.Error(d)
		}
		for _, n := range []string{"a", "c"} {
			if got := w.nodes[n].table.replica(w.nodes["b"].first).tells; got != 1000 {
				t.Errorf("%s was told %d times, want 1000", n, got)
			}
		}
		w.check()
		w.nodes["a"].is(t, "in peace", "joined 1")
		wait(3 * time.Minute)
		for _, name := range w.names() {
			n := w.nodes[name].c.Counts()
			if n.Received.Gaps+n.Members.Suspected+n.Members.Isolated+n.Members.Pauses+n.Repairs.Sessions != 0 {
				t.Errorf("%s had trouble in peace: %+v", name, n)
			}
		}
	})
}

func TestFreshNodeLoadsAll(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.net.SetFaults(clustertest.Faults{Delay: 2 * time.Millisecond})
		w.start("a", "b")
		for i := range 20_000 {
			w.nodes["a"].table.change(uint64(i), false)
			w.nodes["b"].table.change(uint64(i), false)
		}
		wait(time.Second)
		w.start("c")
		if w.nodes["c"].c.Loaded() {
			t.Error("loaded before anything came")
		}
		for i := range 1000 { // meanwhile
			w.nodes["a"].table.change(uint64(i*7), i%2 == 0)
			wait(time.Millisecond)
		}
		wait(time.Second)
		if d := w.differ(); d != "" || !w.nodes["c"].c.Loaded() {
			t.Errorf("loaded %v; %s", w.nodes["c"].c.Loaded(), d)
		}
		w.check()
		if n := w.nodes["c"].c.Counts().Repairs; n.Shards["fresh"] == 0 || n.Shards["gap"]+n.Shards["drift"] != 0 {
			t.Errorf("repairs: %+v", n)
		}
	})
}

func TestKilledNodeIsLost(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		wait(time.Second)
		for _, name := range w.names() {
			w.nodes[name].table.seen()
		}
		c := w.nodes["c"].first
		began := time.Now()
		w.kill("c")
		for w.nodes["a"].standing("c") != "lost" || w.nodes["b"].standing("c") != "lost" {
			if wait(10 * time.Millisecond); time.Since(began) > 4*time.Second {
				t.Fatal("not lost")
			}
		}
		took := time.Since(began)
		t.Logf("lost after %v", took)
		if took < 2500*time.Millisecond || took > 3500*time.Millisecond {
			t.Errorf("lost after %v, want about 3 s", took)
		}
		for _, name := range []string{"a", "b"} {
			n := w.nodes[name]
			n.is(t, "after the kill", fmt.Sprint("silent ", c), fmt.Sprint("lost ", c))
			if alive := n.table.lost[0].alive.Time(); began.Sub(alive) > time.Second || alive.After(began) {
				t.Errorf("%s says alive until %v, want just before %v", name, alive, began)
			}
		}
		wait(10 * time.Second)
		w.start("c")
		wait(2 * time.Second)
		if d := w.differ(); d != "" {
			t.Error(d)
		}
		w.check()
	})
}

func TestGoodbye(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b", "c")
		for _, name := range w.names() {
			w.nodes[name].table.seen()
		}
		c := w.nodes["c"]
		for i := range 100 {
			c.table.change(uint64(i), false)
		}
		w.net.SetFaults(clustertest.Faults{Delay: 100 * time.Millisecond})
		wait(700 * time.Millisecond) // since its last heartbeat
		at := presence.At(time.Now())
		w.stop("c")
		wait(400 * time.Millisecond)
		w.nodes["a"].is(t, "after the goodbye", fmt.Sprint("left ", c.first))
		if got := w.nodes["a"].table.goodbye(); got != at {
			t.Errorf("it said goodbye at %v, want %v by its own clock", got.Time(), at.Time())
		}
		if got, n := w.nodes["a"].table.digests(c.first); got != c.table.own.digest {
			t.Errorf("the last words are not all there: %d of 100", n)
		}
		wait(time.Minute)
		w.nodes["a"].is(t, "later")
		w.check()
	})
}
