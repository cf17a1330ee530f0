package facts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Store is what a Reader needs of a store.
type Store interface {
	store.Reading
	store.Erasures
	store.Bases
}

// Config is what a Reader is made of. Store is required.
type Config struct {
	Store  Store
	Logger *slog.Logger // nil drops what is logged

	// Ring is how many recent events are held for those who follow, 0 meaning
	// 32,768. Each takes about 1 kB.
	Ring int
	// Linger is how long the tail goes on when nobody follows any more, 0 meaning
	// 10 minutes: to begin it takes the time of reading a base.
	Linger time.Duration
}

const (
	defaultRing   = 1 << 15
	defaultLinger = 10 * time.Minute

	// handful is about how many events one call of a follower gets at most.
	handful = 1024
)

// Reader reads the log for many. Make it with New, then Start it.
type Reader struct {
	store  Store
	cfg    Config
	log    *slog.Logger
	erased tombstones
	passes pool

	mu       sync.Mutex // over all below
	ctx      context.Context
	cancel   context.CancelFunc
	stopped  bool
	tail     *tail // nil: nobody follows
	follows  int
	idle     *time.Timer // ends the tail
	finished sync.WaitGroup
}

// New returns a reader that reads nothing yet.
func New(cfg Config) *Reader {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Ring <= 0 {
		cfg.Ring = defaultRing
	}
	if cfg.Linger <= 0 {
		cfg.Linger = defaultLinger
	}
	return &Reader{store: cfg.Store, cfg: cfg, log: cfg.Logger, erased: tombstones{store: cfg.Store}}
}

// Start lets the reader read; what it reads for whom is decided by calls.
func (r *Reader) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil && !r.stopped {
		r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx)) // lives until Stop
	}
	return nil
}

// Stop ends all readings: calls under way and later ones return
// store.ErrClosed. It tolerates a second call, and one before Start.
func (r *Reader) Stop(context.Context) error {
	r.mu.Lock()
	r.stopped = true
	if r.cancel != nil {
		r.cancel()
	}
	if r.idle != nil {
		r.idle.Stop()
	}
	r.mu.Unlock()
	r.finished.Wait()
	r.passes.drop()
	return nil
}

// End returns the position behind everything that the log holds now: following
// from it tells what happens from now on.
func (r *Reader) End(ctx context.Context) (Position, error) {
	_, next, err := r.store.Ends(ctx)
	return End(next - 1), err
}

// At returns the position before everything that was stored at t or later.
func (r *Reader) At(ctx context.Context, t time.Time) (Position, error) {
	sequence, err := r.store.SequenceAt(ctx, t)
	return End(sequence - 1), err
}

// Oldest returns the oldest position that Follow can begin at.
func (r *Reader) Oldest(ctx context.Context) (Position, error) {
	first, _, err := r.store.Ends(ctx)
	if err != nil || first <= 1 {
		return Position{}, err
	}
	all, err := r.store.Bases(ctx)
	if err != nil || len(all) == 0 {
		return End(first), err
	}
	return End(all[0].Position), nil
}

// Params say what a follower wants to be told.
type Params struct {
	App   presence.AppID // of this app alone
	After Position       // what is behind it
	// Only, when not nil, chooses users: it must always say the same of one.
	Only func(presence.UserID) bool
}

func (p *Params) wants(user presence.User) bool {
	return user.App == p.App && (p.Only == nil || p.Only(user.ID))
}
