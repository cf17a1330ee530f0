package admit

import (
	"context"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Limits are what one request or session may ask for, per app.
type Limits struct {
	Watches int // explicit subscriptions of a session; 2,000
	Batch   int // users of one query; 200
}

// WithDefaults fills the zero fields.
func (l Limits) WithDefaults() Limits {
	if l.Watches == 0 {
		l.Watches = 2000
	}
	if l.Batch == 0 {
		l.Batch = 200
	}
	return l
}

// Roster has the friend lists, and says who may see whom. roster.Roster is one,
// behind a thin adapter.
type Roster interface {
	// Hold makes what a session's user may see known to the hub before the session
	// watches anybody; it fails with FriendsUnavailable. It is harmless to repeat.
	Hold(ctx context.Context, user presence.User, session presence.SessionID) error
	// Rejoin is Hold and then Follow for a session that must not fail because of
	// them: it returns at once and goes on trying until use was called, or the
	// session is gone. use may be nil.
	Rejoin(user presence.User, session presence.SessionID, use func(friends []presence.UserID) error)
	// Gone takes back what Hold or Rejoin did.
	Gone(presence.SessionID)
	// Follow gives a user's list to use, and lets no change of the list happen
	// between reading it and the end of use. It fails whole, with
	// FriendsUnavailable, LimitFriends, or use's error.
	Follow(ctx context.Context, user presence.User, use func(friends []presence.UserID) error) error
	// SightOf is what a user may see, for a query without a session; nil is
	// everybody.
	SightOf(ctx context.Context, user presence.User) (hub.Sight, error)
}

// Config is what a gate needs; all of it to Ring is required.
type Config struct {
	Tracker  *tracker.Tracker
	Hub      *hub.Hub
	Roster   Roster
	Topics   *topic.Topics
	Verifier *token.Verifier
	Ring     *token.Ring
	Limits   map[presence.AppID]Limits
	// Revocations say which good access tokens are void; nil: none.
	Revocations *revoke.Revocations
	// Origins are the web pages that may call for an app; see SetOrigins.
	Origins map[presence.AppID][]string
}

// Gate admits to one node. Make it with New; all its methods may be called from
// any goroutine.
type Gate struct {
	cfg Config
	// verifier, ring, limits and origins are what Config had, or what was set since.
	verifier atomic.Pointer[token.Verifier]
	ring     atomic.Pointer[token.Ring]
	limits   atomic.Pointer[map[presence.AppID]Limits]
	origins  atomic.Pointer[origins]
}

// New returns a gate over the core that cfg names.
func New(cfg Config) *Gate {
	g := &Gate{cfg: cfg}
	g.SetVerifier(cfg.Verifier)
	g.SetRing(cfg.Ring)
	g.SetLimits(cfg.Limits)
	g.SetOrigins(cfg.Origins)
	return g
}

// SetVerifier replaces who is believed. Calls that run go on with what they were
// let in by; streams stay.
func (g *Gate) SetVerifier(v *token.Verifier) { g.verifier.Store(v) }

// Rest gives up what is kept to be quick: see [token.Verifier.Rest].
func (g *Gate) Rest() { g.verifier.Load().Rest() }

// SetRing replaces the keys of session tokens. Tokens of keys that are not among
// them are void from the next call on.
func (g *Gate) SetRing(r *token.Ring) { g.ring.Store(r) }

// SetLimits replaces the limits of all apps. What is subscribed stays.
func (g *Gate) SetLimits(limits map[presence.AppID]Limits) {
	full := make(map[presence.AppID]Limits, len(limits))
	for app, l := range limits {
		full[app] = l.WithDefaults()
	}
	g.limits.Store(&full)
}

// Limits are those of an app.
func (g *Gate) Limits(app presence.AppID) Limits {
	if l, ok := (*g.limits.Load())[app]; ok {
		return l
	}
	return Limits{}.WithDefaults()
}
