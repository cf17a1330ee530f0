package wheel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// go test ./internal/wheel -run '^$' -bench . -count 6 | benchstat -
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("timers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			w := wheel.New(nil)
			timers := make([]wheel.Timer, n)
			for i := range timers {
				w.Set(&timers[i], 35*time.Second)
			}
			i := 0
			for b.Loop() {
				w.Set(&timers[i%n], 35*time.Second)
				i++
			}
		})
	}
}

func BenchmarkNow(b *testing.B) {
	w := wheel.New(nil)
	var sum time.Duration
	for b.Loop() {
		sum += w.Now()
	}
	_ = sum
}
