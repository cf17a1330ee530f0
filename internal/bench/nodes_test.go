package bench

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// nodeChild plays a node without sessions: it answers as one would that has them.
func nodeChild() error {
	if err := Ready(os.Stdout, "127.0.0.1:1"); err != nil {
		return err
	}
	answers := json.NewEncoder(os.Stdout)
	online := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var o Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		s := Standing{Took: 1000}
		switch o.Do {
		case DoChange:
			s.Made = 1 + o.Rate
		case DoAwait:
			online, s.First = o.Count, 900
		case DoOpen:
			if online = o.Count; o.Count == 0 {
				s.Error = "nobody to open"
			}
		}
		s.Online = online
		if err := answers.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func TestNodesRefuses(t *testing.T) {
	t.Parallel()
	good := NodesConfig{Dir: "x", Token: testToken, Self: func(Place) (a, e []string) { return nil, nil }}
	for name, change := range map[string]func(*NodesConfig){
		"no program": func(*NodesConfig) {}, "two nodes": func(c *NodesConfig) { c.Nodes = 2 }, "many nodes": func(c *NodesConfig) { c.Nodes = 8 },
		"few sessions": func(c *NodesConfig) { c.Sessions = 10 }, "no time": func(c *NodesConfig) { c.Seconds = -1 },
		"another phase": func(c *NodesConfig) { c.Phases = []string{PhaseLogin} }, "no directory": func(c *NodesConfig) { c.Dir = "" },
	} {
		cfg := good
		change(&cfg)
		if err := NodesRun(t.Context(), cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestNodesTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := NodesTable(&b, []NodesRow{
		{Measure: measureAcross, Rate: 3000, P50: 2.5, P99: 9},
		{Measure: measureReplicate, Rate: 59_500, Behind: 0.2},
		{Measure: measureReplicate, Rate: 60_000, Behind: 2},
		{Measure: measureMemory, Bytes: 340}, {Measure: measureFresh, Seconds: 6}, {Measure: measureDead, Sessions: 10, Seconds: 0.4, After: 9.5},
	}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		f := strings.Fields(line)
		got = append(got, f[len(f)-1])
		if strings.Contains(line, "at other nodes") && !strings.Contains(line, "p50 ≤ 3  met, p99 ≤ 8  missed") {
			t.Errorf("got %q, want a verdict on each", line)
		}
	}
	if want := []string{"goal", "missed", "met", "missed", "met", "missed", "met"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q, of\n%s", got, want, b.String())
	}
}
