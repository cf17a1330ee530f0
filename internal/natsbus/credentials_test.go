package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// refusals counts the lines that say that a server does not take the credentials.
type refusals struct{ atomic.Int64 }

func (r *refusals) Write(line []byte) (int, error) {
	if strings.Contains(strings.ToLower(string(line)), "authorization violation") {
		r.Add(1)
	}
	return len(line), nil
}

// TestComesBackAfterCredentials: while servers do not take a node's credentials, as
// they are being changed there, it goes on trying.
func TestComesBackAfterCredentials(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), -1
	run := func(password string) (stop func()) {
		t.Helper()
		srv, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: port, Username: "porchlight", Password: password,
			JetStream: true, StoreDir: dir, MaxPayload: natsbus.MaxPayload, NoSigs: true, NoLog: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(natsbustest.Up) {
			t.Fatal("the server does not start")
		}
		port = srv.Addr().(*net.TCPAddr).Port
		return func() {
			srv.Shutdown()
			srv.WaitForShutdown()
		}
	}
	stop := run("former")
	var refused refusals
	b, err := natsbus.New(natsbus.Config{
		Cluster: &natsbus.Cluster{URLs: []string{fmt.Sprint("nats://127.0.0.1:", port)}, Credentials: natsbus.Credentials{User: "porchlight", Password: "former"}},
		Logger:  slog.New(slog.NewTextHandler(&refused, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	stop()
	stop = run("later")
	natsbustest.Eventually(t, "two refusals", func() error {
		if n := refused.Load(); n < 2 {
			return fmt.Errorf("%d of them", n)
		}
		return nil
	})
	stop()
	defer run("former")()
	natsbustest.Eventually(t, "the bus is back", func() error {
		if !b.Messages().Connected() {
			return errors.New("messages are not connected")
		}
		return b.Health()
	})
}
