package bench

import (
	"math/bits"
	"time"
)

// subBits is the precision of a histogram: 2^5 buckets for each power of two,
// so a value is known to about 3 %.
const subBits = 5

// histogram counts durations in buckets that grow with the value, from a
// nanosecond to years, at a fixed cost for each. It is for one goroutine.
// Its zero value is empty.
type histogram struct {
	buckets [(64 - subBits + 1) << subBits]uint32
	count   uint64
}

// add counts one duration; a negative one counts as zero.
func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(uint64(max(d, 0)))]++
	h.count++
}

// quantile returns the value below or at which the share q of all durations
// lies, within the precision of a bucket, and 0 of an empty histogram.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	want := max(uint64(q*float64(h.count)+0.5), 1)
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen >= want {
			return time.Duration(middle(i))
		}
	}
	return 0 // not reached: the buckets add up to count
}

// bucketOf: values below 2^subBits have a bucket each; above, the leading
// subBits+1 bits choose it.
func bucketOf(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// middle returns the value that stands for bucket i.
func middle(i int) uint64 {
	if i < 2<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return low + uint64(1)<<shift/2
}
