package cluster_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
)

// go test ./internal/cluster -run '^$' -bench . -benchtime 2s
//
// The network is this process's memory: what is measured is what the cluster
// itself costs, and its share of a table that is a map for each shard.

// sessionBytes is the size of a change of a session with a short status.
const sessionBytes = 160

// apart is a table that forgets: what it costs is nothing.
type apart struct{ *sessions }

// Apply is cluster.Table's.
func (apart) Apply(cluster.Incarnation, int, [][]byte) {}

func BenchmarkChange(b *testing.B) {
	for name, goroutines := range map[string]int{"one": 1, "many": 8} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, 1)
			defer w.end()
			w.start("a")
			c := w.nodes["a"].c
			change := make([]byte, sessionBytes)
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.ResetTimer()
			if goroutines == 1 {
				for i := range b.N {
					c.Change(i%cluster.Shards, change)
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					c.Change(i%cluster.Shards, change)
				}
			})
		})
	}
}

// One node takes what another one changes; ns/op is per change, on both.
func BenchmarkApply(b *testing.B) {
	for _, table := range []string{"no table", "maps"} {
		b.Run(table, func(b *testing.B) {
			w := newWorld(b, 1)
			defer w.end()
			w.start("a")
			n := w.make("b", func(cfg *cluster.Config) {
				if table == "no table" {
					cfg.Table = apart{cfg.Table.(*sessions)}
				}
			})
			if err := n.c.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			a := w.nodes["a"].c
			b.ReportAllocs()
			b.ResetTimer()
			buf := make([]byte, 0, sessionBytes)
			for i := range b.N {
				id := uint64(i) % 300_000
				a.Change(int(id%cluster.Shards), encode(buf, id, uint64(i)+1, false, sessionBytes-17))
				for i%1000 == 0 && uint64(i) > n.c.Counts().Received.Changes+200_000 {
					runtime.Gosched() // it would be dropped
				}
			}
			for n.c.Counts().Received.Changes < uint64(b.N) && n.c.Counts().Received.Gaps == 0 {
				runtime.Gosched()
			}
			if g := n.c.Counts().Received.Gaps; g > 0 {
				b.Logf("%d gaps", g)
			}
		})
	}
}

// What a beat costs with a million sessions: the digests are kept with each
// change, so it is reading 1,024 numbers, and comparing them on the other side.
func BenchmarkDigests(b *testing.B) {
	w := newWorld(b, 1)
	defer w.end()
	w.start("a")
	t := w.nodes["a"].table
	for i := range 1_000_000 {
		t.own.set(i%cluster.Shards, uint64(i), 1, false)
	}
	self := w.nodes["a"].c.Self()
	var mine, theirs cluster.Digests
	b.ReportAllocs()
	for b.Loop() {
		t.Digests(self, &mine)
		t.Digests(self, &theirs)
		if mine != theirs {
			b.Fatal("they differ")
		}
	}
}

// A node that knows nothing copies a million sessions from two others.
func BenchmarkFreshNode(b *testing.B) {
	const each = 500_000
	w := newWorld(b, 1)
	defer w.end()
	for _, name := range []string{"a", "b"} {
		w.start(name)
		w.nodes[name].table.pad = sessionBytes - 17
		for i := range each {
			w.nodes[name].table.own.set(i%cluster.Shards, uint64(i), uint64(i+1), false)
		}
	}
	b.ResetTimer()
	for range b.N {
		w.start("c")
		c := w.nodes["c"]
		look := time.NewTicker(time.Millisecond)
		for deadline := time.Now().Add(time.Minute); ; <-look.C {
			if _, n := c.table.digests(1); n == each && c.c.Loaded() {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("not loaded: %+v", c.c.Counts())
			}
		}
		look.Stop()
		b.StopTimer()
		w.kill("c")
		b.StartTimer()
	}
	b.ReportMetric(2*each/b.Elapsed().Seconds()*float64(b.N), "sessions/s")
}

// Three nodes change sessions at a rate, each change is applied by the two others;
// latency is from Change to Apply. The rate is per node.
func BenchmarkThreeNodes(b *testing.B) {
	for _, rate := range []int{1000, 20_000, 60_000} {
		b.Run(rateName(rate), func(b *testing.B) {
			for range b.N {
				three(b, rate, func(*cluster.Config) {})
			}
		})
	}
}

func rateName(rate int) string { return fmt.Sprint(rate, " a second") }

// clocked is a table that notes how old changes are: they carry their time.
type clocked struct {
	*sessions
	mu   sync.Mutex // guards ages
	ages []time.Duration
	n    atomic.Int64
}

// Apply is cluster.Table's.
func (c *clocked) Apply(origin cluster.Incarnation, shard int, changes [][]byte) {
	c.sessions.Apply(origin, shard, changes)
	if c.n.Add(int64(len(changes)))%50 == 0 {
		_, n, _ := decode(changes[0])
		c.mu.Lock()
		c.ages = append(c.ages, time.Duration(time.Now().UnixNano()-int64(n)))
		c.mu.Unlock()
	}
}

func three(b *testing.B, rate int, change func(*cluster.Config)) {
	w := newWorld(b, 1)
	defer w.end()
	var tables []*clocked
	for _, name := range []string{"a", "b", "c"} {
		n := w.make(name, func(cfg *cluster.Config) {
			t := &clocked{sessions: cfg.Table.(*sessions)}
			tables = append(tables, t)
			cfg.Table = t
			change(cfg)
		})
		if err := n.c.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	const seconds = 3
	began := time.Now()
	var senders sync.WaitGroup
	for _, name := range w.names() {
		n := w.nodes[name]
		senders.Go(func() {
			tick := time.NewTicker(500 * time.Microsecond)
			defer tick.Stop()
			buf := make([]byte, 0, sessionBytes)
			var last uint64
			for sent := 0; sent < rate*seconds; <-tick.C {
				for due := int(time.Since(began).Seconds() * float64(rate)); sent < min(due, rate*seconds); sent++ {
					id := uint64(sent) * 7919 % 300_000
					last = max(last+1, uint64(time.Now().UnixNano()))
					n.table.mu.Lock()
					n.table.own.set(int(id%cluster.Shards), id, last, false)
					n.c.Change(int(id%cluster.Shards), encode(buf, id, last, false, sessionBytes-17))
					n.table.mu.Unlock()
				}
			}
		})
	}
	senders.Wait()
	took := time.Since(began)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(time.Minute); w.differ() != "" && time.Now().Before(deadline); {
		<-look.C
	}
	if d := w.differ(); d != "" {
		b.Error(d)
	}
	var ages []time.Duration
	for _, t := range tables {
		ages = append(ages, t.ages...)
	}
	slices.Sort(ages)
	b.ReportMetric(float64(3*rate*seconds)/took.Seconds(), "changes/s")
	b.ReportMetric(float64(ages[len(ages)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(ages[len(ages)*99/100])/1e6, "p99-ms")
	for _, name := range w.names() {
		if n := w.nodes[name].c.Counts(); n.Received.Gaps+n.Repairs.Shards["drift"]+n.Members.Suspected > 0 {
			b.Logf("%s: %+v %+v", name, n.Received, n.Repairs)
		}
		w.check()
	}
}
