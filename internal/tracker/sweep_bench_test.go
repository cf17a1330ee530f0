package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// BenchmarkDeadlinesInASweep is how late other deadlines come at a node that has 200,000
// sessions, while 20,000 of them, a dead node's, are closed there:
//
//	go test ./internal/tracker -run '^$' -bench DeadlinesInASweep -benchtime 1x
func BenchmarkDeadlinesInASweep(b *testing.B) {
	const sessions = 200_000
	for b.Loop() {
		t := foreignTracker(b)
		t.fill(sessions, t.now())
		t.Lost(3, t.now(), t.now())
		p := t.peers
		p.mu.Lock()
		p.origins[3].over, p.origins[3].agreed = -time.Hour, true
		p.informed.Store(true)
		p.mu.Unlock()

		var last time.Time
		var late time.Duration // the wheel's goroutine alone writes it while it turns
		tick := wheel.Timer{}
		tick.Fire = func() {
			now := time.Now()
			if !last.IsZero() {
				late = max(late, now.Sub(last)-2*wheel.Tick)
			}
			last = now
			t.wheel.Set(&tick, wheel.Tick)
		}
		t.wheel.Set(&tick, 0)
		t.wheel.Start()
		began := time.Now()
		t.wheel.Set(&p.sweep, 0)
		for swept := p.resting.Load() + 2; p.resting.Load() < swept; { // the second begins when the first is over
			<-time.After(wheel.Tick)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/sweep")
		t.wheel.Stop()
		b.ReportMetric(float64(late.Milliseconds()), "ms/late")
		if got := len(sees(t.Presence(foreignTestUser(9)), false)); got != 0 {
			b.Fatal("a lost node's session is still open")
		}
	}
}
