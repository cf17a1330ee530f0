package natsbus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// peers are the configurations of three nodes.
func peers(t *testing.T) (all []natsbus.Config) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	addresses := natsbustest.Addresses(t, 3)
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

// create makes a stream with three copies. Nodes that have just started may not know yet
// that there are three.
func create(ctx context.Context, t *testing.T, b *natsbus.Bus, name, subject string) {
	t.Helper()
	natsbustest.Eventually(t, "a stream is made", func() error {
		_, err := b.JetStream().CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Replicas: 3})
		return err
	})
}

// store stores a message once, at a node that may not have heard of the stream yet.
func store(ctx context.Context, t *testing.T, b *natsbus.Bus, subject, text string) {
	t.Helper()
	natsbustest.Eventually(t, "a message is stored", func() error {
		_, err := b.JetStream().Publish(ctx, subject, []byte(text), jetstream.WithMsgID(text))
		return err
	})
}

func TestPeersFormCluster(t *testing.T) {
	t.Parallel()
	cfgs := peers(t)
	all := startAll(t, cfgs)
	carries(t, all[0], all[2])
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	create(ctx, t, all[0], "S", "s")
	store(ctx, t, all[1], "s", "kept")
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
	// A second one with the name of another is not let in, nor one with another
	// password, nor a member under another name; each is told why, at once.
	twice := cfgs[0]
	twice.Dir = t.TempDir()
	other := *twice.Peers
	other.Listen = natsbustest.Addresses(t, 1)[0]
	twice.Peers = &other
	refuses(t, twice, `another node with the name "node-1" is running`)
	if err := back.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	wrong, renamed := *cfgs[2].Peers, *cfgs[2].Peers
	wrong.Password, renamed.Name = "not theirs", "node-7"
	refuses(t, natsbus.Config{Dir: t.TempDir(), Peers: &wrong}, "does not take this node's password")
	refuses(t, natsbus.Config{Dir: cfgs[2].Dir, Peers: &renamed}, `belongs to node "node-3"`)
	startAll(t, cfgs[2:])
}

// refuses checks that a node ends by itself, soon, saying why, and no secret.
func refuses(t *testing.T, cfg natsbus.Config, says string) {
	t.Helper()
	b, err := natsbus.New(cfg)
	if err == nil {
		defer b.Stop(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
		defer cancel()
		err = b.Start(ctx)
		if ctx.Err() != nil {
			t.Errorf("%q: it waited until it was stopped", says)
		}
	}
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), string(cfg.Peers.Password)) && cfg.Peers.Password != "" {
		t.Errorf("got %v, want an error that says %q", err, says)
	}
}

// TestPeersStopTogether: of nodes that stop at the same time those that are done
// keep a majority for the one that still has to store something.
func TestPeersStopTogether(t *testing.T) {
	t.Parallel()
	all := startAll(t, peers(t))
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	create(ctx, t, all[0], "S", "s")
	var stopping sync.WaitGroup
	stop := func(b *natsbus.Bus) {
		if err := b.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	for _, b := range all {
		b.Stopping()
	}
	natsbustest.Eventually(t, "all know that others stop", func() error {
		for _, b := range all {
			if !b.OthersStop() {
				return errors.New("one does not")
			}
		}
		return nil
	})
	last := all[2]
	for _, b := range all[:2] {
		stopping.Go(func() { stop(b) })
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		if _, err := last.JetStream().Publish(one, "s", []byte("still")); err != nil {
			t.Fatalf("the others are gone: %v", err)
		}
		cancel()
	}
	began := time.Now()
	stop(last)
	stopping.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("all had stopped %v after the last was done, want soon", took)
	}
}

// TestPeersOverTLS: with certificates in place of a password, whoever has none
// that counts is refused, by itself where it can know that alone.
func TestPeersOverTLS(t *testing.T) {
	t.Parallel()
	cfgs := peers(t)
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	ours := between(t, cert, key, cert)
	for i := range cfgs {
		cfgs[i].Peers.Password, cfgs[i].Peers.TLS = "", ours
	}
	all := startAll(t, cfgs)
	carries(t, all[0], all[2])
	if err := all[2].Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	foreign, foreignKey := listentest.Certificate(t, 2, time.Now().Add(time.Hour))
	expired, expiredKey := listentest.Certificate(t, 3, time.Now().Add(-time.Hour))
	for name, c := range map[string]struct {
		tls  *tls.Config
		says string
	}{
		"another authority": {between(t, foreign, foreignKey, foreign), "cannot speak TLS with this node"},
		"not signed by it":  {between(t, foreign, foreignKey, cert), "would refuse this one's certificate"},
		"expired":           {between(t, expired, expiredKey, expired), "expired"},
		"no certificate":    {&tls.Config{RootCAs: ours.RootCAs}, "needs a certificate of this node"},
	} {
		t.Run(name, func(t *testing.T) {
			p := *cfgs[2].Peers
			p.TLS = c.tls
			refuses(t, natsbus.Config{Dir: t.TempDir(), Peers: &p}, c.says)
		})
	}
	elsewhere := *cfgs[2].Peers
	elsewhere.Listen = "127.0.0.2:7402"
	refuses(t, natsbus.Config{Dir: t.TempDir(), Peers: &elsewhere}, "for 127.0.0.2")
}

// between is TLS of a peer with a certificate, which believes an authority.
func between(t *testing.T, cert, key, ca []byte) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no authority")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}
}
