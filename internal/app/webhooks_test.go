package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// sink is a receiver of native webhooks.
type sink struct {
	url string

	mu       sync.Mutex        // guards what follows
	status   int               // to answer with
	again    int               // to answer replays with; 0: as everything
	replayed map[string][]sunk // by replay
	events   []sunk
	came     chan struct{} // closed at the next request
	requests int
}

// sunk is an event that was taken.
type sunk struct {
	Position string
	ID       string `json:"event_id"`
	Seq      uint64 `json:"user_seq"`
	Kind     string
	User     string
	app      string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{status: http.StatusOK, came: make(chan struct{}), replayed: map[string][]sunk{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// webhook is the sink as an endpoint.
func (s *sink) webhook() config.Webhook {
	return config.Webhook{URL: s.url, AllowPrivate: true, Secrets: []config.Secret{config.DevelopmentWebhookSecret}}
}

// ServeHTTP takes a request.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var got struct {
		App    string
		Replay string
		Events []sunk
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || json.Unmarshal(body, &got) != nil || r.Header.Get("Webhook-Signature") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.requests++
	status := s.status
	if got.Replay != "" && s.again != 0 {
		status = s.again
	}
	if status == http.StatusOK {
		for _, e := range got.Events {
			e.app = got.App
			s.events = append(s.events, e)
			if got.Replay != "" {
				s.replayed[got.Replay] = append(s.replayed[got.Replay], e)
			}
		}
	}
	close(s.came)
	s.came = make(chan struct{})
	w.WriteHeader(status)
}

func (s *sink) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// wait waits for n events in all and returns them.
func (s *sink) wait(t *testing.T, n int) []sunk {
	t.Helper()
	limit := time.After(patience)
	for {
		s.mu.Lock()
		events, came := append([]sunk(nil), s.events...), s.came
		s.mu.Unlock()
		if len(events) >= n {
			return events
		}
		select {
		case <-came:
		case <-limit:
			t.Fatalf("%d events came, want %d: %+v", len(events), n, events)
		}
	}
}

// tellers are apps with one endpoint each, by app.
func tellers(c *config.Config, hooks map[string]config.Webhook) {
	apps := map[string]config.App{}
	for name, h := range hooks {
		a := tenant("k")
		a.Webhooks = map[string]config.Webhook{"main": h}
		apps[name] = a
	}
	tenants(c, apps)
}

// api calls the REST API of a node with the key of an app of tellers.
func api(t *testing.T, a *app.App, app, method, path string) (int, string) {
	t.Helper()
	code, text, err := asked(t.Context(), a, app, method, path)
	if err != nil {
		t.Fatal(err)
	}
	return code, text
}

// asked is api for goroutines of their own, which must not end a test.
func asked(ctx context.Context, a *app.App, app, method, path string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+a.HTTPAddr().String()+"/api/v1"+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+app+"-"+strings.Repeat("server-k/", 40)[:40])
	resp, err := bounded().Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// What happens in an app is told to its own endpoint, and no other.
func TestWebhooksAreTold(t *testing.T) {
	t.Parallel()
	one, two := newSink(t), newSink(t)
	p := params(t, t.TempDir())
	tellers(p.Config, map[string]config.Webhook{"one": one.webhook(), "two": two.webhook()})
	a := running(t, p)
	join(t, a, jwt(t, "one", "k", "alice"))
	join(t, a, jwt(t, "two", "k", "bob"))
	for s, want := range map[*sink]string{one: "alice of one", two: "bob of two"} {
		e := s.wait(t, 1)[0]
		if got := e.User + " of " + e.app; got != want || e.Kind != "opened" || e.Seq != 1 || e.Position == "" || e.ID == "" {
			t.Errorf("got %+v, want the opening of %s", e, want)
		}
	}
	// The receiver has it before the node has its answer, and counts it.
	until(t, "the delivery is counted", func() bool {
		code, text := api(t, a, "one", "GET", "/webhooks/main")
		return code == 200 && strings.Contains(text, `"format":"native"`) && strings.Contains(text, `"delivered":1,`)
	})
	if code, text := api(t, a, "two", "DELETE", "/users/alice/sessions"); code != 200 || !strings.Contains(text, `"dropped":0`) {
		t.Errorf("got %d %s", code, text)
	}
	if code, _ := api(t, a, "one", "DELETE", "/users/alice/sessions"); code != 200 {
		t.Errorf("drop: %d", code)
	}
	if e := one.wait(t, 2)[1]; e.Kind != "closed" || e.Seq != 2 {
		t.Errorf("got %+v, want alice's closing", e)
	}
}

// A reload moves an endpoint, which goes on where it was, and takes one away.
func TestWebhooksThroughReloads(t *testing.T) {
	t.Parallel()
	former, next := newSink(t), newSink(t)
	p := params(t, t.TempDir())
	tellers(p.Config, map[string]config.Webhook{"one": former.webhook()})
	a := running(t, p)
	join(t, a, jwt(t, "one", "k", "alice"))
	former.wait(t, 1)
	former.answer(http.StatusServiceUnavailable) // what happens now waits
	join(t, a, jwt(t, "one", "k", "bob"))
	moved := *p.Config
	tellers(&moved, map[string]config.Webhook{"one": next.webhook()})
	if err := a.Reload(t.Context(), &moved); err != nil {
		t.Fatal(err)
	}
	if e := next.wait(t, 1)[0]; e.User != "bob" {
		t.Errorf("got %+v first, want bob's opening", e)
	}
	bad := *p.Config
	tellers(&bad, map[string]config.Webhook{"one": {URL: "ftp://x"}})
	if err := a.Reload(t.Context(), &bad); err == nil {
		t.Error("a bad address was taken")
	}
	join(t, a, jwt(t, "one", "k", "carol"))
	if e := next.wait(t, 2)[1]; e.User != "carol" {
		t.Errorf("got %+v, want carol's opening: the refused configuration changed something", e)
	}
	none := *p.Config
	tenants(&none, map[string]config.App{"one": tenant("k")})
	if err := a.Reload(t.Context(), &none); err != nil {
		t.Fatal(err)
	}
	if code, text := api(t, a, "one", "GET", "/webhooks"); code != 200 || !strings.Contains(text, `"webhooks":[]`) {
		t.Errorf("got %d %s, want none", code, text)
	}
}

// What was not taken when the node stopped is told after its next start.
func TestWebhooksSurviveARestart(t *testing.T) {
	t.Parallel()
	s, dir := newSink(t), t.TempDir()
	p := params(t, dir)
	tellers(p.Config, map[string]config.Webhook{"one": s.webhook()})
	a, err := app.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	join(t, a, jwt(t, "one", "k", "alice"))
	s.wait(t, 1)
	s.answer(http.StatusServiceUnavailable)
	join(t, a, jwt(t, "one", "k", "bob"))
	began := time.Now()
	stop(t, a)
	if took := time.Since(began); took > brief {
		t.Errorf("the stop took %v", took)
	}
	s.answer(http.StatusOK)
	again := params(t, dir)
	again.Config.Apps = p.Config.Apps
	b := running(t, again)
	events := s.wait(t, 2)
	if events[1].User != "bob" || events[1].Seq != 1 {
		t.Errorf("got %+v, want alice and bob, once each", events)
	}
	if code, text := api(t, b, "one", "GET", "/changes"); code != 200 || strings.Count(text, `"event_id"`) != 2 || !strings.Contains(text, events[1].ID) {
		t.Errorf("changes: got %d %s, want the same two events", code, text)
	}
}

// Who waits for changes is answered when the node stops, and does not hold it up.
func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	tellers(p.Config, map[string]config.Webhook{"one": newSink(t).webhook()})
	a, err := app.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		code, text, err := asked(t.Context(), a, "one", "GET", "/changes?wait=30")
		answered <- fmt.Sprint(code, " ", text, " ", err)
	}()
	// The scrape tells when the call has come: it has a connection beside its own,
	// or more, since clients may open one that they then do not need.
	until(t, "the call waits", func() bool {
		_, n, ok := strings.Cut(scrape(t, "http://"+a.HTTPAddr().String()), `porchlight_connections{port="http"} `)
		return ok && n[0] >= '2'
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > brief {
		t.Errorf("the stop took %v: somebody who waits held it up", took)
	}
	select {
	case got := <-answered:
		if !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"events":[]`) {
			t.Errorf("got %s, want no events", got)
		}
	case <-time.After(patience):
		t.Error("who waited was never answered")
	}
}
