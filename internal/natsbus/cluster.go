package natsbus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// DefaultReplicas is how many servers keep each message in a cluster: the
	// loss of one of three loses nothing and stops nothing for long.
	DefaultReplicas = 3

	// leastVersion is the oldest NATS server that has what the store rests on
	// (engine.md, external account).
	leastVersion = "2.12.0"

	// leastPayload is the smallest max_payload of a NATS server that is of use: what
	// is stored whole (a long list, a batch of messages) must fit. The default of
	// servers, 1 MB, is too small.
	leastPayload = MaxPayload

	// dialTimeout bounds one try to reach one server.
	dialTimeout = 3 * time.Second

	// A server that stands still says nothing, and its TCP connection stays. Two
	// unanswered pings cut it, after which another server is tried.
	pingEvery = 1500 * time.Millisecond
	mostPings = 2

	// reconnectWait is the pause between two rounds over all servers.
	reconnectWait = 250 * time.Millisecond
)

// Cluster says which existing NATS cluster to use.
type Cluster struct {
	// URLs of its servers, as nats://host:port or tls://host:port; one is enough
	// to find the others, all are better.
	URLs []string
	// Credentials of an account of our own; see natsstore.Rights for what it must
	// be allowed to do.
	Credentials Credentials
	// TLS for the connections; nil uses TLS only where a URL or server asks for it.
	TLS *tls.Config
	// Replicas of everything that is stored; 0 means 3.
	Replicas int
	// Synced is the operator's word that every server has `sync_interval: always`.
	// It cannot be asked for. Without it what is acknowledged may be lost when the
	// power of a majority of servers fails at once.
	Synced bool
}

// Credentials are one way to say who we are; the zero value says nothing.
type Credentials struct {
	File     string // path of a .creds file
	SeedFile string // path of a file with an nkey seed
	User     string
	Password Secret
	Token    Secret
}

// check tells what is wrong with c.
func (c *Cluster) check() error {
	if len(c.URLs) == 0 {
		return errors.New("natsbus: no NATS server is named: give at least one, as nats://host:port")
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err == nil && u.User != nil:
			// Not said with the URL: it holds a secret.
			return errors.New("natsbus: the URL of a NATS server holds a user or password: put them into the credentials instead, where they are not shown")
		case err != nil, u.Host == "", u.Scheme != "nats" && u.Scheme != "tls":
			return fmt.Errorf("natsbus: %q is not the URL of a NATS server: want nats://host:port or tls://host:port", s)
		}
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		return fmt.Errorf("natsbus: %d replicas: NATS keeps 1 to 5; 3 is right unless you know better", c.Replicas)
	}
	given := 0
	for _, s := range []string{c.Credentials.File, c.Credentials.SeedFile, c.Credentials.User, string(c.Credentials.Token)} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return errors.New("natsbus: credentials for NATS are given in more than one way: choose one of file, seed file, user and token")
	}
	return c.checkCertificate()
}

// checkCertificate refuses a certificate that no server takes today. The servers'
// own refusal comes after the handshake, mostly as a connection that breaks.
func (c *Cluster) checkCertificate() error {
	if c.TLS == nil || len(c.TLS.Certificates) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(c.TLS.Certificates[0].Certificate[0])
	if err != nil {
		return fmt.Errorf("natsbus: the certificate for the NATS cluster (cluster.tls.cert, --nats-cert) cannot be read: %w", err)
	}
	now := time.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("natsbus: the NATS cluster would refuse this node's certificate (cluster.tls.cert, --nats-cert): it is valid from %s until %s, and it is %s now",
			leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	return nil
}

// options are those of a connection to the cluster.
func (c *Cluster) options() ([]nats.Option, error) {
	var opts []nats.Option
	switch cr := &c.Credentials; {
	case cr.File != "":
		opts = append(opts, nats.UserCredentials(cr.File))
	case cr.SeedFile != "":
		seed, err := nats.NkeyOptionFromSeed(cr.SeedFile)
		if err != nil {
			return nil, fmt.Errorf("natsbus: the nkey seed in %s cannot be used: %w", cr.SeedFile, err)
		}
		opts = append(opts, seed)
	case cr.User != "":
		opts = append(opts, nats.UserInfo(cr.User, string(cr.Password)))
	case cr.Token != "":
		opts = append(opts, nats.Token(string(cr.Token)))
	}
	if c.TLS != nil {
		opts = append(opts, nats.Secure(c.TLS))
	}
	return opts, nil
}

// dialCluster connects to the cluster and checks that it can do what we need.
func (b *Bus) dialCluster(ctx context.Context) error {
	if err := b.connect(ctx); err != nil {
		return err
	}
	version := b.conn.ConnectedServerVersion()
	if older(version, leastVersion) {
		return fmt.Errorf("natsbus: the NATS server at %s is version %s; Porchlight needs %s or newer on all servers of the cluster",
			b.conn.ConnectedUrlRedacted(), version, leastVersion)
	}
	if most := b.conn.MaxPayload(); most < leastPayload {
		return fmt.Errorf("natsbus: the NATS server at %s takes messages of %d bytes at most: set max_payload: %dMB in the configuration of all servers",
			b.conn.ConnectedUrlRedacted(), most, leastPayload>>20)
	}
	return b.awaitStore(ctx)
}

// awaitStore waits until JetStream answers: it does when its servers have a
// leader. What no waiting helps against is an error at once.
func (b *Bus) awaitStore(ctx context.Context) error {
	for first := true; ; first = false {
		err := b.askStore(ctx)
		switch {
		case err == nil: // by those, maybe, who know the other one of this name
			b.said.mu.Lock()
			defer b.said.mu.Unlock()
			return b.namedTwice()
		case b.cfg.Visitor: // it has no store, until it meets those who have
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return fmt.Errorf("natsbus: %s has no JetStream for this account: enable it in the servers' configuration (jetstream {…}) and for the account: %w", b.where(), err)
		case b.Denied() != "":
			return fmt.Errorf("natsbus: the account lacks a right: %s; see docs/cluster.md for the rights that it needs", b.Denied())
		}
		if err := b.refused(); err != nil {
			return err
		}
		if first {
			b.log.Info("waiting for a majority of the cluster's servers, at their very first start for all", "servers", b.where())
		}
		timer := time.NewTimer(reconnectWait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			why := b.lastTrouble()
			if why == "" {
				why = err.Error()
			}
			return fmt.Errorf("natsbus: no majority of the cluster's servers (%s) came together in time: %s", b.where(), why)
		}
	}
}

// askStore asks JetStream once whether it is there.
func (b *Bus) askStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := b.js.AccountInfo(ctx)
	return err
}

// where names the servers, for error texts.
func (b *Bus) where() string {
	switch {
	case b.cfg.Cluster != nil:
		return strings.Join(b.cfg.Cluster.URLs, ", ")
	case b.cfg.Peers != nil:
		return strings.Join(b.cfg.Peers.all(), ", ")
	}
	return b.Dir()
}

// older reports whether version a is before b, both as 1.2.3 with or without
// something behind.
func older(a, b string) bool {
	for range 3 {
		var x, y int
		x, a = versionPart(a)
		y, b = versionPart(b)
		if x != y {
			return x < y
		}
	}
	return false
}

// versionPart cuts the first number off.
func versionPart(s string) (n int, rest string) {
	part, rest, _ := strings.Cut(s, ".")
	part, _, _ = strings.Cut(part, "-")
	n, _ = strconv.Atoi(part)
	return n, rest
}
