package natsbus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// peers are the configurations of three nodes.
func peers(t *testing.T) (all []natsbus.Config) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	var addresses []string
	for _, port := range natsbustest.Ports(t, 3) {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i, a := range addresses {
		all = append(all, natsbus.Config{Dir: t.TempDir(), Peers: &natsbus.Peers{
			Name: fmt.Sprintf("node-%d", i+1), Listen: a, Peers: addresses, Password: "between us",
		}})
	}
	return all
}

// startAll starts nodes at once: none comes up before a majority is there.
func startAll(t *testing.T, cfgs []natsbus.Config) (all []*natsbus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	var wg sync.WaitGroup
	for _, cfg := range cfgs {
		b, err := natsbus.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Stop(context.Background()) })
		all = append(all, b)
		wg.Go(func() {
			if err := b.Start(ctx); err != nil {
				t.Errorf("Start of %s: %v", cfg.Peers.Name, err)
			}
		})
	}
	if wg.Wait(); t.Failed() {
		t.FailNow()
	}
	return all
}

func TestPeersFormCluster(t *testing.T) {
	t.Parallel()
	cfgs := peers(t)
	all := startAll(t, cfgs)
	carries(t, all[0], all[2])
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	if _, err := all[0].JetStream().CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := all[1].JetStream().Publish(ctx, "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	// One goes and comes again, on its directory: the others go on.
	if err := all[2].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	natsbustest.Eventually(t, "two of three take a message", func() error {
		_, err := all[1].JetStream().Publish(ctx, "s", []byte("two"))
		return err
	})
	back := startAll(t, cfgs[2:])[0]
	s, err := back.JetStream().Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetMsg(ctx, 1); err != nil || string(m.Data) != "kept" {
		t.Errorf("after all: got %v, %v, want the message", m, err)
	}
	// A stranger with another password is not let in, and is told why.
	wrong := cfgs[2]
	if err := back.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	refusesPassword(t, wrong)
}

func refusesPassword(t *testing.T, cfg natsbus.Config) {
	t.Helper()
	other := *cfg.Peers
	other.Password, cfg.Peers = "not theirs", &other
	cfg.Dir = t.TempDir()
	b, err := natsbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err = b.Start(ctx)
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "auth") || strings.Contains(err.Error(), "not theirs") {
		t.Errorf("Start with another password: got %v, want an error that says so", err)
	}
}
