package facts

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// How bases are kept (design §2): hourly for a day, daily for 30 days. Where so
// much happens that folding an hour takes long, some more of the last minutes:
// after a start webhooks wait until the log since the newest base is folded.
const (
	recentEvery = 5 * time.Minute
	recentFor   = 15 * time.Minute
	baseEvery   = time.Hour
	hourlyFor   = 24 * time.Hour
	dailyFor    = 30 * 24 * time.Hour
	keeperLooks = time.Minute

	// firstLook is when the keeper looks after its start: a node that lives for
	// a short time only shall have a base.
	firstLook = 5 * time.Second

	// manyMessages is how many messages of the log are folded without a recent base
	// between: about a second's work, or a few if they are full.
	manyMessages = 4096

	// copyShare is the part of the time that making recent bases may take.
	copyShare = 50

	// logShare is the part of a log that was cut before that may be newer than
	// the newest base: the log must not be cut behind it.
	logShare = 4
)

// KeeperConfig is what a Keeper is made of. Store is required.
type KeeperConfig struct {
	Store Store
	// Mine says whether this node is the one that keeps bases; nil: always.
	Mine   func() bool
	Logger *slog.Logger // nil drops what is logged
}

// Keeper makes bases in the background, so that readers find one not long
// before the position they begin at, and drops those that are too many. One
// keeper of a store is enough: of several nodes, the one whose Mine says so.
type Keeper struct {
	store Store
	mine  func() bool
	log   *slog.Logger
	took  atomic.Int64 // the making of the last base: a time.Duration

	mu     sync.Mutex // over Start and Stop as a whole, and all below
	cancel context.CancelFunc
	done   chan struct{}
	ended  bool
}

// NewKeeper returns a keeper that does nothing yet.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Mine == nil {
		cfg.Mine = func() bool { return true }
	}
	return &Keeper{store: cfg.Store, mine: cfg.Mine, log: cfg.Logger}
}

// Start begins keeping bases. Further calls, and calls after Stop, do nothing.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil || k.ended {
		return nil
	}
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx)) // lives until Stop
	k.done = make(chan struct{})
	go k.run(ctx, k.done)
	return nil
}

// Stop ends it; a base that is half made is given up. It tolerates a second
// call, and one before Start.
func (k *Keeper) Stop(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.cancel != nil {
		k.cancel()
		<-k.done
	}
	return nil
}

func (k *Keeper) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := k.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			k.log.Error("no base of the checkpoint can be made: readers that lag take longer, and miss what the log forgets", "error", err)
		case err == nil && failed:
			k.log.Info("bases of the checkpoint are made again")
		}
		failed = err != nil
		timer.Reset(keeperLooks)
	}
}

// look makes a base if one is due and drops those that are too many.
func (k *Keeper) look(ctx context.Context) error {
	if !k.mine() {
		return nil
	}
	all, err := k.store.Bases(ctx)
	if err != nil {
		return err
	}
	due, err := k.due(ctx, all)
	if err != nil {
		return err
	}
	if due {
		began := time.Now()
		base, err := k.store.SaveBase(ctx)
		k.took.Store(int64(time.Since(began)))
		switch {
		case errors.Is(err, store.ErrNoCheckpoint):
			return nil // nothing has happened yet
		case err != nil:
			return err
		}
		k.log.Debug("base made", "position", base.Position, "bytes", base.Bytes)
		all = append(all, base)
	}
	for _, b := range surplus(all, time.Now()) {
		if err := k.store.DropBase(ctx, b.Position); err != nil {
			return err
		}
	}
	return nil
}

// due reports whether another base is wanted.
func (k *Keeper) due(ctx context.Context, all []store.Base) (bool, error) {
	if len(all) == 0 {
		return true, nil
	}
	first, next, err := k.store.Ends(ctx)
	if err != nil {
		return false, err
	}
	newest := all[len(all)-1]
	if newest.Position+1 >= next {
		return false, nil // nothing has happened since
	}
	switch age := time.Since(newest.At.Time()).Abs(); { // the clock may have been set back
	case age >= baseEvery:
		return true, nil
	case age >= max(recentEvery, copyShare*time.Duration(k.took.Load())) && next-newest.Position > manyMessages:
		return true, nil
	}
	return first > 1 && next-newest.Position > (next-first)/logShare, nil
}

// surplus returns the bases to drop of all, which are in the order of their
// age: of each five minutes of the last quarter of an hour, of each hour of the
// last day and of each day of the last month the oldest stays, and the newest of
// all.
func surplus(all []store.Base, now time.Time) (drop []store.Base) {
	type slot struct {
		width time.Duration
		n     int64
	}
	var kept []slot
	for i, b := range all {
		age, s := now.Sub(b.At.Time()), slot{width: baseEvery}
		switch {
		case age > hourlyFor:
			s.width = hourlyFor
		case age <= recentFor:
			s.width = recentEvery
		}
		s.n = b.At.Time().Unix() / int64(s.width.Seconds())
		switch {
		case i == len(all)-1:
		case age > dailyFor, slices.Contains(kept, s):
			drop = append(drop, b)
		default:
			kept = append(kept, s)
		}
	}
	return drop
}
