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

// TestFirstStartAwaitsThree: two of three nodes are a majority, and yet the first
// start waits for the third in place of an error: it keeps the data too.
func TestFirstStartAwaitsThree(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	var addresses []string
	for _, port := range natsbustest.Ports(t, 3) {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
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
	one := <-started
	<-started
	opened := make(chan error, 1)
	go func() {
		s, err := natsstore.Open(ctx, natsstore.Config{Bus: one, MaxBytes: 1 << 20})
		if err == nil {
			err = s.Stop(ctx)
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("with two of three: got %v, want it to wait", err)
	case <-time.After(2 * time.Second):
	}
	begin(2)
	select {
	case err := <-opened:
		if err != nil {
			t.Errorf("with the third: %v", err)
		}
	case <-ctx.Done():
		t.Error("with the third: it still waits")
	}
	<-started
}
