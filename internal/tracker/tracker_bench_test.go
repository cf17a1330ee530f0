package tracker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// silent is a listener that costs nothing.
type silent struct{}

func (silent) Changed(*presence.Presence)                           {}
func (silent) Gone(presence.SessionID)                              {}
func (silent) Watches(presence.SessionID) ([]presence.UserID, bool) { return nil, false }

// benchTracker has n users with one session each.
func benchTracker(b *testing.B, n int) (*Tracker, []Ref) {
	b.Helper()
	mem := storetest.NewMemory()
	w := wheel.New(nil)
	w.Start()
	t := New(Config{Policies: map[presence.AppID]Policy{app: {}}, Log: mem, Checkpoints: mem, Incarnation: 1, Wheel: w, Logger: slog.New(slog.DiscardHandler)})
	t.Listen(silent{}, silent{})
	if err := t.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Stop(context.Background()); w.Stop() })
	refs := make([]Ref, n)
	var all sync.WaitGroup
	const hands = 256 // openings at once, so that they share messages of the log
	for hand := range hands {
		all.Go(func() {
			for i := hand; i < n; i += hands {
				m, err := t.Make(b.Context(), MakeParams{User: presence.User{App: app, ID: presence.UserID(fmt.Sprint("user", i))}})
				if err == nil {
					_, err = t.Connect(b.Context(), m.Ref, ConnectParams{Link: &wire{}})
				}
				if refs[i] = m.Ref; err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return t, refs
}

// go test ./internal/tracker -run '^$' -bench . -count 6 | benchstat -
//
// An update is told at once with so many sessions that none meets its limit of
// a hundred a second, coalesced or refused with one.
func BenchmarkUpdate(b *testing.B) {
	for name, n := range map[string]int{"told": 100_000, "held back": 1} {
		b.Run(name, func(b *testing.B) {
			t, refs := benchTracker(b, n)
			statuses := [2]*presence.Status{{Show: presence.Busy}, {Show: presence.Away}}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ref, status := refs[i%n], statuses[i/n%2]
				i++
				_, err := t.Update(b.Context(), ref, func(*presence.Status) (*presence.Status, error) { return status, nil })
				if err != nil && n > 1 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	t, refs := benchTracker(b, 1000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := t.Heartbeat(b.Context(), refs[i%len(refs)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkPresence(b *testing.B) {
	t, refs := benchTracker(b, 1000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if t.Presence(refs[i%len(refs)].User).Version == 0 {
			b.Fatal("a user who is online has an empty picture")
		}
		i++
	}
}

// BenchmarkOpenAndClose is a whole short life on a store that costs nothing, one
// after the other, and many at once as they come in a storm.
func BenchmarkOpenAndClose(b *testing.B) {
	life := func(b *testing.B, t *Tracker, user presence.User) {
		m, err := t.Make(b.Context(), MakeParams{User: user})
		if err == nil {
			_, err = t.Connect(b.Context(), m.Ref, ConnectParams{Link: &wire{}})
		}
		if err == nil {
			_, err = t.Close(b.Context(), m.Ref, presence.ReasonLeft)
		}
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		t, refs := benchTracker(b, 1000)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			life(b, t, refs[i%len(refs)].User)
			i++
		}
	})
	b.Run("many", func(b *testing.B) {
		t, _ := benchTracker(b, 1)
		b.ReportAllocs()
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			user := presence.User{App: app, ID: presence.UserID(presence.NewPublicID().String())}
			for pb.Next() {
				life(b, t, user)
			}
		})
	})
}
