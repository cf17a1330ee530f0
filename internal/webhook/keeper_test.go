package webhook

import (
	"math"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// What is remembered of former lanes fits beside the lane's own position:
// otherwise the store would refuse the cursors for ever.
func TestFormerLanesFit(t *testing.T) {
	t.Parallel()
	long := Position{Sequence: math.MaxUint64 - 1, Index: math.MaxUint32 - 1, Ordinal: math.MaxUint32 - 1}
	remembered := 0
	for short := uint64(1); short < 1e16; short *= 10 { // a digit more each time
		for n := 1; n <= MaxLanes; n++ {
			k := &keeper{former: []layout{make(layout, MaxLanes), make(layout, n)}}
			for _, was := range k.former {
				for i := range was {
					was[i] = Position{Sequence: short, Index: math.MaxUint32 - 1, Ordinal: math.MaxUint32 - 1}
				}
			}
			state := k.remember([]Position{{}})
			remembered = max(remembered, len(state))
			if whole := len(state) + len(long.String()); whole > store.MaxCursorState {
				t.Fatalf("%d bytes with the position; the store takes %d", whole, store.MaxCursorState)
			}
		}
	}
	if remembered < store.MaxCursorState/2 {
		t.Errorf("nothing larger than %d bytes was remembered", remembered)
	}
}
