package webhook_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

const patience = time.Minute

// wired is a deliverer over real HTTP, with a store in memory.
type wired struct {
	t     *testing.T
	store *storetest.Memory
	d     *webhook.Deliverer
	main  webhook.Endpoint
}

func newWired(t *testing.T, answer http.HandlerFunc) *wired {
	t.Helper()
	server := httptest.NewServer(answer)
	w := &wired{t: t, store: storetest.NewMemory()}
	reader := facts.New(facts.Config{Store: w.store})
	must(t, reader.Start(t.Context()))
	f, err := native.New(native.Config{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	must(t, err)
	w.main = webhook.Endpoint{App: "demo", Name: "main", URL: server.URL + "/hook?token=marked", Format: f, AllowPrivate: true, FromOldest: true}
	w.d, err = webhook.New(webhook.Config{
		Reader: reader, Seq: func(context.Context, presence.User) (uint64, error) { return 0, nil },
		Cursors: w.store, Letters: w.store, Owner: webhook.Alone(1), Logger: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	must(t, w.d.Start(t.Context()))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		must(t, w.d.Stop(ctx))
		must(t, reader.Stop(ctx))
		server.Close()
	})
	return w
}

func (w *wired) open() {
	w.t.Helper()
	if _, err := w.store.Append(w.t.Context(), "one", []presence.Record{opening(1)}); err != nil {
		w.t.Fatal(err)
	}
}

// until polls the status until it is so.
func (w *wired) until(so func(webhook.Status) bool) webhook.Status {
	w.t.Helper()
	limit := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := w.d.Endpoint(w.t.Context(), "demo", "main")
		must(w.t, err)
		if so(s) {
			return s
		}
		if time.Now().After(limit) {
			w.t.Fatalf("got %+v for %v", s, patience)
		}
		<-tick.C
	}
}

// TestWhatReceiversMayDo: whatever a receiver does that is no 2xx is said in its
// status, without its words or the address, and nothing is lost: when it is well
// it gets the event.
func TestWhatReceiversMayDo(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("marked", 1<<20)
	for name, c := range map[string]struct {
		bad  http.HandlerFunc
		want string
	}{
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/marked", http.StatusTemporaryRedirect)
		}, "status 307 (redirects"},
		"a large page":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }, "too large"},
		"no HTTP":       {speak("marked\r\n\r\n"), "malformed HTTP"},
		"cut":           {speak(""), "EOF"},
		"not found":     {http.NotFound, "status 404"},
		"not changed":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, "status 304"},
		"too many":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "status 429"},
		"a wrong error": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "marked", 500) }, "status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var well atomic.Bool
			w := newWired(t, func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if !well.Load() {
					c.bad(rw, r)
				}
			})
			must(t, w.d.SetEndpoints(t.Context(), []webhook.Endpoint{w.main}))
			w.open()
			s := w.until(func(s webhook.Status) bool { return s.Failures > 0 })
			if !strings.Contains(s.LastError, c.want) || strings.Contains(s.LastError, "marked") && name != "no HTTP" || strings.Contains(s.Host, "marked") {
				t.Errorf("got the error %q of %s, want %q and nothing of the answer or the address", s.LastError, s.Host, c.want)
			}
			well.Store(true)
			if s := w.until(func(s webhook.Status) bool { return s.Delivered == 1 }); s.Dead != 0 {
				t.Errorf("got %+v, want it delivered and no dead letter", s)
			}
		})
	}
}

// speak takes the connection and says something that is no answer.
func speak(words string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	}
}

// TestPrivateAddresses: an endpoint on this machine is not called unless that is
// allowed; a reload that allows it gives it everything.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := newWired(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	strict := w.main
	strict.AllowPrivate = false
	must(t, w.d.SetEndpoints(t.Context(), []webhook.Endpoint{strict}))
	w.open()
	s := w.until(func(s webhook.Status) bool { return s.Failures > 0 })
	if calls.Load() != 0 || !strings.Contains(s.LastError, "only with allow_private") || strings.Contains(s.LastError, "marked") {
		t.Errorf("got %d calls and %q, want none and the reason", calls.Load(), s.LastError)
	}
	must(t, w.d.SetEndpoints(t.Context(), []webhook.Endpoint{w.main}))
	w.until(func(s webhook.Status) bool { return s.Delivered == 1 })
}

// TestStopHasAnEnd: a receiver that hangs holds a stop no longer than its ctx.
func TestStopHasAnEnd(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	w := newWired(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	must(t, w.d.SetEndpoints(t.Context(), []webhook.Endpoint{w.main}))
	w.open()
	w.until(func(s webhook.Status) bool { return s.InFlight == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	must(t, w.d.Stop(ctx))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v, want about 100 ms", took)
	}
}
