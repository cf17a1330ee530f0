package tracker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// BenchmarkFreshNode is the start of a node among others that have a million
// sessions, from a checkpoint and notes in memory:
//
//	go test ./internal/tracker -run '^$' -bench FreshNode -benchtime 1x
func BenchmarkFreshNode(b *testing.B) {
	const sessions = 1_000_000
	mem := storetest.NewMemory()
	counts, states := [Shards]int{}, [Shards][]byte{}
	notes := [store.NoteGroups][]byte{}
	at := presence.At(time.Now())
	for n := range sessions {
		r := foreignRecord(n, at)
		shard := store.Shard(r.User)
		var f presence.Folded
		f.Apply(&r, nil)
		counts[shard]++
		states[shard] = presence.AppendFolded(states[shard], r.User, &f)
		group := shard % store.NoteGroups
		if notes[group] == nil {
			notes[group] = appendNotes(nil, at)
		}
		one := note{ref: Ref{r.User, r.Session}, epoch: r.Epoch, revision: 2, updated: at, status: &presence.Status{
			Show: presence.Busy, Text: presence.Value{Kind: presence.KindText, Text: "in a meeting"},
		}}
		notes[group] = one.append(notes[group])
	}
	for n, state := range states {
		if err := mem.SaveShard(b.Context(), n, 1, append(store.AppendShard(nil, counts[n]), state...)); err != nil {
			b.Fatal(err)
		}
	}
	for group, list := range notes {
		if err := mem.SaveNotes(b.Context(), 2, group, true, list); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		t := New(Config{
			Policies: map[presence.AppID]Policy{app: {}}, Log: mem, Checkpoints: mem, Incarnation: 1, Wheel: wheel.New(nil), Logger: slog.New(slog.DiscardHandler),
			Cluster: &Cluster{Peers: alone{}, Reading: mem, Notes: mem},
		})
		t.Listen(silent{}, silent{})
		if err := t.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if n := t.Count(app).Users; n != sessions {
			b.Fatalf("%d users are online, want %d", n, sessions)
		}
		ctx, end := context.WithTimeout(b.Context(), time.Second)
		_ = t.Stop(ctx) // it would write everything
		end()
		b.StartTimer()
	}
}
