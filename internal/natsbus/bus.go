package natsbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readyTimeout is for what the server's Start leaves to its goroutines.
	readyTimeout = 10 * time.Second

	// MaxPayload is the most bytes of one message. A full group commit of 256
	// records with the largest statuses is about 2.5 MB; the engine warns above 8 MB.
	MaxPayload = 8 << 20

	// maxPending is how far a connection may fall behind before it is cut.
	maxPending = 256 << 20

	// maxMemory bounds streams and consumers in memory: we have only the
	// short-lived consumers that read a stream.
	maxMemory = 64 << 20

	// unlimitedStore leaves the limits to the streams. The engine's own default
	// is a share of what is free at this start, which would refuse tomorrow
	// what it took today.
	unlimitedStore = 1 << 50

	serverName = "porchlight"
)

// Bus is one embedded server with a connection to it. Make it with New.
type Bus struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex // over Start and Stop as a whole, and all below
	lock *dirLock
	srv  *server.Server
	conn *nats.Conn
	js   jetstream.JetStream
	msgs *Messages
	sys  *nats.Conn // of a visitor, to the engines themselves
	done bool       // stopped, for good

	parting *parting // with Peers: who stops at the same time
	expiry  *expiry  // of this node's certificate

	user, password string // of this process at its own server, when that listens

	said said // what went wrong behind our back
}

// ErrStopped is returned by Start after Stop: make a new Bus instead.
var ErrStopped = errors.New("natsbus: stopped")

// New checks cfg; nothing is opened or made before Start.
func New(cfg Config) (*Bus, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Bus{cfg: cfg, log: log}, nil
}

// Start locks the directory, checks its mark, starts the server and connects
// to it. It returns after the server has read its streams back. It fails with
// an error that says what to do when the directory is in use, belongs to
// another mode or cannot be written; then nothing stays open. With several nodes
// it waits until a majority of the servers is there, or ctx ends. A second Start
// does nothing.
func (b *Bus) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.done:
		return ErrStopped
	case b.srv != nil:
		return nil
	}
	if err := b.start(ctx); err != nil {
		b.close()
		return err
	}
	b.startExpiry()
	return nil
}

// start does Start's work; mu is held, and close undoes what is half done.
func (b *Bus) start(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("natsbus: start: %w", err)
	}
	if b.cfg.Cluster != nil {
		if err := b.refuseData(); err != nil {
			return err
		}
		if err := b.dialCluster(ctx); err != nil {
			return err
		}
		return b.connectMessages(ctx)
	}
	if err := b.startServer(ctx); err != nil {
		return err
	}
	if err := b.connect(ctx); err != nil {
		return err
	}
	if b.cfg.Peers == nil {
		return nil
	}
	if err := b.awaitStore(ctx); err != nil {
		return err
	}
	if b.cfg.Visitor {
		return b.connectEngines(ctx)
	}
	if err := b.connectMessages(ctx); err != nil {
		return err
	}
	return b.startParting()
}

// startServer starts the embedded server; mu is held.
func (b *Bus) startServer(ctx context.Context) (err error) {
	if b.cfg.Visitor {
		opts, err := b.visitorOptions()
		if err != nil {
			return err
		}
		return b.run(opts)
	}
	if err := os.MkdirAll(b.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("natsbus: cannot make the data directory: %w", err)
	}
	if b.lock, err = lockDir(b.cfg.Dir); err != nil {
		return err
	}
	if err := claimMode(b.cfg.Dir, b.mode()); err != nil {
		return err
	}
	opts := b.options()
	if b.cfg.Peers != nil {
		if err := b.cfg.Peers.checkListen(); err != nil {
			return err
		}
		if err := b.cfg.Peers.checkOthers(ctx); err != nil {
			return err
		}
		if err := claimName(b.cfg.Dir, b.cfg.Peers.Name); err != nil {
			return err
		}
		if err := b.peerOptions(opts); err != nil {
			return err
		}
	}
	return b.run(opts)
}

// run starts a server with these options; mu is held.
func (b *Bus) run(opts *server.Options) error {
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("natsbus: the embedded server does not take its options: %w", err)
	}
	b.srv = srv
	lines := &engineLog{log: b.log, said: &b.said}
	srv.SetLoggerV2(lines, false, false, false)
	srv.Start() // returns when its streams are read back, or it gave up
	if err := lines.err(); err != nil {
		return fmt.Errorf("natsbus: the embedded server cannot open its store in %s (permissions, disk full or damaged files): %w", b.Dir(), err)
	}
	if !srv.ReadyForConnections(readyTimeout) || opts.JetStream && !srv.JetStreamEnabled() {
		if err := lines.err(); err != nil {
			return fmt.Errorf("natsbus: the embedded server in %s did not come up: %w", b.Dir(), err)
		}
		return fmt.Errorf("natsbus: the embedded server in %s did not come up; its log says why", b.Dir())
	}
	return nil
}

// options are the settings that engine measurements led to; each departs from
// a default for the reason beside it.
func (b *Bus) options() *server.Options {
	maxStore := b.cfg.MaxStore
	if maxStore == 0 {
		maxStore = unlimitedStore
	}
	return &server.Options{
		ServerName:             serverName, // fixed: the store remembers it
		DontListen:             true,       // connections inside the process only
		NoSigs:                 true,       // signals belong to cmd
		JetStream:              true,
		StoreDir:               filepath.Join(b.cfg.Dir, modeStandalone),
		SyncAlways:             true, // acknowledged means on disk
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      maxStore,
		MaxPayload:             MaxPayload,
		MaxPending:             maxPending,
		NoFastProducerStall:    true, // one stuck reader must not slow the others
		DisableJetStreamBanner: true,
	}
}

// Stop closes the connection, stops the server and gives the directory free.
// What was acknowledged is on disk already; Stop writes the engine's indexes,
// so that the next start is quick. It returns when everything has ended, which
// takes milliseconds; with Peers it waits before that for other nodes that are
// Stopping, until 5 s before ctx ends. Further calls, and calls before Start, do
// nothing.
func (b *Bus) Stop(ctx context.Context) error {
	b.mu.Lock()
	p := b.parting
	b.parting = nil
	b.mu.Unlock()
	if p != nil {
		p.done(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	return b.close()
}

// close undoes start in reverse; mu is held.
func (b *Bus) close() error {
	if b.expiry != nil {
		b.expiry.stop()
		b.expiry = nil
	}
	if b.msgs != nil {
		b.msgs.conn.Close()
	}
	if b.sys != nil {
		b.sys.Close()
	}
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
		b.srv = nil
	}
	err := b.lock.release()
	b.lock = nil
	return err
}

// JetStream speaks to the engine's streams. It is nil before Start; after Stop
// its calls fail with nats.ErrConnectionClosed.
func (b *Bus) JetStream() jetstream.JetStream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.js
}

// Dir is the directory that holds the engine's files: whose file system must
// not run full.
// With a NATS cluster there is none, and it is "".
func (b *Bus) Dir() string {
	if b.cfg.Cluster != nil {
		return ""
	}
	return filepath.Join(b.cfg.Dir, b.mode())
}

// Health returns nil while the engine takes messages, or why it does not. The
// engine switches its store off when the disk is full; only a restart brings
// it back.
func (b *Bus) Health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.cfg.Cluster != nil && b.conn == nil:
		return errors.New("natsbus: not connected to the NATS cluster")
	case b.cfg.Cluster != nil && !b.conn.IsConnected():
		return fmt.Errorf("natsbus: no server of the NATS cluster (%s) is reached", b.where())
	case b.cfg.Cluster != nil:
		return nil
	case b.srv == nil:
		return errors.New("natsbus: the embedded server is not running")
	case !b.srv.JetStreamEnabled():
		return fmt.Errorf("natsbus: the embedded server switched its store in %s off (disk full or a write failed): make room and restart", b.Dir())
	}
	return nil
}
