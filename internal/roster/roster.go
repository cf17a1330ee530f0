package roster

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	defaultMaxFriends = 10_000
	defaultMaxAge     = 30 * time.Second
	defaultCache      = 64 << 20
)

// Visibility says whom the users of an app may see.
type Visibility uint8

// The visibilities.
const (
	Everyone Visibility = iota // everybody who did not block them
	Friends                    // those on their own list, and themselves
)

// AppConfig is how an app's lists are kept. The zero value is an own store
// with default limits, and everybody may see everybody.
type AppConfig struct {
	Visibility Visibility
	// MaxFriends is the most users on a list, and the most that a user may
	// block; 10,000 if zero.
	MaxFriends int
	// Source has the lists; nil is our own store.
	Source Source
	// MaxAge is how long an answer of Source is good; 30 s if zero. After it, and
	// while the source answers, a list is used for as long again and asked for
	// behind; then it is asked for first. Lists of sessions that follow are kept
	// as young as MaxAge.
	MaxAge time.Duration
}

func (a AppConfig) withDefaults() AppConfig {
	if a.MaxFriends <= 0 {
		a.MaxFriends = defaultMaxFriends
	}
	if a.MaxAge <= 0 {
		a.MaxAge = defaultMaxAge
	}
	return a
}

// Source has friend lists that are not ours. Two are the same if they are equal;
// use a pointer.
type Source interface {
	// Friends returns a user's whole list, in any order, or an error: a list that
	// is not whole is none. It must end with ctx. Its error is logged, so it may
	// hold no secret.
	Friends(ctx context.Context, user presence.User) ([]presence.UserID, error)
}

// Listener hears of changes, after they are stored and readable. Calls for one
// user come one after the other, in the order of the changes, with that
// user's turn held: a listener must not block and must not call back into
// anything but Sight.
type Listener interface {
	// FriendsChanged: user's list changed by that. Where only friends see each
	// other SightChanged comes before it of who is added, so that the first that
	// is told of him is what may be seen, and after it of who is removed.
	FriendsChanged(user presence.User, added, removed []presence.UserID)
	// SightChanged: what user may see of targets changed; nil means of anybody.
	SightChanged(user presence.User, targets []presence.UserID)
}

// Config is what a roster needs. Store is required.
type Config struct {
	Store store.Rosters
	Apps  map[presence.AppID]AppConfig // an app that is not there has the zero AppConfig
	// Present gives a user's picture, to freeze his last seen; nil, of the func
	// and of its answer, is nobody ever seen.
	Present func(presence.User) *presence.Presence
	// CacheBytes bounds the lists in memory that no session needs; 64 MB if zero.
	CacheBytes int
	// Shared says that other nodes write to the store as well. Then Stored must be
	// called for all that is written there, and lists of sessions stay in memory.
	Shared bool
	// Pushed is called with each user whose list in a Source changed, as Push and
	// Invalidate were told: other nodes must call Invalidate too. It must not
	// block. Nil: there are none.
	Pushed func(presence.User)
	// Takes reports, with an error, that what a server says may be old here: it is not
	// written then. Nil: it never is.
	Takes  func() error
	Logger *slog.Logger // nil drops what is logged
}

// Roster keeps the lists and blocks of a node. Make it with New.
type Roster struct {
	cfg      Config
	log      *slog.Logger
	listener Listener
	apps     atomic.Pointer[map[presence.AppID]AppConfig]
	chores   chores
	pens     turns // of who writes his blocks
	// limited is how many users are blocked by somebody: while it is 0 and an
	// app's visibility is Everyone, Sight looks at nothing else.
	limited atomic.Int64

	mu       sync.RWMutex // guards all below
	pages    map[presence.User]*page
	sessions map[presence.SessionID]seat
	idle     *list.List // of *page that may go, most recently used first
	bytes    int        // of idle
	books    map[presence.User]book
	veils    map[presence.User]*sight // of who is blocked by somebody
	outages  map[presence.AppID]outage
}

// New checks cfg; nothing is read before Start.
func New(cfg Config) (*Roster, error) {
	if cfg.Store == nil {
		return nil, errors.New("roster: a store is needed")
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = defaultCache
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Present == nil {
		cfg.Present = func(presence.User) *presence.Presence { return nil }
	}
	if cfg.Takes == nil {
		cfg.Takes = func() error { return nil }
	}
	if cfg.Pushed == nil {
		cfg.Pushed = func(presence.User) {}
	}
	r := &Roster{
		cfg: cfg, log: cfg.Logger, listener: nobody{},
		pages: map[presence.User]*page{}, sessions: map[presence.SessionID]seat{}, idle: list.New(),
		books: map[presence.User]book{}, veils: map[presence.User]*sight{}, outages: map[presence.AppID]outage{},
	}
	apps := maps.Clone(cfg.Apps)
	r.apps.Store(&apps)
	return r, nil
}

// nobody listens.
type nobody struct{}

func (nobody) FriendsChanged(presence.User, []presence.UserID, []presence.UserID) {}
func (nobody) SightChanged(presence.User, []presence.UserID)                      {}

// Listen sets who hears of changes. Call it once, before Start.
func (r *Roster) Listen(l Listener) { r.listener = l }

// Start reads all blocks; lists are read when they are needed. No other method
// may be called before it, save New's and Listen.
func (r *Roster) Start(ctx context.Context) error {
	err := r.cfg.Store.ScanRosters(ctx, store.RosterBlocks, "", func(v store.Roster) error {
		entries, err := parseBlocks(v.Value)
		if err != nil {
			return fmt.Errorf("blocks of a user of app %s: %w", v.User.App, err)
		}
		r.addBook(v.User, book{entries: entries, revision: v.Revision})
		return nil
	})
	if err != nil {
		return fmt.Errorf("roster: cannot read who blocks whom: %w", err)
	}
	r.chores.start(ctx)
	return nil
}

// Stop ends what goes on behind and waits for it. It does not end calls. It
// tolerates a second call.
func (r *Roster) Stop(context.Context) error {
	r.chores.stop()
	return nil
}

// app returns an app's configuration.
func (r *Roster) app(id presence.AppID) AppConfig { return (*r.apps.Load())[id].withDefaults() }

// SetApps changes the apps' configuration while the node runs. An app that is
// not among them any more keeps its last one, for sessions that are open. Where
// the visibility or the source changed, the lists of sessions are read again
// and listeners told; until then, where only friends see each other now, they
// see only themselves.
func (r *Roster) SetApps(apps map[presence.AppID]AppConfig) {
	old := *r.apps.Load()
	next := maps.Clone(old)
	if next == nil {
		next = map[presence.AppID]AppConfig{}
	}
	changed := map[presence.AppID]bool{}
	for id, a := range apps {
		next[id] = a
		changed[id] = a.Visibility != old[id].Visibility || a.Source != old[id].Source
	}
	r.mu.Lock()
	r.apps.Store(&next)
	for id, s := range r.sessions {
		if changed[s.user.App] {
			r.seat(id, s.user)
		}
	}
	var again []*page
	for _, p := range r.pages {
		if changed[p.user.App] && !r.drop(p) {
			p.again, p.sight = true, nil
			again = append(again, p)
		}
	}
	r.mu.Unlock()
	for _, p := range again {
		r.later(p, 0)
	}
}
