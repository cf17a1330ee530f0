package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// world is a real store with a reader, and a receiver over HTTP.
type world struct {
	tb     testing.TB
	store  *natsstore.Store
	reader *facts.Reader
	server *httptest.Server
	d      *webhook.Deliverer

	mu       sync.Mutex // guards what follows
	events   int
	requests int
	delays   []time.Duration
	all      chan struct{} // closed at want events
	want     int
}

func newWorld(tb testing.TB) *world {
	w := &world{tb: tb}
	bus, err := natsbus.New(natsbus.Config{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	must(tb, bus.Start(tb.Context()))
	if w.store, err = natsstore.Open(tb.Context(), natsstore.Config{Bus: bus, Temporary: true, Usage: natsstore.Room(1 << 40)}); err != nil {
		tb.Fatal(err)
	}
	w.reader = facts.New(facts.Config{Store: w.store})
	must(tb, w.reader.Start(tb.Context()))
	w.server = httptest.NewServer(http.HandlerFunc(w.receive))
	tb.Cleanup(func() {
		ctx := context.WithoutCancel(tb.Context())
		if w.d != nil {
			must(tb, w.d.Stop(ctx))
		}
		w.server.Close()
		must(tb, w.reader.Stop(ctx))
		must(tb, w.store.Stop(ctx))
		must(tb, bus.Stop(ctx))
	})
	return w
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// receive counts what arrives. It reads of an event no more than its time.
func (w *world) receive(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	now := time.Now()
	var got struct {
		Events []struct {
			Time time.Time `json:"time"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		w.tb.Errorf("got a body that is none: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	for _, e := range got.Events {
		w.delays = append(w.delays, now.Sub(e.Time))
	}
	before := w.events
	if w.events += len(got.Events); before < w.want && w.events >= w.want {
		close(w.all)
	}
}

func (w *world) expect(n int) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.requests, w.delays, w.want, w.all = 0, 0, nil, n, make(chan struct{})
	return w.all
}

// serve begins to deliver; every further name is an endpoint whose receiver is
// down.
func (w *world) serve(down ...string) {
	d, err := webhook.New(webhook.Config{
		Reader: w.reader, Seq: func(context.Context, presence.User) (uint64, error) { return 0, nil },
		Cursors: w.store, Letters: w.store, Owner: webhook.Alone(1), Logger: slog.New(slog.DiscardHandler),
	})
	must(w.tb, err)
	f, err := native.New(native.Config{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	must(w.tb, err)
	main := webhook.Endpoint{App: "demo", Name: "main", URL: w.server.URL + "/hook", Format: f, AllowPrivate: true}
	all := []webhook.Endpoint{main}
	for _, name := range down {
		e := main
		e.Name, e.URL = name, "http://127.0.0.1:1/"
		all = append(all, e)
	}
	must(w.tb, d.SetEndpoints(w.tb.Context(), all))
	must(w.tb, d.Start(w.tb.Context()))
	w.d = d
	for _, e := range all { // where they begin is stored
		for {
			c, err := w.store.LoadCursors(w.tb.Context(), store.Endpoint{App: e.App, Name: e.Name})
			must(w.tb, err)
			if len(c.Lanes) > 0 {
				break
			}
			select {
			case <-time.After(time.Millisecond):
			case <-w.tb.Context().Done():
				w.tb.Fatal("the endpoint does not begin")
			}
		}
	}
}

// store appends n records in messages of up to 100, by four writers.
func (w *world) append(n, from int) {
	var writers sync.WaitGroup
	for k := range 4 {
		writers.Go(func() {
			for i := k * 100; i < n; i += 400 {
				records := make([]presence.Record, 0, 100)
				for j := i; j < min(i+100, n); j++ {
					records = append(records, opening(from+j))
				}
				if _, err := w.store.Append(w.tb.Context(), fmt.Sprint("m", from+i), records); err != nil {
					w.tb.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func opening(n int) presence.Record {
	r := presence.Record{
		Kind: presence.RecordOpened, User: presence.User{App: "demo", ID: presence.UserID(fmt.Sprint("user-", n%50_000))},
		Session: presence.NewSessionID(), Public: presence.NewPublicID(), Epoch: presence.Epoch{Counter: 1, Incarnation: 1}, Revision: 1,
		Time: presence.At(time.Now()), Device: presence.Device{Platform: "ios", Product: "chat", Locale: "en-US", ID: fmt.Sprint("device-", n), Addr: "192.0.2.7:41748", Door: "live"},
	}
	return r
}

// BenchmarkDeliver is the way from the log on disk to a receiver on this
// machine, which parses what it gets. Goals (design §10): 10,000 records/s,
// 20,000 events/s in catching up.
//
//	go test -run '^$' -bench Deliver -benchtime 50000x ./internal/webhook
func BenchmarkDeliver(b *testing.B) {
	for name, down := range map[string][]string{"one": nil, "one of ten works": {"d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"}} {
		b.Run("live/"+name, func(b *testing.B) {
			w := newWorld(b)
			w.serve(down...)
			w.append(100, 0)
			all := w.expect(b.N)
			b.ResetTimer()
			w.append(b.N, 1000)
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(w.requests), "events/request")
		})
	}
	b.Run("catch-up", func(b *testing.B) {
		w := newWorld(b)
		w.serve()
		must(b, w.d.Stop(b.Context()))
		w.append(b.N, 1000)
		all := w.expect(b.N)
		b.ResetTimer()
		w.serve()
		<-all
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(b.N)/float64(w.requests), "events/request")
	})
}

// BenchmarkDelay is how long after a change its request is there, at 1,000
// changes a second (goal, design §10: p99 at most 50 ms).
//
//	go test -run '^$' -bench Delay -benchtime 5000x ./internal/webhook
func BenchmarkDelay(b *testing.B) {
	w := newWorld(b)
	w.serve()
	w.append(100, 0)
	all := w.expect(b.N)
	b.ResetTimer()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var writers sync.WaitGroup
	for i := 0; i < b.N; i += 5 {
		<-tick.C
		records := make([]presence.Record, 0, 5)
		for j := i; j < min(i+5, b.N); j++ {
			records = append(records, opening(1000+j))
		}
		writers.Go(func() {
			if _, err := w.store.Append(b.Context(), fmt.Sprint("d", i), records); err != nil {
				b.Error(err)
			}
		})
	}
	writers.Wait()
	<-all
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.delays)
	for name, at := range map[string]int{"p50-ms": len(w.delays) / 2, "p99-ms": len(w.delays) * 99 / 100} {
		b.ReportMetric(float64(w.delays[at])/float64(time.Millisecond), name)
	}
	b.ReportMetric(float64(b.N)/float64(w.requests), "events/request")
}
