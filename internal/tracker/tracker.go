package tracker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Shards is the number of shards of the table and of the checkpoint.
const Shards = store.Shards

// storeWait is how long a caller waits for the store before it is told
// LogUnavailable (design §2, Waiting).
const storeWait = 10 * time.Second

// lateReader is the longest that a door lets a message wait for its reader. A
// close is remembered beyond the resume window for that and the time in which a
// half-open device may come back: it may have been told and the message lost.
const lateReader = 30 * time.Second

// Listener hears what the tracker publishes. It must not block.
type Listener interface {
	// Changed is called with each new picture of a user, after it is readable
	// through Tracker.Presence. Two calls for one user may come in either order.
	Changed(*presence.Presence)
	// Gone is called when a session is over for good: nothing resumes it.
	Gone(presence.SessionID)
}

// Watchlist tells what a session watches, for the checkpoint: whom explicitly,
// and whether it follows its user's friends.
type Watchlist interface {
	Watches(presence.SessionID) (users []presence.UserID, friends bool)
}

// Link is the connection that carries a session. Its methods must not block.
type Link interface {
	// LastRead is the wheel's time at which a byte was last read on it.
	LastRead() time.Duration
	// Shared reports whether it carries sessions of several users; then bytes on
	// it prove nothing of one of them.
	Shared() bool
	// End tells the door that the tracker let go of the link, and why. It may be
	// called from any goroutine and with locks of the tracker held.
	End(End)
}

// Deaf is a Link that is not read while its door waits for the store or another node:
// silence proves nothing then, and no session times out for it.
type Deaf interface{ Deaf() bool }

// End says why a link ends.
type End struct {
	Cause      EndCause
	Reason     presence.Reason // CauseClosed: why the session closed
	RetryAfter time.Duration   // CauseDraining: when to come back
}

// EndCause says which of the ways a link ends.
type EndCause uint8

// The causes.
const (
	CauseReplaced EndCause = iota + 1 // another link of the same session took over
	CauseClosed                       // the session closed
	CauseDraining                     // the node stops; the session is kept
)

// Config is what a tracker needs. Policies, Log and Logger are required.
type Config struct {
	Policies     map[presence.AppID]Policy
	Log          store.Log
	Checkpoints  store.Checkpoints // nil: nothing is kept over a restart
	Incarnation  uint64
	RestartGrace time.Duration // 30 s: how long sessions found at start wait for their devices
	Wheel        *wheel.Wheel
	Logger       *slog.Logger
	// Cluster is nil on a single node.
	Cluster *Cluster
}

// Tracker is the table of one node. Make it with New.
type Tracker struct {
	cfg       Config
	policies  atomic.Pointer[policies]
	wheel     *wheel.Wheel
	log       *slog.Logger
	committer *store.Committer
	listener  Listener
	watchlist Watchlist

	shards   [Shards]shard
	applied  atomic.Uint64 // sequence of the last message of the log in the fold
	latest   atomic.Int64  // what now said last
	draining atomic.Bool
	// incarnation is this node's number; another after it was gone for the others.
	incarnation atomic.Uint64
	online      atomic.Int64 // open sessions
	saver       *saver
	tallies     tallies
	counts      counts
	// lastAlive is when the former run of this node was last alive; set at start.
	lastAlive presence.Time
	peers     *peering // nil on a single node
}

// shard is a part of the table.
type shard struct {
	mu    sync.Mutex // guards all below and the users and sessions in it
	users map[presence.User]*user
	facts []presence.Fact // scratch for the fold
	save  shardSave
	// past is the highest version of a user who was taken out of the table.
	past    uint32
	updates uint64      // statuses that became current since the start
	tallies *tallies    // not guarded: it has a lock of its own
	peers   *shardPeers // nil on a single node
}

// New returns a tracker that holds nothing yet. Give it its listener with
// Listen before Start.
func New(cfg Config) *Tracker {
	if cfg.RestartGrace == 0 {
		cfg.RestartGrace = 30 * time.Second
	}
	t := &Tracker{cfg: cfg, wheel: cfg.Wheel, log: cfg.Logger}
	t.tallies.of = map[presence.AppID]*tally{}
	served := make(policies, len(cfg.Policies))
	for app, p := range cfg.Policies {
		served[app] = newAppPolicy(p)
		t.tallies.app(app)
	}
	t.policies.Store(&served)
	for i := range t.shards {
		t.shards[i].users = map[presence.User]*user{}
		t.shards[i].tallies = &t.tallies
	}
	t.incarnation.Store(cfg.Incarnation)
	if cfg.Cluster != nil {
		t.join(cfg.Cluster)
	}
	t.committer = store.NewCommitter(cfg.Log, store.CommitterConfig{Logger: cfg.Logger})
	return t
}

// Listen sets who hears of changes and who knows the watch lists. Call it once,
// before Start.
func (t *Tracker) Listen(l Listener, w Watchlist) { t.listener, t.watchlist = l, w }

// Start restores what the store kept and begins to take records. The wheel must
// be started by the caller.
func (t *Tracker) Start(ctx context.Context) error {
	if err := t.restore(ctx); err != nil {
		return err
	}
	t.committer.Start()
	if t.peers != nil {
		t.startPeers()
	}
	if t.cfg.Checkpoints != nil {
		t.saver = newSaver(t)
		t.saver.start()
	}
	return nil
}

// Stop waits for the store to have what was submitted, writes the checkpoint
// and ends. Links are not ended: see Drain. It tolerates a second call.
func (t *Tracker) Stop(ctx context.Context) error {
	t.draining.Store(true)
	err := t.committer.Stop(ctx)
	if t.peers != nil {
		t.stopPeers(ctx)
	}
	if t.saver != nil {
		if e := t.saver.stop(ctx); err == nil {
			err = e
		}
	}
	return err
}

// Presence returns the newest picture of a user; a user never heard of has an
// empty one. It takes the shard's lock for a moment only.
func (t *Tracker) Presence(name presence.User) *presence.Presence {
	sh := t.shard(name)
	sh.mu.Lock()
	u := sh.peek(name)
	stale := presence.Time(0)
	if t.peers != nil {
		stale = t.staleness(u)
	}
	var p *presence.Presence
	if u != nil {
		p = u.newest()
	}
	sh.mu.Unlock()
	if u == nil {
		return &presence.Presence{User: name, Stale: stale}
	}
	if stale != 0 {
		old := *p
		old.Stale = stale
		return &old
	}
	return p
}

// Seq returns the number of the user's newest fact, 0 when there is none.
func (t *Tracker) Seq(name presence.User) uint64 {
	sh := t.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.peek(name); u != nil {
		return u.folded.Seq
	}
	return 0
}

func (t *Tracker) shard(name presence.User) *shard { return &t.shards[t.shardIndex(name)] }

// now is the wall clock, for what people read; silence is measured by the wheel. It
// stands still where that is set back: what comes later is dated no earlier.
func (t *Tracker) now() presence.Time {
	now := int64(presence.At(time.Now()))
	for {
		latest := t.latest.Load()
		if now <= latest {
			return presence.Time(latest)
		}
		if t.latest.CompareAndSwap(latest, now) {
			return presence.Time(now)
		}
	}
}

// wall turns a time of the wheel into one of the wall clock.
func (t *Tracker) wall(d time.Duration) presence.Time { return t.now().Add(d - t.wheel.Now()) }

var errGone = fault.New(fault.SessionGone, "the session is closed or unknown; make a new one")

var errDraining = fault.Retry(fault.Draining, time.Second, "this node is stopping; connect again")
