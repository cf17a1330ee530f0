package app

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// TestGone: a node is gone that was silent for ten seconds, also where the leader of
// the engines never heard it, because it was elected since.
func TestGone(t *testing.T) {
	t.Parallel()
	engine := func(name string, running bool, silent time.Duration) natsbus.Engine {
		return natsbus.Engine{Name: name, ID: natsbus.EngineID(name), Running: running, Silent: silent}
	}
	others := []natsbus.Engine{engine("n1", true, 0), engine("n2", true, time.Second), engine("n3", true, time.Second)}
	for name, c := range map[string]struct {
		silent []time.Duration // at each look, the last one for ever; less than 0: it runs
		says   string          // "": it may go
		after  time.Duration
	}{
		"long silent":            {[]time.Duration{11 * time.Second}, "", 2 * time.Second},
		"heard a moment ago":     {[]time.Duration{4 * time.Second}, "was heard 4s ago", 2 * time.Second},
		"never heard":            {[]time.Duration{0}, "", 12 * time.Second},
		"it goes on meanwhile":   {[]time.Duration{0, 0, -1}, "n4 is running", 6 * time.Second},
		"it was heard after all": {[]time.Duration{0, time.Second}, "was heard 1s ago", 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, looks := time.Now(), 0
				id, left, err := gone(t.Context(), func(context.Context) ([]natsbus.Engine, error) {
					<-time.After(2 * time.Second) // as long as engines may take to answer
					silent := c.silent[min(looks, len(c.silent)-1)]
					looks++
					return append(others, engine("n4", silent < 0, max(silent, 0))), nil
				}, "n4")
				if took := time.Since(began); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				if c.says == "" && (err != nil || id != natsbus.EngineID("n4") || strings.Join(left, " ") != "n1 n2 n3") {
					t.Errorf("got %q, %v, %v, want n4 gone and the others left", id, left, err)
				}
				if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("got %v, want an error that says %q", err, c.says)
				}
			})
		})
	}
}
