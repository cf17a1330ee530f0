package natsstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	logStream  = "PL_LOG"
	logSubject = "pl.log"

	checkpointStream = "PL_CHECKPOINT"
	shardSubject     = "pl.ckpt.shard." // + number
	partSubject      = "pl.ckpt.part."  // + number + "." + set + "." + index
	markSubject      = "pl.ckpt.mark"
	counterSubject   = "pl.counter." // + name, base64url

	noteStream  = "PL_NOTE"
	noteSubject = "pl.note"

	rosterStream  = "PL_ROSTER"
	rosterSubject = "pl.roster." // + kind + "." + app + "." + user token

	nameStream  = "PL_NAME"
	nameSubject = "pl.name." // + kind + "." + token of the name

	erasedStream  = "PL_ERASED"
	erasedSubject = "pl.erased"

	baseStream       = "PL_BASE"
	baseHeadSubject  = "pl.base.head."  // + id
	basePieceSubject = "pl.base.piece." // + id + "." + index

	cursorStream  = "PL_CURSOR"
	cursorSubject = "pl.cursor." // + app + "." + endpoint, base64url

	letterStream  = "PL_DEAD"
	letterSubject = "pl.dead." // + app + "." + endpoint, base64url + "." + user token

	mailStream  = "PL_MAIL"
	mailSubject = "pl.mail"

	// duplicateWindow is how long the engine remembers message ids: as long as
	// a writer may try a message again. Each id costs it about 115 bytes of
	// memory (measured), at 500 messages a second 35 MB.
	duplicateWindow = 10 * time.Minute

	// answerTimeout is how long the engine may take for one message, the disk's
	// sync included, before its result counts as unknown.
	answerTimeout = 5 * time.Second

	// DefaultMaxAge is how long history stays (design §2).
	DefaultMaxAge = 30 * 24 * time.Hour
)

// Config says where and how much to store.
type Config struct {
	// Bus is the engine, started; it must outlive the store.
	Bus *natsbus.Bus

	// MaxBytes limits the log. Zero chooses at the first start the smaller of
	// 20 GB and half of what is free on the file system (256 MB when Temporary),
	// and keeps that. The engine reserves it: natsbus.Config.MaxStore must have
	// room for it.
	MaxBytes int64

	// MaxAge limits how long the log keeps a record; zero means 30 days. What no
	// checkpoint holds stays, however old.
	MaxAge time.Duration

	// Temporary says that the directory goes with the process.
	Temporary bool

	// Usage measures the file system that holds dir; nil asks the system. It is
	// called every 10 s.
	Usage func(dir string) (Usage, error)

	Logger *slog.Logger // nil drops what is logged
}

// kept are the streams of every store; those that only several nodes need are in
// several.
type kept struct {
	logs  jetstream.Stream
	ckpt  jetstream.Stream
	notes jetstream.Stream
	values
	erased  jetstream.Stream
	base    jetstream.Stream
	cursors jetstream.Stream
	dead    jetstream.Stream
	mail    jetstream.Stream
}

// values are the streams that keep one value for each subject.
type values struct {
	rosters, names jetstream.Stream
}

// background is what runs beside the calls, and how Stop ends it.
type background struct {
	done     context.CancelFunc // ends it
	idle     chan struct{}      // closed when the watcher of the disk has ended
	scrub    chan struct{}      // asks for erased users to be taken out of bases
	scrubbed chan struct{}      // closed when who does that has ended
}

// Store is a store.Store on JetStream. Make it with Open.
type Store struct {
	several
	kept
	sizes
	background
	cfg    Config
	js     jetstream.JetStream
	opened uint64 // the checkpoint's position when the store was opened

	trimming sync.Mutex // one trim at a time
	basing   sync.Mutex // one change of the bases at a time; taken before mu
	erasures erasures

	mu      sync.Mutex // over all below
	stopped bool
	through uint64       // newest checkpoint; the log stays beyond it
	heads   map[int]head // newest state of each shard written or loaded here
	failed  error        // why the last append did not succeed
	disk    disk
	bases   bases
	terms   map[store.Endpoint]term // of cursors read or written here
	letters map[store.Endpoint]int  // added since the last trim
}

// sizes are limits, in bytes.
type sizes struct {
	maxLog  int64 // of the log
	maxMail int64 // of the mailboxes
}

var _ store.Store = (*Store)(nil)

// Open makes or opens the streams and starts watching the disk. Its errors
// say what an operator can do.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Bus == nil || cfg.Bus.JetStream() == nil {
		return nil, errors.New("natsstore: the bus is not started")
	}
	if cfg.MaxBytes < 0 || cfg.MaxAge < 0 {
		return nil, fmt.Errorf("natsstore: limits cannot be negative (%d bytes, %v)", cfg.MaxBytes, cfg.MaxAge)
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Usage == nil {
		cfg.Usage = DiskUsage
		if cfg.Bus.Dir() == "" { // the disks are others'
			cfg.Usage = func(string) (Usage, error) { return Usage{}, errors.ErrUnsupported }
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		cfg: cfg,
		js:  cfg.Bus.JetStream(),

		heads:   map[int]head{},
		disk:    disk{room: math.MaxInt64},
		terms:   map[store.Endpoint]term{},
		letters: map[store.Endpoint]int{},

		background: background{idle: make(chan struct{}), scrub: make(chan struct{}, 1), scrubbed: make(chan struct{})},
	}
	s.prefix, s.clustered = cfg.Bus.Prefix(), cfg.Bus.Clustered()
	if err := s.openStreams(ctx); err != nil {
		return nil, err
	}
	if err := s.checkEnds(ctx); err != nil {
		return nil, err
	}
	s.lookAtDisk()
	watch, done := context.WithCancel(context.WithoutCancel(ctx)) // lives until Stop
	s.done, s.life = done, watch
	go s.watchDisk(watch)
	go s.scrubbing(watch)
	if s.clustered {
		s.watching.Go(func() { s.watchErasures(watch) })
	}
	s.askScrub() // what the last process did not come to
	return s, nil
}

// Stop ends the watcher; calls from then on return store.ErrClosed. It does
// not stop the bus, and needs it no more. Further calls do nothing.
func (s *Store) Stop(context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.done()
	<-s.idle
	<-s.scrubbed
	s.watching.Wait()
	return nil
}

// Health implements store.Store.
func (s *Store) Health() error {
	if err := s.cfg.Bus.Health(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return store.ErrClosed
	case s.failed != nil:
		return fmt.Errorf("the last record could not be stored: %w", s.failed)
	}
	return s.disk.alarm
}

// closed returns ErrClosed after Stop.
func (s *Store) closed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return store.ErrClosed
	}
	return nil
}
