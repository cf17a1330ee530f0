package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBucketsAreCloseToTheirValues(t *testing.T) {
	t.Parallel()
	for v := uint64(1); v < 1<<62; v += v/16 + 1 {
		got := middle(bucketOf(v))
		if off := float64(got)/float64(v) - 1; off > 0.032 || off < -0.032 {
			t.Fatalf("%d counts as %d, %.1f %% off", v, got, off*100)
		}
	}
	var h histogram
	h.add(1<<63 - 1) // the longest duration has a bucket as well
	h.add(-1)
	if h.quantile(0) != 0 {
		t.Errorf("a negative duration counts as %v, want 0", h.quantile(0))
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("empty: got %v, want 0", got)
	}
	r := rand.New(rand.NewPCG(1, 1))
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = time.Duration(r.ExpFloat64() * float64(time.Millisecond))
		h.add(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		got, want := h.quantile(q), all[max(int(q*float64(len(all)))-1, 0)]
		if off := float64(got)/float64(want) - 1; off > 0.04 || off < -0.04 {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

func BenchmarkHistogramAdd(b *testing.B) {
	var h histogram
	d := time.Duration(1)
	b.ReportAllocs()
	for b.Loop() {
		h.add(d)
		d = d*5/4%time.Second + 1
	}
}
