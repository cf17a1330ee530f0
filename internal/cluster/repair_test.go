package cluster_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
)

func TestLossesAreRepaired(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		w.net.SetFaults(clustertest.Faults{Loss: 0.3, Double: 0.1, Jitter: 30 * time.Millisecond, Reorder: true})
		for i := range 2000 {
			w.nodes["a"].table.change(uint64(i%700), i%3 == 0)
			w.nodes["a"].tell()
			wait(2 * time.Millisecond)
		}
		w.net.Heal()
		w.agree(t)
		b := w.nodes["b"].c.Counts()
		if b.Received.Gaps == 0 || b.Received.Skipped < b.Received.Gaps || b.Received.Late == 0 || b.Repairs.Shards["gap"] == 0 || b.Repairs.Last["gap"].IsZero() {
			t.Errorf("got %+v %+v", b.Received, b.Repairs)
		}
		for _, m := range w.nodes["b"].c.Members() {
			if m.Name == "a" && (m.Repairs.Reason != cluster.Gap || m.Repairs.Last.IsZero() || m.Repairs.Shards == 0) {
				t.Errorf("a: got %+v", m.Repairs)
			}
		}
		if r := w.nodes["b"].table.replica(1); r.tells == 2000 || r.tells < 1000 {
			t.Errorf("told %d of 2000", r.tells)
		}
	})
}

// One lost batch costs the shards that were in it, not all.
func TestOneLossIsASmallRepair(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b")
		for i := range 5000 {
			w.nodes["a"].table.change(uint64(i), false)
		}
		wait(2 * time.Second)
		w.net.Cut("a", "b")
		w.nodes["a"].table.change(1, false)
		w.nodes["a"].table.change(2, true)
		wait(10 * time.Millisecond)
		w.net.Heal()
		w.agree(t)
		if n := w.nodes["b"].c.Counts().Repairs; n.Shards["gap"] != 2 || n.Sessions > 12 {
			t.Errorf("got %+v, want two shards of five sessions", n)
		}
	})
}

// Whatever made them differ, tables that do are made equal, and say why.
func TestDriftIsRepaired(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		b := w.nodes["b"].table
		r := b.replica(1)
		b.mu.Lock()
		r.clear(7)
		r.set(11, 11+1024, 5, false)
		b.mu.Unlock()
		wait(700 * time.Millisecond)
		if n := w.nodes["b"].c.Counts().Repairs.Shards["drift"]; n != 0 {
			t.Errorf("repaired at the first sight: %d", n)
		}
		w.agree(t)
		if n := w.nodes["b"].c.Counts().Repairs.Shards; n["drift"] != 2 {
			t.Errorf("got %v", n)
		}
	})
}

// stubborn is a table that repairs do not change.
type stubborn struct{ *sessions }

// Replace is cluster.Table's.
func (stubborn) Replace(cluster.Incarnation, int, [][]byte) {}

func TestFutileRepairsGrowRare(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		n := w.make("b", func(cfg *cluster.Config) { cfg.Table = stubborn{cfg.Table.(*sessions)} })
		w.nodes["a"].table.change(5, false)
		wait(time.Millisecond)
		if err := n.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Minute)
		if n := n.c.Counts().Repairs.Shards["drift"]; n < 50 || n > 80 {
			t.Errorf("%d repairs in 600 s, want one each 8 s or so", n)
		}
	})
}

// deaf is a transport that can lose all batches of one subject.
type deaf struct {
	*clustertest.Wire
	lose *bool
}

// Subscribe is cluster.Transport's.
func (d deaf) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	if !strings.HasPrefix(subject, "ch.") {
		return d.Wire.Subscribe(subject, f)
	}
	lost := *d.lose // this subscription never brings anything
	return d.Wire.Subscribe(subject, func(s string, b []byte, reply func([]byte)) {
		if !lost {
			f(s, b, reply)
		}
	})
}

func TestMuteLogIsSubscribedAnew(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		lose := true
		n := w.make("b", func(cfg *cluster.Config) { cfg.Transport = deaf{cfg.Transport.(*clustertest.Wire), &lose} })
		if err := n.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it listens
		lose = false
		for i := range 50 {
			w.nodes["a"].table.change(uint64(i), false)
		}
		wait(2 * time.Second)
		if w.differ() == "" {
			t.Fatal("nothing was lost: the test tests nothing")
		}
		w.agree(t)
		if c := n.c.Counts(); c.Received.Mute != 1 || c.Repairs.Shards["mute"] == 0 {
			t.Errorf("got %+v %+v", c.Received, c.Repairs)
		}
	})
}

func TestLargeShardComesInParts(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		w.nodes["a"].table.grow(3000)
		for i := range 500 {
			w.nodes["a"].table.change(uint64(i*1024+3), false) // 1.5 MB of one shard
			w.nodes["a"].table.change(uint64(i*1024+4), false)
		}
		wait(time.Second)
		w.start("b")
		w.agree(t)
		if p := w.nodes["a"].c.Counts().Repairs.Parts; p < 10 {
			t.Errorf("3 MB came in %d parts", p)
		}
		if l := w.net.Traffic().Largest; l > 512<<10 {
			t.Errorf("a message of %d bytes", l)
		}
	})
}

// What is asked for at once is bounded, and lost answers are asked for again.
func TestRepairsSurviveLoss(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		for i := range 20_000 {
			w.nodes["a"].table.change(uint64(i), false)
		}
		w.net.SetFaults(clustertest.Faults{Loss: 0.2})
		w.start("c")
		wait(time.Minute)
		if d := w.differ(); strings.Contains(d, "c has") && strings.Contains(d, " of 20000") && strings.Contains(d, "has 0 of") {
			t.Errorf("nothing came through: %s", d)
		}
		if w.nodes["c"].c.Counts().Repairs.Lost == 0 {
			t.Error("no answer was lost: the test tests nothing")
		}
		w.net.Heal()
		w.agree(t)
	})
}

func TestFullOutboxDropsTheOldest(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		w.nodes["a"].table.grow(60_000)
		w.net.Pause("a")
		for i := range 1000 { // 60 MB while nothing is taken
			w.nodes["a"].table.change(uint64(i), false)
		}
		wait(time.Second)
		w.net.Resume("a")
		w.agree(t)
		if n := w.nodes["a"].c.Counts().Sent.Dropped; n < 200 {
			t.Errorf("%d batches dropped", n)
		}
	})
}

func TestWhatIsTooLongIsRefused(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		a := w.nodes["a"].c
		if a.Tell("topic", make([]byte, cluster.MaxMessage)) == nil || a.Tell(strings.Repeat("t", 300), nil) == nil {
			t.Error("got no error")
		}
		a.Change(1, make([]byte, cluster.MaxMessage+1))
		a.Change(cluster.Shards, []byte("x"))
		a.Change(-1, []byte("x"))
		wait(time.Second)
		if n := a.Counts().Sent.Changes; n != 50 {
			t.Errorf("%d changes were sent", n)
		}
		if _, err := a.Call(context.Background(), 2, "echo", make([]byte, cluster.MaxMessage+1)); err == nil {
			t.Error("a call that long: got no error")
		}
		w.nodes["a"].table.grow(cluster.MaxMessage - 17)
		w.nodes["a"].table.change(99, false)
		w.nodes["a"].table.change(98, false)
		w.agree(t)
		if l := w.net.Traffic().Largest; l > 512<<10 {
			t.Errorf("a message of %d bytes", l)
		}
	})
}

// What a loading node knows already never disappears again, and what went does
// not come back: shards that are older than changes that were applied do not undo
// them, and those that are newer wait for what they contain.
func TestLoadingNeverGoesBack(t *testing.T) {
	t.Parallel()
	t.Run("shards late", func(t *testing.T) { load(t, false) })
	t.Run("log late", func(t *testing.T) { load(t, true) })
}

// lagging is a transport on which the log takes longer than all else.
type lagging struct{ *clustertest.Wire }

// Publish is cluster.Transport's.
func (l lagging) Publish(subject string, b []byte) error {
	if !strings.HasPrefix(subject, "ch.") {
		return l.Wire.Publish(subject, b)
	}
	b = bytes.Clone(b)
	time.AfterFunc(80*time.Millisecond, func() { _ = l.Wire.Publish(subject, b) })
	return nil
}

func load(t *testing.T, late bool) {
	inWorld(t, "", func(t *testing.T, w *world) {
		a := w.make("a", func(cfg *cluster.Config) {
			if late {
				cfg.Transport = lagging{cfg.Transport.(*clustertest.Wire)}
			}
		})
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 3000 {
			w.nodes["a"].table.change(uint64(i), false)
		}
		wait(time.Second)
		if !late {
			w.net.SetFaults(clustertest.Faults{Delay: 3 * time.Millisecond, Jitter: 60 * time.Millisecond})
		}
		n := w.make("b", nil)
		done := make(chan error)
		go func() { done <- n.c.Start(t.Context()) }()
		was := map[uint64]string{}
		for i := range 3000 {
			for age := 0; age <= min(i, 20); age += 5 { // made, changed thrice, and gone
				w.nodes["a"].table.change(uint64(10_000+i-age), age == 20)
			}
			wait(time.Millisecond)
			n.watch(t, was)
			if t.Failed() {
				break
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.agree(t)
		if len(was) < 3000 {
			t.Errorf("only %d sessions were ever seen", len(was))
		}
	})
}

// watch looks at what n knows of node 1: each session is there once, and then gone
// once; those below 10,000 are there for good.
func (n *node) watch(t *testing.T, was map[uint64]string) {
	n.table.mu.Lock()
	defer n.table.mu.Unlock()
	r := n.table.of[1]
	if r == nil {
		return
	}
	for shard := range r.at {
		for id := range r.at[shard] {
			if was[id] == "gone" {
				t.Errorf("session %d was gone, and is back", id)
			}
			was[id] = "there"
		}
	}
	for id, what := range was {
		if _, there := r.at[id%cluster.Shards][id]; !there && what == "there" {
			if was[id] = "gone"; id < 10_000 {
				t.Errorf("session %d was there, and is gone", id)
			}
		}
	}
}

// TestCaughtUp: a node that is heard again is caught up with when what it told
// meanwhile is copied, and not before.
func TestCaughtUp(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		w.net.CutBoth("a", "b")
		wait(2 * time.Second)
		for range 100 {
			b.table.change(uint64(time.Now().UnixNano()%5000), false)
			wait(time.Millisecond)
		}
		w.net.Heal()
		late := true
		for range 500 {
			wait(10 * time.Millisecond)
			if slices.Contains(a.table.seen(), "caught 2") {
				late = false
				break
			}
		}
		if diff := w.differ(); late || strings.Contains(diff, "a has") {
			t.Errorf("late: %v; when a was caught up: %s", late, diff)
		}
		w.agree(t)
	})
}
