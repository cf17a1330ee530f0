package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// overNATS returns what lets a node speak over one of three real servers.
func overNATS(t testing.TB) func(*cluster.Config) {
	servers := natsbustest.Start(t, natsbustest.Settings{})
	return func(cfg *cluster.Config) {
		bus, err := natsbus.New(natsbus.Config{Dir: t.TempDir(), Prefix: "clu", Cluster: &natsbus.Cluster{URLs: servers.URLs()}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
		defer cancel()
		if err := bus.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bus.Stop(context.Background()) })
		cfg.Transport = bus.Messages()
	}
}

// Everything that the simulated network carries, real servers carry, too: changes,
// topics, calls, shards in parts, and a goodbye.
func TestOverNATS(t *testing.T) {
	t.Parallel()
	nats := overNATS(t)
	w := newWorld(t, 1)
	for _, name := range []string{"a", "b", "c"} {
		n := w.make(name, nats)
		n.table.pad = 1000
		for i := range 5000 {
			n.table.own.set(i%cluster.Shards, uint64(i), uint64(i+1), false)
		}
		n.table.changes = 5000
		if err := n.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b := w.nodes["b"]
	for i := range 20_000 {
		b.table.change(uint64(i%7000), i%3 == 0)
	}
	b.tell()
	natsbustest.Eventually(t, "all know all", func() error {
		if d := w.differ(); d != "" {
			return errText(d)
		}
		return nil
	})
	if got, err := w.nodes["a"].c.Call(t.Context(), b.c.Self(), "echo", []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("call: got %q, %v", got, err)
	}
	w.check()
	w.stop("c")
	natsbustest.Eventually(t, "c left", func() error { return b.says("c", "left") })
	began := time.Now()
	w.stop("a")
	natsbustest.Eventually(t, "a left", func() error { return b.says("a", "left") })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a goodbye took %v", took)
	}
	w.stop("b")
}

// errText is an error of a text.
type errText string

// Error is error's.
func (e errText) Error() string { return string(e) }

func (n *node) says(name, standing string) error {
	if got := n.standing(name); got != standing {
		return errText(name + " is " + got)
	}
	return nil
}

// go test ./internal/cluster -run '^$' -bench OverNATS -benchtime 1x
func BenchmarkOverNATS(b *testing.B) {
	nats := overNATS(b)
	for _, rate := range []int{1000, 20_000} {
		b.Run(rateName(rate), func(b *testing.B) {
			for range b.N {
				three(b, rate, nats)
			}
		})
	}
}

// What an end waits for before it is shown.
//
// go test ./internal/cluster -run '^$' -bench Reach
func BenchmarkReach(b *testing.B) {
	nats := overNATS(b)
	w := newWorld(b, 1)
	defer w.end()
	for _, name := range []string{"a", "b", "c"} {
		if err := w.make(name, nats).c.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	a := w.nodes["a"]
	a.table.change(1, false)
	a.c.Reach(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		a.table.change(1, false)
		a.c.Reach(b.Context())
	}
}
