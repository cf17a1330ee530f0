package app

import (
	"context"
	"errors"
	"testing"
)

// TestAbove takes terms that are above what the data of a single node have.
func TestAbove(t *testing.T) {
	t.Parallel()
	last, broken := uint64(0), errors.New("no majority")
	next := func(context.Context) (uint64, error) {
		if last == 9 {
			return 0, broken
		}
		last++
		return last, nil
	}
	for _, want := range []uint64{5, 6} {
		if n, err := above(t.Context(), 5, next); n != want || err != nil {
			t.Errorf("got %d, %v, want %d", n, err, want)
		}
	}
	if n, err := above(t.Context(), 100, next); !errors.Is(err, broken) {
		t.Errorf("got %d, %v, want the error", n, err)
	}
}
