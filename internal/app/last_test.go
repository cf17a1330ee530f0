package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// TestLastOnes: of several nodes the last that stops finds no majority, which is a
// word in the log and no error; anything else is, and so it is of a node alone.
func TestLastOnes(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		several bool
		err     error
		want    error
	}{
		"all is well":           {true, nil, nil},
		"no majority":           {true, fmt.Errorf("x: %w", store.ErrUnknown), nil},
		"no answer in time":     {true, fmt.Errorf("x: %w", context.DeadlineExceeded), nil},
		"something else":        {true, broken, broken},
		"one node, no answer":   {false, context.DeadlineExceeded, context.DeadlineExceeded},
		"one node, all is well": {false, nil, nil},
	} {
		var said bytes.Buffer
		a := &App{log: slog.New(slog.NewTextHandler(&said, nil))}
		if c.several {
			a.nodes.cluster = new(cluster.Cluster)
		}
		if got := a.lastOnes("it may be lost", c.err); !errors.Is(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if c.err != nil && (c.want == nil) != strings.Contains(said.String(), "it may be lost: no majority") {
			t.Errorf("%s: the log says %q", name, said.String())
		}
	}
}
