package natsstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// TestFirstStartAwaitsAll: the first start of a cluster needs all its nodes, waits
// for them, and goes on as soon as they are there.
func TestFirstStartAwaitsAll(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	addresses := natsbustest.Addresses(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsbustest.Up)
	defer cancel()
	started := make(chan *natsbus.Bus, 3)
	begin := func(i int) {
		b, err := natsbus.New(natsbus.Config{Dir: t.TempDir(), Peers: &natsbus.Peers{
			Name: fmt.Sprintf("n%d", i+1), Listen: addresses[i], Peers: addresses, Password: "among us",
		}})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { b.Stop(context.Background()) })
		go func() {
			if err := b.Start(ctx); err != nil {
				t.Errorf("Start: %v", err)
			}
			started <- b
		}()
	}
	begin(0)
	begin(1)
	select {
	case <-started:
		t.Fatal("with two of three: it starts, or gives up; want it to wait")
	case <-time.After(2 * time.Second):
	}
	begin(2)
	for range 3 { // each as soon as it is there: not all may be known to all
		s, err := natsstore.Open(ctx, natsstore.Config{Bus: <-started, MaxBytes: 1 << 20, Usage: plenty})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
}
