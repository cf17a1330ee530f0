package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// TestClusterRemove: of four nodes one dies for good and is taken out; the other
// three have all copies then. Everything that would not be safe is refused.
func TestClusterRemove(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped in short mode: four engines elect leaders and make copies, in seconds")
	}
	all := natsbustest.Addresses(t, 4)
	three, fourth := all[:3], first(all, 3)
	config := nodeConfig(t, "demo", "peers: {password: "+secretOfNodes+"}")
	var nodes []*process
	for i := range three {
		nodes = append(nodes, start(t, serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", fmt.Sprintf("n%d", i+1), "--peers", first(three, i))...))
	}
	for _, n := range nodes {
		n.line("http")
	}
	dead := start(t, serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", "n4", "--peers", fourth)...)
	dead.line("http")
	do := func(command string, more ...string) (out, errText string, err error) {
		return once(t, append([]string{"cluster", command, "--config", config, "--peers", strings.Join(three, ","), "--json"}, more...)...)
	}
	refused := func(name, says string) {
		t.Helper()
		if out, errText, err := do("remove", name); err == nil || !strings.Contains(errText, says) || strings.Contains(out+errText, secretOfNodes) {
			t.Errorf("remove %s: %q, %q, %v; want an error that says %q", name, out, errText, err, says)
		}
	}
	refused("n4", "n4 is running")
	refused("n9", "the members are n1, n2, n3, n4")
	if _, errText, err := once(t, "cluster", "remove", "n4"); err == nil || !strings.Contains(errText, "--config FILE") {
		t.Errorf("remove of nothing: %q, %v", errText, err)
	}
	stranger := nodeConfig(t, "demo", "peers: {password: another}")
	if _, errText, err := once(t, "cluster", "remove", "n4", "--config", stranger, "--peers", strings.Join(three, ",")); err == nil || !strings.Contains(errText, "does not take this node's password") {
		t.Errorf("remove by a stranger: %q, %v; want a refusal", errText, err)
	}

	if err := dead.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	natsbustest.Eventually(t, "n4 is removed", func() error {
		out, errText, err := do("remove", "n4")
		if err != nil {
			return errors.New(errText)
		}
		var done porchlight.Removed
		if err := json.Unmarshal([]byte(out), &done); err != nil || done.Removed != "n4" || !slices.Equal(done.Nodes, []string{"n1", "n2", "n3"}) || done.Streams == 0 {
			t.Errorf("remove: %q, %v", out, err)
		}
		return nil
	})
	out, errText, err := do("status")
	var streams []porchlight.StreamStatus
	if err != nil || json.Unmarshal([]byte(out), &streams) != nil || len(streams) == 0 {
		t.Fatalf("status: %q, %q, %v", out, errText, err)
	}
	for _, s := range streams {
		if slices.Sort(s.Servers); !slices.Equal(s.Servers, []string{"n1", "n2", "n3"}) {
			t.Errorf("stream %s is at %v, want all three", s.Stream, s.Servers)
		}
	}
	refused("n4", "the members are n1, n2, n3")
	refused("n3", "n1 and n2 would be left")
}
