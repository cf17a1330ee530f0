package bench

import (
	"os"
	"strings"
	"testing"
)

func fakeNodes(t *testing.T, phases ...string) (rows []NodesRow, err error) {
	t.Helper()
	err = NodesRun(t.Context(), NodesConfig{
		Dir: t.TempDir(), Token: testToken, Phases: phases, Seconds: 1,
		Self: func(p Place) (argv, environ []string) {
			if p.Name == "" || len(p.Peers) != 1+leastNodes || p.Peers[0] == "" || p.Password == "" || p.Data == "" {
				t.Errorf("got the place %+v, want all of it", p)
			}
			return []string{os.Args[0]}, []string{childEnv + "=node"}
		},
		Report: func(r NodesRow) { rows = append(rows, r) },
	})
	return rows, err
}

func TestNodesReplicate(t *testing.T) {
	t.Parallel()
	rows, err := fakeNodes(t, PhaseReplicate)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Measure != measureReplicate || rows[0].Rate != 3+replicated || rows[1].Measure != measureMost || rows[1].Rate <= 0 || rows[1].Rate > 3 {
		t.Errorf("got %+v, want the changes of three nodes in a second, at the promised rate and at the highest", rows)
	}
}

func TestNodesGone(t *testing.T) {
	t.Parallel()
	m := &member{place: Place{Name: "n1"}, argv: []string{os.Args[0]}, env: []string{childEnv + "=silent"}}
	if err := m.start(t.Context()); err == nil || !strings.Contains(err.Error(), "no port is free") {
		t.Errorf("got %v, want what the node said last", err)
	}
	m.env = []string{childEnv + "=node"}
	if err := m.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.order(t.Context(), Order{Do: DoOpen}); err == nil || !strings.Contains(err.Error(), "node n1: nobody to open") {
		t.Errorf("got %v, want the node's own error", err)
	}
	if err := m.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.order(t.Context(), Order{Do: DoStand}); err == nil || !strings.Contains(err.Error(), "node n1") {
		t.Errorf("got %v of a node that is gone", err)
	}
	m.kill()
	m.stop() // nothing is left to stop
}

func TestRing(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{3, 5} {
		const users, friends = 30, 4
		watched := map[int32]int{}
		for u, list := range ring(users, friends, nodes) {
			if len(list) != friends {
				t.Errorf("user %d watches %d, want %d", u, len(list), friends)
			}
			for _, f := range list {
				watched[f]++
				if u%nodes == int(f)%nodes {
					t.Errorf("%d watches %d, who is at the same of %d nodes", u, f, nodes)
				}
			}
		}
		for u := range int32(users) {
			if watched[u] != friends {
				t.Errorf("user %d is watched by %d, want %d", u, watched[u], friends)
			}
		}
	}
}
