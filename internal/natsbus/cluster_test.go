package natsbus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

func TestRefusesClusters(t *testing.T) {
	t.Parallel()
	urls := []string{"nats://127.0.0.1:1"}
	three := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	for name, c := range map[string]struct {
		cfg  natsbus.Config
		says string
	}{
		"no server":         {natsbus.Config{Cluster: &natsbus.Cluster{}}, "no NATS server is named"},
		"no URL":            {natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{"127.0.0.1"}}}, "not the URL of a NATS server"},
		"password in URL":   {natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{"nats://u:hunter2@127.0.0.1:1"}}}, "put them into the credentials"},
		"two credentials":   {natsbus.Config{Cluster: &natsbus.Cluster{URLs: urls, Credentials: natsbus.Credentials{User: "u", Token: "t"}}}, "more than one way"},
		"replicas":          {natsbus.Config{Cluster: &natsbus.Cluster{URLs: urls, Replicas: 9}}, "9 replicas"},
		"prefix":            {natsbus.Config{Cluster: &natsbus.Cluster{URLs: urls}, Prefix: "a.b"}, "cannot be a prefix"},
		"both":              {natsbus.Config{Cluster: &natsbus.Cluster{URLs: urls}, Peers: &natsbus.Peers{}}, "choose one"},
		"peer without name": {natsbus.Config{Dir: "x", Peers: &natsbus.Peers{Listen: three[0], Peers: three, Password: "p"}}, "name of a node"},
		"two peers":         {natsbus.Config{Dir: "x", Peers: &natsbus.Peers{Name: "a", Listen: three[0], Peers: three[:2], Password: "p"}}, "needs 3 nodes or more and 2 are named"},
		"bad peer":          {natsbus.Config{Dir: "x", Peers: &natsbus.Peers{Name: "a", Listen: three[0], Peers: []string{"b"}, Password: "p"}}, `"b" is not the address of a peer`},
		"open peers":        {natsbus.Config{Dir: "x", Peers: &natsbus.Peers{Name: "a", Listen: three[0], Peers: three}}, "need a password"},
	} {
		_, err := natsbus.New(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	cfg := natsbus.Config{
		Cluster: &natsbus.Cluster{Credentials: natsbus.Credentials{Password: "hunter2", Token: "hunter2"}},
		Peers:   &natsbus.Peers{Password: "hunter2"},
	}
	for _, s := range []string{fmt.Sprintf("%+v %v %+v", *cfg.Cluster, *cfg.Peers, cfg.Peers.Password), fmt.Sprintf("%#v %s", *cfg.Peers, cfg.Peers.Password)} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("formatted: got %s, want no secret", s)
		}
	}
}

func TestRefusesUnreachedCluster(t *testing.T) {
	t.Parallel()
	addr := natsbustest.Addresses(t, 1)[0]
	b, err := natsbus.New(natsbus.Config{Cluster: &natsbus.Cluster{URLs: []string{"nats://" + addr}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "is it running") {
		t.Errorf("Start: got %v, want an error that says that nobody is there", err)
	}
	if err := b.Health(); err == nil {
		t.Error("Health: got nil, want an error")
	}
	b.Stop(context.Background())
}

// TestRefusesSingleNodesData is engine.md's first trap: neither way of running
// several nodes opens, or silently ignores, the directory of one.
func TestRefusesSingleNodesData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, natsbus.Config{Dir: dir})
	b.Stop(context.Background())
	for name, cfg := range map[string]natsbus.Config{
		"cluster": {Dir: dir, Cluster: &natsbus.Cluster{URLs: []string{"nats://127.0.0.1:1"}}},
		"peers":   {Dir: dir, Peers: &natsbus.Peers{Name: "a", Listen: "127.0.0.1:1", Peers: []string{"127.0.0.1:2", "127.0.0.1:3"}, Password: "p"}},
	} {
		b, err := natsbus.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "export") {
			t.Errorf("%s: got %v, want an error that says what to do", name, err)
		}
		b.Stop(context.Background())
	}
	if _, err := os.Stat(filepath.Join(dir, "standalone", "jetstream")); err != nil {
		t.Errorf("the data: got %v, want them left alone", err)
	}
}

// TestUsesCluster runs on three real servers: what is there, what is missing, and
// plain messages beside a server that stands still.
func TestUsesCluster(t *testing.T) {
	t.Parallel()
	files := listentest.New(t, 1)
	pem, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	servers := natsbustest.Start(t, natsbustest.Settings{TLS: fmt.Sprintf("tls { cert_file: %q, key_file: %q }", files.Cert, files.Key), Accounts: `
accounts {
  A { jetstream: enabled, users: [ {user: a, password: secret-a} ] }
  B { users: [ {user: b, password: secret-b} ] }
  C { jetstream: enabled, users: [ {user: c, password: secret-c, permissions: {publish: ["pl.>"], subscribe: ["pl.>"]}} ] }
}`})
	config := func(user, password string) natsbus.Config {
		return natsbus.Config{Cluster: &natsbus.Cluster{
			URLs: servers.URLs(), Credentials: natsbus.Credentials{User: user, Password: natsbus.Secret(password)}, TLS: &tls.Config{RootCAs: roots},
		}}
	}
	untrusted := config("a", "secret-a")
	untrusted.Cluster.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	if b, err := natsbus.New(untrusted); err != nil {
		t.Fatal(err)
	} else if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody we trust: got %v, want an error that says so", err)
	}
	for name, c := range map[string]struct{ user, password, says string }{
		"wrong password": {"a", "wrong", "does not take the credentials"},
		"no JetStream":   {"b", "secret-b", "has no JetStream for this account"},
		"no rights":      {"c", "secret-c", "lacks a right"},
	} {
		b, err := natsbus.New(config(c.user, c.password))
		if err != nil {
			t.Fatal(err)
		}
		err = b.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.password) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
		b.Stop(context.Background())
	}
	one, two := start(t, config("a", "secret-a")), start(t, config("a", "secret-a"))
	carries(t, one, two)
	if one.Synced() || !one.Clustered() || one.Replicas() != 3 || one.Health() != nil {
		t.Errorf("the bus: got synced %v, clustered %v, %d replicas, health %v", one.Synced(), one.Clustered(), one.Replicas(), one.Health())
	}
}

// carries checks the plain messages between two buses.
func carries(t *testing.T, one, two *natsbus.Bus) {
	t.Helper()
	got := make(chan string, 1000)
	stop, err := two.Messages().Subscribe("ch.*", func(subject string, b []byte, reply func([]byte)) {
		got <- subject + " " + string(b)
		reply([]byte("answer to " + string(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
	defer cancel()
	// The other server may not know yet that somebody listens.
	natsbustest.Eventually(t, "a request is answered", func() error {
		b, err := one.Messages().Request(ctx, "ch.7", []byte("q"))
		if err == nil && string(b) != "answer to q" {
			t.Fatalf("Request: got %q", b)
		}
		return err
	})
	<-got
	for i := range 500 {
		if err := one.Messages().Publish("ch.8", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		select {
		case s := <-got:
			if s != fmt.Sprint("ch.8 ", i) {
				t.Fatalf("message %d: got %q", i, s)
			}
		case <-ctx.Done():
			t.Fatalf("message %d did not come", i)
		}
	}
	stop()
	natsbustest.Eventually(t, "nobody listens any more", func() error {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := one.Messages().Request(soon, "ch.7", []byte("q"))
		if errors.Is(err, natsbus.ErrNobody) {
			return nil
		}
		return fmt.Errorf("got %w, want ErrNobody", err)
	})
}
