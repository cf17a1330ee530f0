package rongcloud

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// go test -run '^$' -bench . -benchmem ./internal/door/rongcloud

func BenchmarkCheckOnline(b *testing.B) {
	d := newRig(b, func(c *Config) { c.Called = nil }).door
	(*d.apps.Load())[appKey].limit = rate.NewLimiter(rate.Inf, 1)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, request("userId=on"))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkRequestOf100(b *testing.B) {
	c := newCallback(b, nil)
	d := &webhook.Delivery{}
	for range 100 {
		d.Events = append(d.Events, told(presence.RecordOpened, presence.ReasonOpened))
	}
	a := webhook.Attempt{Number: 1, Time: time.UnixMilli(1767225600123), URL: "https://example.com/online_status.php"}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.Request(d, a); err != nil || !strings.HasPrefix(string(r.Body[:1]), "[") {
			b.Fatal(err)
		}
	}
}
