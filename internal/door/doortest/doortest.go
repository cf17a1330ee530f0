// Package doortest is the core of a node for the tests of doors: a real tracker
// and hub over a log in memory, a roster of a few lists, and a log book that must
// never hold a secret.
package doortest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// The apps of a core.
const (
	App   = "demo" // of the development issuer
	Other = "other"
)

// Config is what a core is made of; the zero value will do.
type Config struct {
	Policy  tracker.Policy // of App
	Limits  admit.Limits   // of App
	Origins map[presence.AppID][]string
	Store   *storetest.Memory // nil: a fresh one
	// Checkpoints keeps sessions over a restart: a second core on the same store
	// finds them.
	Checkpoints bool
	Incarnation uint64 // 1
	NotReady    bool   // sessions found at start wait
}

// Core is a node without a door.
type Core struct {
	Store   *storetest.Memory
	Wheel   *wheel.Wheel
	Tracker *tracker.Tracker
	Hub     *hub.Hub
	Roster  *Roster
	Topics  *topic.Topics
	// Mailboxes are on the store, too.
	Mailboxes *mailbox.Mailboxes
	Ring      *token.Ring
	Gate      *admit.Gate
	// Revocations are asked by the gate.
	Revocations *revoke.Revocations
	Logger      *slog.Logger
	Log         *Book

	t    testing.TB
	also atomic.Pointer[func(*presence.Presence)]
}

// OtherIssuer signs for app Other.
func OtherIssuer() token.Issuer {
	return token.Issuer{App: Other, Issuer: "https://other.example", Keys: []token.Key{{ID: "o", Secret: []byte("a secret of thirty-two bytes or more, of the other app")}}}
}

// New starts a core. Stop ends it; a door on it must have ended before.
func New(t testing.TB, cfg Config) *Core {
	t.Helper()
	c := &Core{t: t, Store: cfg.Store, Wheel: wheel.New(nil), Log: &Book{}}
	if c.Store == nil {
		c.Store = storetest.NewMemory()
	}
	c.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(c.Log, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	tc := tracker.Config{
		Policies: map[presence.AppID]tracker.Policy{App: cfg.Policy, Other: {}}, Log: c.Store, Incarnation: max(cfg.Incarnation, 1), Wheel: c.Wheel, Logger: c.Logger,
	}
	if cfg.Checkpoints {
		tc.Checkpoints = c.Store
	}
	c.Tracker = tracker.New(tc)
	c.Roster = newRoster()
	c.Hub = hub.New(c.Tracker, c.Roster)
	c.Roster.hub = c.Hub
	var err error
	if c.Topics, err = topic.New(topic.Config{Store: c.Store, Source: c.Tracker, Seer: seer{c.Roster}, Logger: c.Logger}); err != nil {
		t.Fatal(err)
	}
	c.Tracker.Listen(ears{c.Hub, c.Roster, c.Topics, &c.also}, c.Hub)
	c.Wheel.Start()
	if err := c.Tracker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !cfg.NotReady {
		c.Tracker.Ready()
	}
	if err := c.Topics.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Mailboxes, err = mailbox.New(mailbox.Config{Store: c.Store, Logger: c.Logger}); err != nil {
		t.Fatal(err)
	}
	if err := c.Mailboxes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifier, err := token.NewVerifier([]token.Issuer{token.Development(), OtherIssuer()}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Ring, err = token.DevelopmentRing(); err != nil {
		t.Fatal(err)
	}
	c.Revocations = revoke.New(c.Store, c.Logger)
	if err := c.Revocations.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Gate = admit.New(admit.Config{
		Tracker: c.Tracker, Hub: c.Hub, Roster: c.Roster, Topics: c.Topics, Verifier: verifier, Ring: c.Ring, Revocations: c.Revocations,
		Limits: map[presence.AppID]admit.Limits{App: cfg.Limits}, Origins: cfg.Origins,
	})
	return c
}

// Tell makes a door hear of each new picture of a user, as in a whole node.
func (c *Core) Tell(f func(*presence.Presence)) { c.also.Store(&f) }

// Stop ends the core, and fails the test if a secret got into the log.
func (c *Core) Stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), time.Second)
	defer cancel()
	if err := c.Tracker.Stop(ctx); err != nil {
		c.t.Errorf("stop of the tracker: %v", err)
	}
	if err := c.Topics.Stop(ctx); err != nil {
		c.t.Errorf("stop of the topics: %v", err)
	}
	if err := c.Mailboxes.Stop(ctx); err != nil {
		c.t.Errorf("stop of the mailboxes: %v", err)
	}
	c.Wheel.Stop()
	c.Log.Check(c.t)
}

// JWT is an access token of a user of App, good for a day.
func (c *Core) JWT(user string) string { return c.Sign(token.Development(), user, 24*time.Hour) }

// TopicJWT is JWT for a device with topics.
func (c *Core) TopicJWT(user string, topics token.Topics) string {
	c.t.Helper()
	raw, err := token.SignClaims(token.Development(), token.Claims{User: presence.UserID(user), TTL: 24 * time.Hour, Topics: &topics}, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.Log.Secret(raw)
}

// Sign is an access token of an issuer.
func (c *Core) Sign(iss token.Issuer, user string, ttl time.Duration) string {
	c.t.Helper()
	raw, err := token.Sign(iss, presence.UserID(user), ttl, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return c.Log.Secret(raw)
}

// Book keeps what is logged, and knows what must not be.
type Book struct {
	mu      sync.Mutex // guards all below
	text    bytes.Buffer
	secrets []string
}

// Write keeps b.
func (l *Book) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Book) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Secret notes what the log must never hold, and returns it.
func (l *Book) Secret(s string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(s) > 16 {
		l.secrets = append(l.secrets, s)
	}
	return s
}

// Secrets counts what was noted so.
func (l *Book) Secrets() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.secrets)
}

// Check fails the test when the log holds a secret, or a part of one.
func (l *Book) Check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.secrets {
		// The end of a token is its signature or tag: a part of it is too much.
		if strings.Contains(l.text.String(), s[len(s)-16:]) {
			t.Error("the log holds a token, or the end of one")
			return
		}
	}
}
