package topic

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Source gives the newest picture of a user. It never returns nil and never
// blocks for long; tracker.Tracker is one.
type Source interface {
	Presence(presence.User) *presence.Presence
}

// Sight says whom one user may see, as package roster does.
type Sight interface {
	Of(target presence.UserID) (visible bool, since, seen presence.Time)
}

// Seer gives the sight of a user, nil when he sees everybody. It never waits.
type Seer interface {
	Sight(presence.User) Sight
}

// Config is what topics need. Store and Source are required.
type Config struct {
	Store  store.Rosters
	Source Source
	Seer   Seer // nil: everybody sees everybody
	// Tell brings a message to the other nodes, in whose Topics.Deliver it ends;
	// nil when there are none. It must not block. Calls for one user come in the
	// order of his messages. AppendMessage writes it for the way.
	Tell func(*Message)
	// Takes reports, with an error, that what a server says may be old here: it is not
	// written then. It must not block. nil: it never is.
	Takes  func() error
	Logger *slog.Logger // nil drops what is logged
}

// Topics are the attributes and subscriptions of a node. Make them with New.
type Topics struct {
	cfg   Config
	log   *slog.Logger
	turns turns
	lanes lanes
	order order

	mu   sync.RWMutex // guards apps
	apps map[presence.AppID]*appTopics

	published, delivered, slow atomic.Uint64
}

// New checks cfg; nothing is read or started before Start.
func New(cfg Config) (*Topics, error) {
	if cfg.Store == nil || cfg.Source == nil {
		return nil, errors.New("topic: a store and a source of pictures are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Topics{cfg: cfg, log: cfg.Logger, apps: map[presence.AppID]*appTopics{}}
	t.turns.init()
	t.lanes.topics = t
	t.order.seed = maphash.MakeSeed()
	return t, nil
}

// Start lets changes of presence be told. What ctx carries is kept, not its end.
func (t *Topics) Start(ctx context.Context) error {
	t.lanes.start(ctx)
	return nil
}

// Stop ends what goes on behind the callers and waits for it. It tolerates a
// second call.
func (t *Topics) Stop(context.Context) error {
	t.lanes.stop()
	return nil
}

// Counts are for metrics and tests.
type Counts struct {
	Subscriptions int
	Topics        int    // with a subscriber
	Published     uint64 // messages, by this node or for its subscribers
	Delivered     uint64 // of them, times the subscribers in whose queue they came
	Slow          uint64 // subscriptions that ended as slow
}

// Counts adds up.
func (t *Topics) Counts() Counts {
	c := Counts{Published: t.published.Load(), Delivered: t.delivered.Load(), Slow: t.slow.Load()}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, a := range t.apps {
		a.mu.RLock()
		c.Topics += len(a.crowds)
		a.mu.RUnlock()
		c.Subscriptions += int(a.subscriptions.Load())
	}
	return c
}
