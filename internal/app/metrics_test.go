package app_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// scrape reads /metrics of a node.
func scrape(t *testing.T, base string) string {
	t.Helper()
	resp, err := bounded().Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %d, %v", resp.StatusCode, err)
	}
	return string(b)
}

func names(re, text string) (list []string) {
	for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// The page for operators lists every metric of ours, and nothing else.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	hook := newSink(t)
	demo := p.Config.Apps["demo"]
	demo.Webhooks = map[string]config.Webhook{"main": hook.webhook()}
	p.Config.Apps["demo"] = demo
	a := running(t, p)
	base := "http://" + a.HTTPAddr().String()
	req, _ := http.NewRequest("PUT", base+"/api/v1/users/alice/presence", strings.NewReader(`{"ttl":60}`))
	req.Header.Set("Authorization", "Bearer "+config.DevelopmentServerKey)
	req.Header.Set("Content-Type", "application/json")
	if resp, err := bounded().Do(req); err != nil || resp.StatusCode != 200 {
		t.Fatalf("put: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	hook.wait(t, 1)
	var text string
	until(t, "the delivery is counted", func() bool {
		text = scrape(t, base)
		return strings.Contains(text, `porchlight_webhook_events_total{app="demo",endpoint="main"} 1`)
	})
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Metrics")
	table, _, _ = strings.Cut(table, "Alerts to begin with")
	got, want := names(`(?m)^# TYPE (porchlight_\w+) `, text), names("`(porchlight_\\w+)`", table)
	if !slices.Equal(got, want) {
		t.Errorf("scraped %v\ndocumented %v", got, want)
	}
	_, alerts, _ := strings.Cut(string(page), "Alerts to begin with")
	for _, name := range names(`(porchlight_\w+)`, alerts) {
		if !slices.Contains(want, name) {
			t.Errorf("an alert is on %s, which there is not", name)
		}
	}
	for _, line := range []string{
		`porchlight_users_online{app="demo"} 1`, `porchlight_sessions{app="demo",phase="live"} 1`, `porchlight_openings_total 1`, `porchlight_closings_total{reason="dropped"} 0`,
		`porchlight_webhook_events_total{app="demo",endpoint="main"} 1`, `porchlight_webhook_given_up_total{app="demo",endpoint="main"} 0`,
		`porchlight_webhook_failures_total{app="demo",endpoint="main",kind="timeout"} 0`, `porchlight_webhook_paused{app="demo",endpoint="main"} 0`,
		`porchlight_calls_total{code="OK",door="rest",method="putPresence"} 1`, `porchlight_store_healthy 1`, `porchlight_ready 1`, `porchlight_log_records_total 1`, `porchlight_connections{port="grpc"} 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
}
