package natsstore

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// lateLeader is an engine whose streams nobody leads for a time.
type lateLeader struct {
	jetstream.JetStream
	from    time.Time
	leading time.Duration
	refuses error
}

// CreateOrUpdateStream implements jetstream.JetStream.
func (l lateLeader) CreateOrUpdateStream(ctx context.Context, _ jetstream.StreamConfig) (jetstream.Stream, error) {
	if time.Since(l.from) >= l.leading {
		return nil, l.refuses
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestStartAwaitsLeader: a node of several that keep the data waits in its start
// until a majority of them answers, however long that takes; with a NATS cluster,
// whose servers are somebody else's to start, it says that none does.
func TestStartAwaitsLeader(t *testing.T) {
	t.Parallel()
	three := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	peers := natsbus.Config{Dir: "x", Peers: &natsbus.Peers{Name: "a", Listen: three[0], Peers: three, Password: "among us"}}
	full := &jetstream.APIError{ErrorCode: codeStorageFull}
	for name, c := range map[string]struct {
		bus    natsbus.Config
		late   time.Duration
		then   error
		limit  time.Duration
		want   error
		within time.Duration
		says   bool
	}{
		"at once":                       {peers, 0, nil, time.Hour, nil, 0, false},
		"after a minute":                {peers, time.Minute, nil, time.Hour, nil, time.Minute + tryTimeout, true},
		"never, and the start is over":  {peers, time.Hour, nil, 30 * time.Second, context.DeadlineExceeded, 30 * time.Second, true},
		"a leader who refuses":          {peers, time.Minute, full, time.Hour, full, time.Minute + tryTimeout, true},
		"a NATS cluster without leader": {natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{"nats://127.0.0.1:1"}}}, time.Minute, nil, time.Hour, context.DeadlineExceeded, electionPatience, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bus, err := natsbus.New(c.bus)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				var log bytes.Buffer
				from := time.Now()
				s := &Store{
					cfg: Config{Bus: bus, Logger: slog.New(slog.NewTextHandler(&log, nil))},
					js:  lateLeader{from: from, leading: c.late, refuses: c.then}, several: several{clustered: true, prefix: "pl"},
				}
				_, err = s.create(ctx, jetstream.StreamConfig{Name: s.streamName(logStream), Replicas: 3})
				if took := time.Since(from); !errors.Is(err, c.want) || took > c.within {
					t.Errorf("got %v after %v, want %v within %v", err, took, c.want, c.within)
				}
				if said := strings.Count(log.String(), "waiting for a majority"); said > 1 || (said == 1) != c.says {
					t.Errorf("the log says %q, want one line about it: %v", log.String(), c.says)
				}
			})
		})
	}
}
