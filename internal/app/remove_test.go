package app

import (
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// TestWhole: a node is not taken out while that could take the last copy of
// anything, whatever its name is known as.
func TestWhole(t *testing.T) {
	t.Parallel()
	unknown := "Server name unknown at this time (peerID: " + natsbus.EngineID("n4") + ")"
	for name, c := range map[string]struct {
		stream natsstore.StreamStatus
		says   string // "": n4 may go
	}{
		"the others have everything":          {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", "n2", "n4"}, Behind: []string{"n4: offline"}}, ""},
		"its name is forgotten":               {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", "n2", unknown}, Behind: []string{unknown + ": offline"}}, ""},
		"it has no copy, one lags":            {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", "n2", "n5"}, Behind: []string{"n5: offline"}}, ""},
		"no leader":                           {natsstore.StreamStatus{Servers: []string{"n1"}}, "has no leader"},
		"no answer":                           {natsstore.StreamStatus{Unavailable: "no leader answers"}, "has no leader"},
		"another copy is not whole":           {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", "n4", "n5"}, Behind: []string{"n4: offline", "n5: 7000 behind"}}, "n5: 7000 behind"},
		"another one, whose name is alike":    {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", "n4", "n41"}, Behind: []string{"n41: offline"}}, "n41: offline"},
		"the same, and its name is forgotten": {natsstore.StreamStatus{Leader: "n1", Servers: []string{"n1", unknown, "n5"}, Behind: []string{"n5: offline"}}, "n5: offline"},
	} {
		c.stream.Stream = "PL_LOG"
		err := whole([]natsstore.StreamStatus{{Stream: "PL_NAME", Leader: "n1", Servers: []string{"n1", "n2", "n3"}}, c.stream}, "n4")
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "PL_LOG")) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
}

// TestRecopied: a stream is done when all copies are there and whole, none of them at the node.
func TestRecopied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream natsstore.StreamStatus
		want   bool
	}{
		"three others":   {natsstore.StreamStatus{Whole: true, Leader: "n1", Replicas: 3, Servers: []string{"n1", "n2", "n3"}}, true},
		"not whole":      {natsstore.StreamStatus{Leader: "n1", Replicas: 3, Servers: []string{"n1", "n2", "n3"}}, false},
		"still at it":    {natsstore.StreamStatus{Whole: true, Leader: "n1", Replicas: 3, Servers: []string{"n1", "n2", "n4"}}, false},
		"two":            {natsstore.StreamStatus{Whole: true, Leader: "n1", Replicas: 3, Servers: []string{"n1", "n2"}}, false},
		"without leader": {natsstore.StreamStatus{Whole: true, Replicas: 3, Servers: []string{"n1", "n2", "n3"}}, false},
	} {
		if got := recopiedStream(&c.stream, "n4"); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
