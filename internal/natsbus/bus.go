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

// Config says where the engine lives. The zero value lacks Dir.
type Config struct {
	// Dir is Porchlight's data directory; it is made when missing. The engine's
	// files lie below <Dir>/standalone/jetstream.
	Dir string

	// MaxStore is the most bytes the engine's files may hold and its streams may
	// reserve together; a stream that asks for more is refused. Zero leaves the
	// limits to the streams.
	MaxStore int64

	// Logger takes the engine's warnings and errors; its chatter goes to debug
	// level. Nil drops all of it.
	Logger *slog.Logger
}

// Bus is one embedded server with a connection to it. Make it with New.
type Bus struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex // over Start and Stop as a whole, and all below
	lock *dirLock
	srv  *server.Server
	conn *nats.Conn
	js   jetstream.JetStream
	done bool // stopped, for good
}

// ErrStopped is returned by Start after Stop: make a new Bus instead.
var ErrStopped = errors.New("natsbus: stopped")

// New checks cfg; nothing is opened or made before Start.
func New(cfg Config) (*Bus, error) {
	if cfg.Dir == "" {
		return nil, errors.New("natsbus: no data directory given")
	}
	if cfg.MaxStore < 0 {
		return nil, fmt.Errorf("natsbus: the most bytes to store cannot be negative (%d)", cfg.MaxStore)
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
// another mode or cannot be written; then nothing stays open. A second Start
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
	return nil
}

// start does Start's work; mu is held, and close undoes what is half done.
func (b *Bus) start(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("natsbus: start: %w", err)
	}
	if err := os.MkdirAll(b.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("natsbus: cannot make the data directory: %w", err)
	}
	if b.lock, err = lockDir(b.cfg.Dir); err != nil {
		return err
	}
	if err := claimMode(b.cfg.Dir, modeStandalone); err != nil {
		return err
	}
	srv, err := server.NewServer(b.options())
	if err != nil {
		return fmt.Errorf("natsbus: the embedded server does not take its options: %w", err)
	}
	b.srv = srv
	lines := &engineLog{log: b.log}
	srv.SetLoggerV2(lines, false, false, false)
	srv.Start() // returns when its streams are read back, or it gave up
	if err := lines.err(); err != nil {
		return fmt.Errorf("natsbus: the embedded server cannot open its store in %s (permissions, disk full or damaged files): %w", b.Dir(), err)
	}
	if !srv.ReadyForConnections(readyTimeout) || !srv.JetStreamEnabled() {
		return fmt.Errorf("natsbus: the embedded server in %s did not come up; its log says why", b.Dir())
	}
	return b.connect()
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

// connect makes the connection that JetStream is spoken over; mu is held.
func (b *Bus) connect() error {
	conn, err := nats.Connect("",
		nats.InProcessServer(b.srv),
		nats.Name("porchlight store"),
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Warn("engine connection", "error", err)
		}),
	)
	if err != nil {
		return fmt.Errorf("natsbus: cannot connect to the embedded server: %w", err)
	}
	b.conn = conn
	if b.js, err = jetstream.New(conn); err != nil {
		return fmt.Errorf("natsbus: %w", err)
	}
	return nil
}

// Stop closes the connection, stops the server and gives the directory free.
// What was acknowledged is on disk already; Stop writes the engine's indexes,
// so that the next start is quick. It returns when everything has ended, which
// takes milliseconds; ctx is there for the family's sake. Further calls, and
// calls before Start, do nothing.
func (b *Bus) Stop(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	return b.close()
}

// close undoes start in reverse; mu is held.
func (b *Bus) close() error {
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
func (b *Bus) Dir() string { return filepath.Join(b.cfg.Dir, modeStandalone) }

// Health returns nil while the engine takes messages, or why it does not. The
// engine switches its store off when the disk is full; only a restart brings
// it back.
func (b *Bus) Health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.srv == nil:
		return errors.New("natsbus: the embedded server is not running")
	case !b.srv.JetStreamEnabled():
		return fmt.Errorf("natsbus: the embedded server switched its store in %s off (disk full or a write failed): make room and restart", b.Dir())
	}
	return nil
}
