package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEarCounts(t *testing.T) {
	t.Parallel()
	e, err := listenHooks()
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	post := func(body string) int {
		t.Helper()
		resp, err := http.Post(e.url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	at := time.Now().Add(-20 * time.Millisecond).UTC().Format(time.RFC3339Nano)
	two := fmt.Sprintf(`{"events":[{"event_id":"1","time":%q},{"event_id":"2","time":%q}]}`, at, at)
	from := e.mark()
	e.time(true)
	if got := post(two); got != http.StatusOK || !e.wait(t.Context(), from, 2, time.Minute) {
		t.Errorf("got status %d, want two events counted", got)
	}
	if got := e.quantile(1); got < 20*time.Millisecond {
		t.Errorf("got a delay of %v, want 20 ms at least", got)
	}
	e.away(true)
	if got := post(two); got != http.StatusServiceUnavailable || e.wait(t.Context(), from, 3, time.Millisecond) {
		t.Errorf("got status %d while it is away, want 503 and nothing counted", got)
	}
	if now := e.mark(); now.events-from.events != 2 || now.requests-from.requests != 1 || now.first.IsZero() || now.last.Before(now.first) {
		t.Errorf("got %+v, want one request with two events", now)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if e.wait(ended, from, 3, time.Minute) {
		t.Error("waited for more than came, want the end of ctx to end it")
	}
}

func FuzzEventTimes(f *testing.F) {
	f.Add([]byte(`{"events":[{"time":"2026-01-01T00:00:00.123Z"}]}`))
	f.Add([]byte(`"time":"`))
	f.Add([]byte(`"time":""time":"x"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, most := len(eventTimes(b)), bytes.Count(b, []byte(timeMark)); got > most {
			t.Errorf("got %d times of %d marks", got, most)
		}
	})
}

func TestHooksRefuses(t *testing.T) {
	t.Parallel()
	never := func(string) Start { return nil }
	for name, cfg := range map[string]HooksConfig{"no server": {}, "seconds": {Self: never, Seconds: maxSeconds + 1}, "no time": {Self: never, Seconds: -1}} {
		if err := Hooks(t.Context(), cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestHookConfiguration(t *testing.T) {
	t.Parallel()
	text := hookConfiguration("a-key", "http://127.0.0.1:7/", hookTen)
	if n := strings.Count(text, "allow_private: true"); n != hookTen || strings.Count(text, "127.0.0.1:7/") != 1 {
		t.Errorf("got %d endpoints in\n%s\nwant ten, one of which is listened to", n, text)
	}
}

func TestHooksTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := HooksTable(&b, []HookRow{
		{Measure: measureOpenings, Events: 20000, Requests: 3000, Rate: 4000, CPU: 120},
		{Measure: measureClosings, Events: 20000, Requests: 300, Rate: 15000}, {Measure: measureClosings, Events: 20000, Rate: 9000},
		{Measure: measureDelay, P50: 12, P99: 30}, {Measure: measureTen, P50: 12, P99: 60}, {Measure: measureCatchUp, Events: 1, Rate: 25000},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{"what", "by 64 callers", "≥ 10000: met", "≥ 10000: missed", "p99 ≤ 50.0  met", "p99 ≤ 50.0  missed", "≥ 20000: met"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d: got\n%s\nwant %q in it", i, b.String(), want)
			break
		}
	}
}
