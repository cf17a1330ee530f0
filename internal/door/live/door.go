package live

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Name of this door in devices' records.
const Name = "live"

// Path is where the door is on the HTTP port, Protocol what is spoken there.
const (
	Path     = "/live"
	Protocol = "porchlight.v1"
)

// MaxFrame is the longest frame of a device: a hello that watches 2,000 ids of
// 128 bytes, with room.
const MaxFrame = 512 << 10

// HelloLimit is how long a connection may take to say hello.
const HelloLimit = 10 * time.Second

// Limits bound connections.
type Limits struct {
	// PerAddress is how many there may be from one address, of an IPv6 address
	// from its /64; 0 is DefaultPerAddress. Loopback is not counted.
	PerAddress int
	// PerUser is how many there may be of one user, by app; 0, and an app that is
	// not in it, is no bound but that on sessions.
	PerUser map[presence.AppID]int
}

// WithDefaults fills what is zero.
func (l Limits) WithDefaults() Limits {
	if l.PerAddress == 0 {
		l.PerAddress = DefaultPerAddress
	}
	return l
}

// DefaultPerAddress is the preset of Limits.PerAddress: many homes share an
// address, and this many connections are still cheap.
const DefaultPerAddress = 5000

// Config is what the door needs; all of it to Logger is required, but for Texts.
type Config struct {
	Gate    *admit.Gate
	Tracker *tracker.Tracker
	Wheel   *wheel.Wheel
	Texts   *localize.Set // nil: templates show their fallback text
	// Mailboxes have the live notifications of devices that ask for them.
	Mailboxes *mailbox.Mailboxes
	// ShortestTimeout of all apps sets how often the server pings.
	ShortestTimeout time.Duration
	Logger          *slog.Logger

	Limits Limits
	// Called, when not nil, hears of each frame that was answered, and of each
	// connection that ended: the frame or "connection", OK or the reason, and how
	// long it took, or less than 0 for a connection.
	Called func(method, code string, took time.Duration)
	// Goroutines keeps to one of the socket's two modes; see socket.Config.
	Goroutines bool
}

// Door is the live door of one node. Make it with New, Start it, and Stop it
// when nobody comes any more.
type Door struct {
	cfg    Config
	log    *slog.Logger
	loop   *socket.Loop
	enc    *encoder
	limits atomic.Pointer[Limits]
	from   admit.Addresses
	coming admit.Arrivals
	fresh  waiting

	// ctx is that of all calls; never is over from the begin, for calls that must
	// not wait. Set by Start.
	ctx, never context.Context
	cancel     context.CancelFunc

	standing atomic.Int64 // connections that carry a session
	frames   sync.Pool    // of *[]hub.Frame, for a drain
	answers  sync.Pool    // of *[]byte
}

// New returns a door that serves nothing yet.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger, enc: &encoder{cfg.Texts}}
	d.loop = socket.New(socket.Config{
		Wheel: cfg.Wheel, Logger: cfg.Logger, MaxMessage: MaxFrame, Ping: pingEvery(cfg.ShortestTimeout), Goroutines: cfg.Goroutines,
	})
	d.SetLimits(cfg.Limits)
	d.fresh.init(cfg.Wheel)
	return d
}

// pingEvery is how long a connection may be silent before the server pings, where
// the shortest heartbeat time-out is that: two pings may be lost.
func pingEvery(shortest time.Duration) time.Duration { return min(shortest/3, 10*time.Second) }

// SetLimits replaces the limits on connections. Those that are open stay.
func (d *Door) SetLimits(l Limits) {
	l = l.WithDefaults()
	d.limits.Store(&l)
}

// Start begins to take connections.
func (d *Door) Start(ctx context.Context) error {
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	never, over := context.WithCancel(d.ctx)
	over()
	d.never = never
	return d.loop.Start(ctx)
}

// Stop ends all connections. Call it when the tracker drains: those who carry a
// session have been told to come back, and get a moment to hear it.
func (d *Door) Stop(ctx context.Context) error {
	if d.cancel == nil {
		return nil
	}
	d.farewell(ctx)
	err := d.loop.Stop(ctx)
	d.cancel()
	d.fresh.stop()
	return err
}

// farewell waits until those who were told to go have got their goodbye.
func (d *Door) farewell(ctx context.Context) {
	look := time.NewTicker(farewellLook)
	defer look.Stop()
	limit := time.NewTimer(farewellLimit)
	defer limit.Stop()
	for d.standing.Load() > 0 {
		select {
		case <-look.C:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// How long a goodbye may take before the connection ends without, and how often
// that is looked at.
const (
	farewellLimit = time.Second
	farewellLook  = 10 * time.Millisecond
)

// Open is how many connections there are.
func (d *Door) Open() int { return d.loop.Open() }

// called tells of a frame that was answered, or of a connection that ended.
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
		d.log.Error("panic", "method", what, "panic", p, "stack", string(debug.Stack()))
		then()
	}
}
