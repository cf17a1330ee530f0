package telemetry

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("got %d %v, %v", w.Code, w.Header(), err)
	}
	return string(b)
}

func newMetrics(t *testing.T) *Metrics {
	t.Helper()
	m, err := New("1.2.3", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	reads := 0
	err := m.Add([]Source{{Name: "things", Help: "Things.", Labels: []string{"kind"}}, {Name: "events_total", Help: "Events.", Counter: true}},
		func(give func(int, float64, ...string)) {
			reads++
			give(0, 2, "good")
			give(0, 3, "bad")
			give(1, 7)
		})
	if err != nil {
		t.Fatal(err)
	}
	m.Called("rest", "getUser", "OK", time.Millisecond)
	m.Called("rest", "getUser", "OK", 2*time.Second)
	m.Called("isonline", "Connect", "OK", -1)
	m.Appended(3 * time.Millisecond)
	shop := Webhook{"shop", "main"}
	m.WebhookDelivered(shop, 3, 20*time.Millisecond)
	m.WebhookFailed(shop, "timeout")
	m.WebhookDied(shop, 2)
	text := scrape(t, m)
	for _, line := range []string{
		`porchlight_things{kind="good"} 2`, `porchlight_things{kind="bad"} 3`, `porchlight_events_total 7`, `# TYPE porchlight_events_total counter`, `# TYPE porchlight_things gauge`,
		`porchlight_calls_total{code="OK",door="rest",method="getUser"} 2`, `porchlight_calls_total{code="OK",door="isonline",method="Connect"} 1`,
		`porchlight_call_seconds_count{door="rest",method="getUser"} 2`, `porchlight_call_seconds_bucket{door="rest",method="getUser",le="0.001"} 1`,
		`porchlight_webhook_events_total{app="shop",endpoint="main"} 3`, `porchlight_webhook_failures_total{app="shop",endpoint="main",kind="timeout"} 1`,
		`porchlight_webhook_given_up_total{app="shop",endpoint="main"} 2`, `porchlight_webhook_delay_seconds_bucket{app="shop",endpoint="main",le="0.025"} 1`,
		`porchlight_log_append_seconds_count 1`, `version="1.2.3"`, `go_goroutines `, `process_open_fds `,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
	if strings.Contains(text, `call_seconds_count{door="isonline"`) {
		t.Error("a stream has a duration")
	}
	if scrape(t, m); reads != 2 {
		t.Errorf("read %d times in 2 scrapes", reads)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	t.Parallel()
	m := newMetrics(t)
	none := func(func(int, float64, ...string)) {}
	if err := m.Add([]Source{{Name: "calls_total", Help: "x"}}, none); err == nil {
		t.Error("a name was taken twice")
	}
	newMetrics(t) // another node in this process
}
