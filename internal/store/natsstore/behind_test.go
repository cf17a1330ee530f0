package natsstore

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestBehind: a copy at a server that is gone is told of, also by a leader that was
// elected since and has never heard it; one that is a moment behind is not.
func TestBehind(t *testing.T) {
	t.Parallel()
	now := time.Now()
	elected := func(before time.Duration) *time.Time { at := now.Add(-before); return &at }
	for name, c := range map[string]struct {
		replica jetstream.PeerInfo
		leads   *time.Time
		want    string
	}{
		"current":                       {jetstream.PeerInfo{Current: true, Active: time.Second}, elected(time.Hour), ""},
		"a moment behind":               {jetstream.PeerInfo{Active: time.Second, Lag: 7}, elected(time.Hour), ""},
		"far behind":                    {jetstream.PeerInfo{Active: time.Second, Lag: 700}, elected(time.Hour), "n2: 700 behind"},
		"silent":                        {jetstream.PeerInfo{Active: 9 * time.Second, Lag: 700}, elected(time.Hour), "n2: not heard for 9s"},
		"offline":                       {jetstream.PeerInfo{Offline: true, Lag: 700}, elected(time.Hour), "n2: offline"},
		"silent since an election":      {jetstream.PeerInfo{Lag: 7}, elected(20 * time.Second), "n2: not heard since n1 leads, for 20s"},
		"the same, of an empty stream":  {jetstream.PeerInfo{Current: true}, elected(20 * time.Second), "n2: not heard since n1 leads, for 20s"},
		"not heard yet":                 {jetstream.PeerInfo{Lag: 7}, elected(time.Second), ""},
		"a server that does not say so": {jetstream.PeerInfo{Lag: 700}, nil, "n2: 700 behind"},
	} {
		c.replica.Name = "n2"
		if got := behind(&c.replica, &jetstream.ClusterInfo{Leader: "n1", LeaderSince: c.leads}, now); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
