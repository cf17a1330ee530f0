package facts

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// Run with:
//
//	go test -run '^$' -bench . ./internal/facts
//
// The log is in memory here, as bytes that are parsed: what is measured is
// parsing, folding and telling. internal/store/natsstore measures the engine.

// crowd makes a rig whose log has each of n users open a session; with rounds
// each of them closes it and opens it again, in full messages.
func crowd(b testing.TB, n, rounds int) *rig {
	g := &rig{Memory: storetest.NewMemory(), now: 1_700_000_000_000}
	g.open(Config{})
	var rs []presence.Record
	flush := func() {
		if len(rs) > 0 {
			g.append(b, rs...)
			rs = rs[:0]
		}
	}
	add := func(r presence.Record) {
		if rs = append(rs, r); len(rs) == store.MaxRecords {
			flush()
		}
	}
	record := func(i int, kind presence.RecordKind, counter int) presence.Record {
		r := g.opened(fmt.Sprintf("user-%08d", i), 0, uint32(counter))
		g.now -= 999 // a thousand records a second
		r.Session[1], r.Session[2], r.Session[3], r.Session[4] = byte(i), byte(i>>8), byte(i>>16), 1
		r.Public, r.Kind = presence.PublicID(r.Session), kind
		r.Device = presence.Device{Platform: "ios", Product: "app", Locale: "en-US", ID: fmt.Sprint("device-", i), Version: "4.2.1", Addr: "192.0.2.17:50123", Door: "live"}
		if kind == presence.RecordClosed {
			r.Reason, r.LastSeen = presence.ReasonLeft, r.Time
		}
		return r
	}
	for i := range n {
		add(record(i, presence.RecordOpened, 1))
	}
	for round := range rounds {
		for i := range n {
			add(record(i, presence.RecordClosed, round+1))
			add(record(i, presence.RecordOpened, round+2))
		}
	}
	flush()
	return g
}

// BenchmarkCatchUp follows from the beginning to the end: events per second of
// one follower, for all users and for a sixteenth of them.
func BenchmarkCatchUp(b *testing.B) {
	const users, rounds = 20_000, 10
	g := crowd(b, users, rounds)
	defer g.close()
	for name, only := range map[string]func(presence.UserID) bool{
		"all": nil, "lane": func(id presence.UserID) bool { return store.UserMark(user(string(id)))%16 == 0 },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			events := 0
			_, next, _ := g.Ends(context.Background())
			for b.Loop() {
				err := g.r.Follow(context.Background(), Params{App: "demo", Only: only}, func(more []*Event, at Position) error {
					if events += len(more); at == End(next-1) {
						return errDone
					}
					return nil
				})
				if err != errDone {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N*users*(2*rounds+1))/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkFollowers tells each event to so many followers at the end of the
// log; the figure is events of the log per second.
func BenchmarkFollowers(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("followers=%d", n), func(b *testing.B) {
			g := newRig(Config{})
			defer g.close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			came := make(chan int, 1024)
			for range n {
				go func() {
					_ = g.r.Follow(ctx, Params{App: "demo"}, func(events []*Event, _ Position) error {
						if len(events) > 0 {
							came <- len(events)
						}
						return nil
					})
				}()
			}
			g.append(b, g.opened("first", 1, 1))
			for got := 0; got < n; {
				got += <-came
			}
			b.ReportAllocs()
			events := 0
			for i := 0; b.Loop(); i++ {
				rs := make([]presence.Record, 100)
				for j := range rs {
					rs[j] = g.opened(fmt.Sprint("user-", j), byte(j), uint32(i+1))
					rs[j].Kind = [...]presence.RecordKind{presence.RecordOpened, presence.RecordClosed}[i%2]
					rs[j].Epoch.Counter = uint32(i/2 + 1)
				}
				g.append(b, rs...)
				for got := 0; got < n*len(rs); {
					got += <-came
				}
				events += len(rs)
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFoldMemory reports what the fold of a million users takes.
func BenchmarkFoldMemory(b *testing.B) {
	for _, open := range []bool{true, false} {
		b.Run(fmt.Sprintf("open=%v", open), func(b *testing.B) {
			const users = 1_000_000
			for b.Loop() {
				before := heap()
				f := newFold()
				for i := range users {
					u := presence.Folded{Seq: 40, LastSeen: 1_700_000_000_000, LastSeenShown: 1_700_000_000_000}
					if open {
						r := presence.Record{Kind: presence.RecordOpened, Session: presence.NewSessionID(), Public: presence.NewPublicID(), Epoch: presence.Epoch{Counter: 1, Incarnation: 3}, Time: 1_700_000_000_000,
							Device: presence.Device{Platform: "ios", Product: "app", Locale: "en-US", ID: "0123456789abcdef", Version: "4.2.1", Addr: "192.0.2.17:50123", Door: "live"}}
						u.Apply(&r, nil)
					}
					f.set(user(fmt.Sprint("user-", i)), &u, 0)
				}
				b.ReportMetric(float64(heap()-before)/users, "B/user")
				runtime.KeepAlive(f)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSnapshot reads a snapshot of so many users with an open session each.
func BenchmarkSnapshot(b *testing.B) {
	for _, users := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			g := crowd(b, users, 0)
			defer g.close()
			saveAll(b, g)
			b.ResetTimer()
			peak := uint64(0)
			for b.Loop() {
				before := heap()
				s, err := g.r.Snapshot(context.Background(), "demo", nil)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				err = s.Each(context.Background(), func(SnapshotUser) error {
					if n++; n%(users/20) == 0 {
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapAlloc-before)
					}
					return nil
				})
				if err != nil || n != users {
					b.Fatalf("got %d users, %v, want %d", n, err, users)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
			b.ReportMetric(float64(b.N*users)/b.Elapsed().Seconds(), "users/s")
		})
	}
}

// saveAll writes a checkpoint of the whole log.
func saveAll(b testing.TB, g *rig) {
	ctx := context.Background()
	users := map[presence.User]*presence.Folded{}
	next, err := g.Replay(ctx, 0, func(_ uint64, rs []presence.Record) error {
		for i := range rs {
			if users[rs[i].User] == nil {
				users[rs[i].User] = &presence.Folded{}
			}
			users[rs[i].User].Apply(&rs[i], nil)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	bodies, counts := map[int][]byte{}, map[int]int{}
	for name, u := range users {
		n := store.Shard(name)
		bodies[n] = presence.AppendFolded(bodies[n], name, u)
		counts[n]++
	}
	for n, body := range bodies {
		if err := g.SaveShard(ctx, n, next-1, append(store.AppendShard(nil, counts[n]), body...)); err != nil {
			b.Fatal(err)
		}
	}
	if err := g.Advance(ctx, next-1, 0); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHistory reads the newest page of one user of many, over a log
// without bases.
func BenchmarkHistory(b *testing.B) {
	g := crowd(b, 20_000, 10)
	defer g.close()
	began := time.Now()
	for b.Loop() {
		h, err := g.r.History(context.Background(), HistoryParams{User: user("user-00012345")})
		if err != nil || len(h.Events) != 21 {
			b.Fatalf("got %d events, %v, want 21", len(h.Events), err)
		}
	}
	b.ReportMetric(float64(b.N*20_000*21)/time.Since(began).Seconds(), "records/s")
}
