package app

import (
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// benchLink is a connection that is always alive.
type benchLink struct{ app *App }

func (l benchLink) LastRead() time.Duration { return l.app.wheel.Now() }
func (benchLink) Shared() bool              { return false }
func (benchLink) End(tracker.End)           {}

// BenchmarkOpenAndClose stores openings and closings on disk, each acknowledged
// to its caller, 1,024 callers at once (goal: design §10, ≥ 10k/s; one operation
// here is two records). Run it with
//
//	go test -run '^$' -bench OpenAndClose -benchtime 20000x ./internal/app
func BenchmarkOpenAndClose(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c := config.Development()
	c.Data = b.TempDir()
	a, err := New(Params{Config: c, Temporary: true, GRPC: l, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer a.Stop(b.Context())
	var next atomic.Int64
	b.SetParallelism(512)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			user := presence.User{App: "demo", ID: presence.UserID(fmt.Sprintf("user-%d", next.Add(1)))}
			made, err := a.tracker.Make(b.Context(), tracker.MakeParams{User: user, Device: presence.Device{Platform: "web"}})
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := a.tracker.Connect(b.Context(), made.Ref, tracker.ConnectParams{Link: benchLink{a}}); err != nil {
				b.Error(err)
				return
			}
			if _, err := a.tracker.Close(b.Context(), made.Ref, presence.ReasonLogout); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(2*b.N)/b.Elapsed().Seconds(), "records/s")
}
