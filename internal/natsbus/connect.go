package natsbus

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// connect makes the connection that JetStream is spoken over; mu is held.
func (b *Bus) connect(ctx context.Context) (err error) {
	b.conn, err = b.dial(ctx, "porchlight store", func(_ *nats.Conn, _ *nats.Subscription, err error) {
		b.log.Warn("engine connection", "error", err)
		b.trouble(err)
	})
	if err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.conn); err != nil {
		return fmt.Errorf("natsbus: %w", err)
	}
	return nil
}

// connectMessages makes the connection of plain messages; mu is held.
func (b *Bus) connectMessages(ctx context.Context) (err error) {
	m := &Messages{bus: b}
	if m.conn, err = b.dial(ctx, "porchlight messages", m.slow); err != nil {
		return err
	}
	b.msgs = m
	return nil
}

// dial connects to our own server, or to one of the cluster's.
func (b *Bus) dial(ctx context.Context, name string, failed nats.ErrHandler) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("natsbus: start: %w", err)
	}
	opts := []nats.Option{nats.Name(name), nats.MaxReconnects(-1), nats.ErrorHandler(failed)}
	if b.Clustered() {
		opts = append(opts,
			nats.CustomInboxPrefix(b.subject("inbox")), // so that the rights to the prefix are enough
			nats.ReconnectBufSize(-1),                  // what cannot be sent now must not be sent later
			nats.ReconnectWait(reconnectWait), nats.Timeout(dialTimeout),
			nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(mostPings),
			nats.IgnoreAuthErrorAbort(), // the second refusal would end it for good: they may be being changed there
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					b.log.Warn("connection to the cluster lost; another server is tried", "connection", name, "error", err)
				}
			}),
			nats.ReconnectHandler(func(c *nats.Conn) {
				b.log.Info("connected to the cluster again", "connection", name, "server", c.ConnectedUrlRedacted())
			}))
	}
	if b.cfg.Cluster == nil {
		if b.user != "" {
			opts = append(opts, nats.UserInfo(b.user, b.password))
		}
		conn, err := nats.Connect("", append(opts, nats.InProcessServer(b.srv))...)
		if err != nil {
			return nil, fmt.Errorf("natsbus: cannot connect to the embedded server: %w", err)
		}
		return conn, nil
	}
	own, err := b.cfg.Cluster.options()
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(strings.Join(b.cfg.Cluster.URLs, ","), append(opts, own...)...)
	if err != nil {
		return nil, b.unconnected(err)
	}
	return conn, nil
}

// unconnected says why a NATS cluster is not connected to, and what to do.
func (b *Bus) unconnected(err error) error {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Errorf("natsbus: the NATS cluster (%s) does not take the credentials: %w", b.where(), err)
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("natsbus: no server of the NATS cluster (%s) is reached: is it running, and are the addresses right? %w", b.where(), err)
	case strings.Contains(err.Error(), "maximum control line exceeded"):
		return fmt.Errorf("natsbus: the credentials are longer than the NATS cluster (%s) takes: put the rights into a scoped signing key of the account in place of the user's JWT, "+
			"or raise max_control_line of all servers: %w", b.where(), err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("natsbus: a certificate of the NATS cluster (%s) is not valid now: renew it at the servers, or mend the clock here: %w", b.where(), err)
	case strings.Contains(err.Error(), "x509: "):
		return fmt.Errorf("natsbus: the certificates of the NATS cluster (%s) are not believed: give those of who signed them (cluster.tls.ca, --nats-ca): %w", b.where(), err)
	case strings.Contains(err.Error(), "remote error: tls: "), strings.Contains(err.Error(), "after TLS handshake"):
		return fmt.Errorf("natsbus: the NATS cluster (%s) speaks TLS and refused this node: where its servers ask for a certificate, give one that they believe (cluster.tls.cert, --nats-cert); their logs say why: %w", b.where(), err)
	}
	return fmt.Errorf("natsbus: cannot connect to the NATS cluster (%s): %w", b.where(), err)
}

// Denied is the last right that the NATS cluster denied us, in its words, or "".
func (b *Bus) Denied() string {
	b.said.mu.Lock()
	defer b.said.mu.Unlock()
	return b.said.denied
}

// Messages are the plain messages between nodes; nil for one node alone and
// before Start.
func (b *Bus) Messages() *Messages {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.msgs
}

// Clustered reports whether other nodes may use the same store.
func (b *Bus) Clustered() bool { return b.cfg.Cluster != nil || b.cfg.Peers != nil }

// Replicas is how many servers keep each message.
func (b *Bus) Replicas() int {
	switch {
	case !b.Clustered():
		return 1
	case b.cfg.Cluster != nil && b.cfg.Cluster.Replicas > 0:
		return b.cfg.Cluster.Replicas
	}
	return DefaultReplicas
}

// Synced reports whether what is acknowledged is on disk, as far as anybody can
// know: of a NATS cluster it is the operator's word.
func (b *Bus) Synced() bool { return b.cfg.Cluster == nil || b.cfg.Cluster.Synced }

// Prefix begins all subjects.
func (b *Bus) Prefix() string {
	if b.cfg.Prefix == "" {
		return defaultPrefix
	}
	return b.cfg.Prefix
}

// MaxMessage is the most bytes of one message, headers included.
func (b *Bus) MaxMessage() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return MaxPayload
	}
	return int(min(b.conn.MaxPayload(), MaxPayload))
}

func (b *Bus) subject(s string) string { return b.Prefix() + "." + s }

// mode is what the data directory belongs to.
func (b *Bus) mode() string {
	if b.cfg.Peers != nil {
		return modeClustered
	}
	return modeStandalone
}

// refuseData refuses to run beside a single node's data: who gives both has
// forgotten to move them, and would begin with nothing.
func (b *Bus) refuseData() error {
	if b.cfg.Dir == "" {
		return nil
	}
	mark, err := os.ReadFile(filepath.Join(b.cfg.Dir, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("natsbus: cannot read the mark of the data directory: %w", err)
	}
	return fmt.Errorf("natsbus: data directory %s holds the data of an embedded server (%s), which a node on a NATS cluster does not use: "+
		"move them with `porchlight cluster export` and `import`, then give this node another directory", b.cfg.Dir, strings.TrimSpace(string(mark)))
}
