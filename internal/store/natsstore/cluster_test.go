package natsstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// prefixOf makes of a test's directory the prefix that stands for it in a cluster.
func prefixOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "p" + hex.EncodeToString(sum[:6])
}

// openOn opens a store over a bus of its own.
func openOn(t testing.TB, bc natsbus.Config, cfg natsstore.Config) (*natsstore.Store, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsbustest.Up)
	defer cancel()
	bus, err := natsbus.New(bc)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cfg.Bus = bus
	if cfg.Usage == nil && bus.Dir() != "" {
		cfg.Usage = plenty
	}
	s := opened(ctx, t, cfg)
	return s, func() {
		s.Stop(context.Background())
		bus.Stop(context.Background())
	}
}

// opened opens a store. Servers of which a busy machine has not elected who leads may
// refuse that at first.
func opened(ctx context.Context, t testing.TB, cfg natsstore.Config) (s *natsstore.Store) {
	t.Helper()
	natsbustest.Eventually(t, "a store opens", func() (err error) {
		s, err = natsstore.Open(ctx, cfg)
		return err
	})
	return s
}

// onServers is how to reach them.
func onServers(servers *natsbustest.Servers, prefix string) natsbus.Config {
	return natsbus.Config{Cluster: &natsbus.Cluster{URLs: servers.URLs(), Synced: true}, Prefix: prefix}
}

// forget takes the streams of a prefix away, so that servers do not keep those of
// all tests.
func forget(t testing.TB, servers *natsbustest.Servers, prefix string) {
	bus, err := natsbus.New(onServers(servers, prefix))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	if err := bus.Start(ctx); err != nil {
		t.Fatal(err)
	}
	names := bus.JetStream().StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, strings.ToUpper(prefix)+"_") {
			_ = bus.JetStream().DeleteStream(ctx, name)
		}
	}
}

func TestKeepsTheContractInCluster(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	storetest.RunReal(t, func(t testing.TB, dir string, _ int64) (store.Store, func()) {
		prefix := prefixOf(dir)
		s, stop := openOn(t, onServers(servers, prefix), natsstore.Config{MaxBytes: 64 << 20})
		t.Cleanup(func() { forget(t, servers, prefix) })
		return s, stop
	}, "log/appends at once", "checkpoint/notes", "counter/calls at once", "roster/scan beside saves", "roster/by revision",
		"names/by revision", "roster/watch", "bases/big", "cursors/terms", "letters", "liveness")
	t.Run("several", func(t *testing.T) {
		storetest.Several(t, func(t testing.TB) store.Store {
			s, stop := openOn(t, onServers(servers, "sev"), natsstore.Config{MaxBytes: 64 << 20})
			t.Cleanup(stop)
			return s
		})
	})
}
