package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

func TestClusterMembers(t *testing.T) {
	t.Parallel()
	dev := start(t, "dev", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
	at := "http://" + strings.Fields(dev.line("http  "))[1]
	out, errs, err := once(t, "cluster", "members", "--http", at)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "NODE ") || !slices.Equal(strings.Fields(lines[1])[:2], []string{"alone", "(asked)"}) || !strings.Contains(lines[1], "alive") {
		t.Errorf("got %q, %v (%s)", out, err, errs)
	}
	var c client.Cluster
	out, errs, err = once(t, "cluster", "members", "--json", "--http", at)
	if err != nil || json.Unmarshal([]byte(out), &c) != nil || len(c.Members) != 1 || !c.Members[0].Self || c.Members[0].Sessions == nil {
		t.Errorf("got %q, %v (%s)", out, err, errs)
	}
}

func TestPrintMembers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 10, 20, 30, 0, time.Local)
	differing := 3
	c := client.Cluster{Self: "n1", Quorum: true, Joined: true, Members: []client.NodeStatus{
		{Name: "n1", Self: true, Standing: "alive", Version: "0.7.0", Sessions: &client.NodeSessions{Live: 12, Lost: 1}, Position: 40, Differing: new(int)},
		{Name: "n2", Standing: "alive", Heard: now.Add(-300 * time.Millisecond), Sessions: &client.NodeSessions{Live: 7, Created: 2}, Position: 35, Lag: 2, Differing: &differing,
			OtherConfiguration: true, Unready: "the disk is full", NotHeard: []string{"n3", "n4"}, Repairs: &client.Repairs{Shards: 4, Last: now.Add(-time.Hour), Reason: "gap"}},
		{Name: "n3", Standing: "lost", Heard: now.Add(-4 * time.Second)},
	}}
	var b strings.Builder
	if err := printMembers(&b, &c, now); err != nil {
		t.Fatal(err)
	}
	want := `NODE        VERSION  STANDING  HEARD      LIVE  LOST  CREATED  POSITION  LAG  DIFFERING  COPIED AGAIN
n1 (asked)  0.7.0    alive     -          12    1     0        40        0    0 of 1024  nothing
n2          -        alive     300ms ago  7     0     2        35        2    3 of 1024  4 shards, last May 4 09:20:30 (gap)
n3          -        lost      4s ago     -     -     -        0         0    -          nothing
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if got := troubles(&c); !slices.Equal(got, []string{"n2 takes no sessions: the disk is full", "n2 does not hear n3, n4", "n2 has another configuration; reload both", "n3 is lost"}) {
		t.Errorf("got %q", got)
	}
	c.Joined = false
	if got := troubles(&c); len(got) != 5 || !strings.HasPrefix(got[0], "n1 is cut off") {
		t.Errorf("got %q", got)
	}
}
