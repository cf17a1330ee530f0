package natsstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// betweenPeers is TLS with one certificate for all, which each checks.
func betweenPeers(t *testing.T) *tls.Config {
	t.Helper()
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

// TestPeersKeepTheContract: embedded servers that form a cluster, over TLS, keep
// what several nodes share, also while one of them is gone.
func TestPeersKeepTheContract(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	addresses := natsbustest.Addresses(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsbustest.Up)
	defer cancel()
	secured := betweenPeers(t)
	var buses []*natsbus.Bus
	var starting sync.WaitGroup
	for i, a := range addresses {
		bus, err := natsbus.New(natsbus.Config{Dir: t.TempDir(), Peers: &natsbus.Peers{
			Name: fmt.Sprintf("node-%d", i+1), Listen: a, Peers: addresses, TLS: secured,
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { bus.Stop(context.Background()) })
		buses = append(buses, bus)
		starting.Go(func() {
			if err := bus.Start(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if starting.Wait(); t.Failed() {
		t.FailNow()
	}
	var stores []store.Store
	storetest.Several(t, func(t testing.TB) store.Store {
		s := opened(ctx, t, natsstore.Config{Bus: buses[len(stores)], MaxBytes: 64 << 20, Usage: natsstore.Room(100 << 30)})
		t.Cleanup(func() { s.Stop(context.Background()) })
		stores = append(stores, s)
		return s
	})
	began := time.Now()
	if err := buses[2].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for i, s := range stores {
		natsbustest.Eventually(t, "two of three take records", func() error {
			_, err := s.Append(ctx, fmt.Sprint("without the third, ", i), storetest.Records(i, 2))
			return err
		})
	}
	t.Logf("after one node stopped, both others had stored a record within %v", time.Since(began).Round(time.Millisecond))
}
