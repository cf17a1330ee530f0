package app

import "testing"

// TestIsElsewhere: a call goes to the node that has its session while that is
// heard, and is answered here when it is gone.
func TestIsElsewhere(t *testing.T) {
	t.Parallel()
	heard := []uint64{2, 3}
	for node, want := range map[uint64]bool{0: false, 1: false, 2: true, 3: true, 4: false} {
		if got := isElsewhere(node, 1, heard); got != want {
			t.Errorf("a session of node %d: elsewhere %v, want %v", node, got, want)
		}
	}
}
