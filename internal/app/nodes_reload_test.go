package app_test

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// differing are the members of which a node says that they have another
// configuration, and whether all are there: on a busy machine one may be silent for
// a moment.
func differing(t *testing.T, a *app.App) (names []string, there bool) {
	t.Helper()
	there = true
	for _, v := range rest(t, a, "GET", "/api/v1/cluster", "")["members"].([]any) {
		m := v.(map[string]any)
		if m["other_configuration"] == true {
			names = append(names, m["name"].(string))
		}
		there = there && (m["standing"] == "alive" || m["standing"] == "suspect")
	}
	return names, there
}

// TestReloadOfOneNode: a reload concerns the node that it is asked of. Until the
// others are reloaded, too, all say who has another configuration, nobody goes, and a
// webhook that the others do not have is served as soon as they do.
func TestReloadOfOneNode(t *testing.T) {
	s := newSink(t)
	nodes := cluster(t, 3, func(p *app.Params) { p.Nodes.Fingerprint = p.Config.Fingerprint() })
	with := func(a *app.App) {
		t.Helper()
		c := config.Development()
		c.Data, c.LogMaxBytes = t.TempDir(), 64<<20 // which wait for the next start
		p := app.Params{Config: c}
		s.told(&p)
		if err := a.Reload(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	stream := speak(t, nodes[2], "bob")
	line := stream.connect(stream.make())
	with(nodes[0])
	for i, a := range nodes {
		want := 1
		if i == 0 {
			want = 2
		}
		happens(t, "who has another configuration is said", func() bool { names, _ := differing(t, a); return len(names) == want })
	}
	for range 12 { // longer than it takes to lose a node
		<-time.After(500 * time.Millisecond)
		for _, a := range nodes {
			if names, there := differing(t, a); !there || len(names) == 0 {
				t.Fatalf("differing %v, all there: %v", names, there)
			}
		}
	}
	line.mu.Lock()
	if line.err != nil {
		t.Errorf("bob's stream ended: %v", line.err)
	}
	line.mu.Unlock()
	with(nodes[1])
	with(nodes[2])
	for _, a := range nodes {
		happens(t, "all have the same again", func() bool { names, there := differing(t, a); return there && len(names) == 0 })
	}
	served(t, nodes)
	put(t, nodes[1], "alice")
	if e := s.wait(t, 1)[0]; e.User != "alice" {
		t.Errorf("got %+v", e)
	}
}
