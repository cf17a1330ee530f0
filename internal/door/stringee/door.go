package stringee

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Name of this door in devices' records.
const Name = "stringee"

// MaxFrame is the longest frame of a client: a token of 8 KiB or a value of 4 KiB,
// with much room.
const MaxFrame = 64 << 10

// AuthenLimit is how long a connection may take to authenticate.
const AuthenLimit = 10 * time.Second

// PingEvery is how often the server pings, where heartbeat time-outs are no
// shorter than 35 s; PingAfter is what clients are told (ping_after_ms): they
// reconnect when nothing came for that and 15 s more.
const (
	PingEvery = 15 * time.Second
	PingAfter = 45 * time.Second
)

// Limits bound connections.
type Limits struct {
	// PerAddress is how many there may be from one address, of an IPv6 address
	// from its /64; 0 is DefaultPerAddress. Loopback is not counted.
	PerAddress int
	// PerUser is how many there may be of one user, by app; 0, and an app that is
	// not in it, is no bound but that on sessions.
	PerUser map[presence.AppID]int
}

// DefaultPerAddress is the preset of Limits.PerAddress.
const DefaultPerAddress = 5000

// Config is what the door needs; all of it to Logger is required.
type Config struct {
	Gate    *admit.Gate
	Tracker *tracker.Tracker
	Topics  *topic.Topics
	Wheel   *wheel.Wheel
	Logger  *slog.Logger

	Apps   []App
	Places Places
	Limits Limits
	// Called, when not nil, hears of each frame and call that was answered, and of
	// each connection that ended: its name or "connection", the code of the
	// interface or why it ended, and how long it took, or less than 0 for a
	// connection.
	Called func(method, code string, took time.Duration)
	// Goroutines keeps to one of the socket's two modes; see socket.Config.
	Goroutines bool
}

// Door is Stringee's door of one node. Make it with New, Start it, and Stop it
// when nobody comes any more.
type Door struct {
	cfg    Config
	log    *slog.Logger
	loop   *socket.Loop
	apps   atomic.Pointer[registry]
	places atomic.Pointer[Places]
	limits atomic.Pointer[Limits]
	from   admit.Addresses
	coming admit.Arrivals
	users  clients
	filter chan struct{} // a place for each list with a filter that is being made

	ctx    context.Context // that of all frames
	cancel context.CancelFunc

	standing   atomic.Int64 // connections that carry a session
	sentAway   atomic.Int64 // that were ended because the node stops
	redirected atomic.Int64 // of them, that came back and were told where to go
	messages   sync.Pool    // of *[]*topic.Message, for a drain
}

// filtersAtOnce is how many lists with a filter are made at once.
const filtersAtOnce = 2

// New returns a door that serves nothing yet.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger, filter: make(chan struct{}, filtersAtOnce)}
	d.loop = socket.New(socket.Config{Wheel: cfg.Wheel, Logger: cfg.Logger, MaxMessage: MaxFrame, Ping: -1, Goroutines: cfg.Goroutines})
	d.users.init()
	d.SetApps(cfg.Apps)
	d.SetPlaces(cfg.Places)
	d.SetLimits(cfg.Limits)
	return d
}

// SetLimits replaces the limits on connections. Those that are open stay.
func (d *Door) SetLimits(l Limits) {
	if l.PerAddress == 0 {
		l.PerAddress = DefaultPerAddress
	}
	d.limits.Store(&l)
}

// Start begins to take connections.
func (d *Door) Start(ctx context.Context) error {
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return d.loop.Start(ctx)
}

// Away waits until the clients that were sent away by a stopping node have come
// back and were told of another, where one is known; or for AwayLimit. Call it
// after the tracker's Drain and before the ports close.
func (d *Door) Away(ctx context.Context) {
	if len(d.places.Load().Elsewhere) == 0 || d.cancel == nil {
		return
	}
	d.until(ctx, AwayLimit, func() bool { return d.standing.Load() == 0 && d.redirected.Load() >= d.sentAway.Load() })
}

// Stop ends all connections. Call it when the tracker drains: those who carry a
// session get a moment to hear it.
func (d *Door) Stop(ctx context.Context) error {
	if d.cancel == nil {
		return nil
	}
	d.until(ctx, farewellLimit, func() bool { return d.standing.Load() == 0 })
	err := d.loop.Stop(ctx)
	d.cancel()
	return err
}

// How long clients get to come back for another address, how long a goodbye may
// take, and how often that is looked at. The client comes back after 0.5 s.
const (
	AwayLimit     = 2 * time.Second
	farewellLimit = time.Second
	farewellLook  = 10 * time.Millisecond
)

// until waits for what is done, within a limit.
func (d *Door) until(ctx context.Context, limit time.Duration, done func() bool) {
	look := time.NewTicker(farewellLook)
	defer look.Stop()
	over := time.NewTimer(limit)
	defer over.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Open is how many connections there are.
func (d *Door) Open() int { return d.loop.Open() }

// Changed hears of each new picture of a user (tracker.Listener): his clients here
// are told of his others when they come and go. It never blocks.
func (d *Door) Changed(p *presence.Presence) { d.users.wake(p.User) }

// called tells of what was answered, or of a connection that ended.
func (d *Door) called(method, code string, took time.Duration) {
	if d.cfg.Called != nil {
		d.cfg.Called(method, code, took)
	}
}

// noTime stands for the duration of a connection: it says nothing.
const noTime = -1

// recovered is deferred where a peer's words are handled: a panic ends that, and
// the node lives on.
func (d *Door) recovered(what string, then func()) {
	if p := recover(); p != nil {
		d.log.Error("panic", "door", Name, "method", what, "panic", p, "stack", string(debug.Stack()))
		then()
	}
}
