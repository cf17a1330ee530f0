package natsstore_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Child(openForContract)
	ats.Register() // before any bubble: its ticker would stop the fake clock
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// plenty is a disk that never fills, whatever the machine's does.
var plenty = natsstore.Room(1 << 40)

// open opens a store on the engine in dir; cfg's Bus is filled in, and plenty of
// room unless cfg says how much.
func open(t testing.TB, dir string, cfg natsstore.Config) (*natsstore.Store, func()) {
	t.Helper()
	bus, err := natsbus.New(natsbus.Config{Dir: dir, Logger: cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	cfg.Bus = bus
	if cfg.Usage == nil {
		cfg.Usage = plenty
	}
	s, err := natsstore.Open(context.Background(), cfg)
	if err != nil {
		bus.Stop(context.Background())
		t.Fatal(err)
	}
	return s, func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("Stop: got %v, want no error", err)
		}
		if err := bus.Stop(context.Background()); err != nil {
			t.Errorf("Stop of the bus: got %v, want no error", err)
		}
	}
}

func openForContract(t testing.TB, dir string, maxBytes int64) (store.Store, func()) {
	return open(t, dir, natsstore.Config{Temporary: true, MaxBytes: maxBytes})
}

func TestKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openForContract)
}

func TestSurvivesKill(t *testing.T) {
	t.Parallel()
	storetest.Kill(t, openForContract)
}

func TestSurvivesPowerLoss(t *testing.T) {
	t.Parallel()
	storetest.PowerLoss(t, openForContract)
}
