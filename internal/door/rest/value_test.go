package rest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// nested is a reference with depth references in it, one in the other.
func nested(depth int) string {
	return strings.Repeat(`{"token":"t{\"","args":{"a":`, depth) + `{"token":"{{"}` + strings.Repeat(`}}`, depth)
}

// TestValueDepth: what presence allows is read, and deeper nesting is refused
// before it is descended into.
func TestValueDepth(t *testing.T) {
	t.Parallel()
	for depth, ok := range map[int]bool{0: true, presence.MaxRefDepth: true, presence.MaxRefDepth + 1: false, 2000: false} {
		var v Value
		err := json.Unmarshal([]byte(nested(depth)), &v)
		if ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "nest deeper") {
			t.Errorf("%d references within a reference: got %v, want it read: %v", depth, err, ok)
		}
	}
}
