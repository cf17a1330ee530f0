package natsstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestAFormerLeaderIsNotBelieved: the server that leads the log stands still while
// another is voted in and takes more. When it goes on it still takes itself for the
// leader, and answers what waited for it; nobody is told by it where the log ends.
func TestAFormerLeaderIsNotBelieved(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var stores []*natsstore.Store
	for _, url := range servers.URLs() {
		at := natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{url}, Synced: true}, Prefix: "die"}
		s, stop := openOn(t, at, natsstore.Config{MaxBytes: 64 << 20})
		t.Cleanup(stop)
		stores = append(stores, s)
	}
	appended := 0
	add := func(s *natsstore.Store) {
		t.Helper()
		appended++
		natsbustest.Eventually(t, "a record is stored", func() error {
			_, err := s.Append(ctx, fmt.Sprint("record ", appended), storetest.Records(1, 1))
			return err
		})
	}
	add(stores[0])
	for range 2 {
		former := servers.Index(leaderOf(ctx, t, servers, "DIE_LOG"))
		servers.Pause(former, true)
		for range 10 {
			add(stores[(former+1)%3])
		}
		const askers = 20 // that wait as it goes on
		var asking, asked sync.WaitGroup
		asking.Add(askers)
		for range askers {
			asked.Go(func() {
				asking.Done()
				_, next, err := stores[former].Ends(ctx)
				if err != nil || next <= uint64(appended) {
					t.Errorf("the log ends before %d, %v, want behind %d", next, err, appended)
				}
				read := 0
				next, err = stores[former].Replay(ctx, 0, func(uint64, []presence.Record) error { read++; return nil })
				if err != nil || read != appended {
					t.Errorf("%d messages were read, before %d, %v, want %d", read, next, err, appended)
				}
			})
		}
		asking.Wait()
		servers.Pause(former, false)
		asked.Wait()
	}
}
