package mozpresence

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Name of this door in devices' records.
const Name = "mozpresence"

// The first segments of the paths that the door answers, beside the ids of
// publishers.
const (
	SegmentDevices    = "presence"
	SegmentPublishers = "myapps"
)

// FirstFrame is how long a connection may take to say who it is.
const FirstFrame = 10 * time.Second

// maxFrame is the longest frame: an API key or an access token, or a notification
// of characters that are escaped.
const maxFrame = 32 << 10

// App is a tenant that the door serves.
type App struct {
	App presence.AppID
	// QueueTTL is how long a live notification waits for its user, unless it says;
	// 0 is for ever.
	QueueTTL time.Duration
}

// Limits bound connections.
type Limits struct {
	// PerAddress is how many sockets there may be from one address, of an IPv6
	// address from its /64; 0 is DefaultPerAddress. Loopback is not counted.
	PerAddress int
	// PerUser is how many devices of one user may be connected with a session, by
	// app; 0, and an app that is not in it, is no bound but that on sessions.
	PerUser map[presence.AppID]int
}

// DefaultPerAddress is the preset of Limits.PerAddress.
const DefaultPerAddress = 5000

// Facts tells what happened, from the log. facts.Reader is one.
type Facts interface {
	// Follow is facts.Reader's.
	Follow(ctx context.Context, p facts.Params, f func(events []*facts.Event, through facts.Position) error) error
	// End is the position behind everything that happened.
	End(ctx context.Context) (facts.Position, error)
	// At is the position before everything that was stored at t or later.
	At(ctx context.Context, t time.Time) (facts.Position, error)
}

// Config is what the door needs; all of it to Logger is required.
type Config struct {
	Gate       *admit.Gate
	Tracker    *tracker.Tracker
	Wheel      *wheel.Wheel
	Publishers *publisher.Registry
	Mailboxes  *mailbox.Mailboxes
	Facts      Facts
	Apps       []App
	Logger     *slog.Logger

	Limits Limits
	// Pages answers what people read, by the whole path; nil: nobody does.
	Pages http.Handler
	// ShortestTimeout and LongestTimeout of all apps set how often the server
	// pings, and when a silent connection without a session ends.
	ShortestTimeout, LongestTimeout time.Duration
	// Called, when not nil, hears of each call and frame that was answered, with
	// OK or the error number.
	Called func(method, code string, took time.Duration)
}

// Door is that of one node. Make it with New, Start it, and Stop it when nobody
// comes any more.
type Door struct {
	cfg    Config
	log    *slog.Logger
	loop   *socket.Loop
	apps   atomic.Pointer[map[presence.AppID]App]
	limits atomic.Pointer[Limits]
	from   admit.Addresses // all sockets
	coming admit.Arrivals  // devices
	calls  rates

	ctx    context.Context // of all calls; set by Start
	cancel context.CancelFunc

	mu      sync.Mutex // guards all below
	open    map[string]map[*listener]struct{}
	over    bool
	working sync.WaitGroup // what listeners do behind
}

// New returns a door that serves nothing yet. It hears of what changes of
// publishers.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger, open: map[string]map[*listener]struct{}{}}
	d.loop = socket.New(socket.Config{
		Wheel: cfg.Wheel, Logger: cfg.Logger, MaxMessage: maxFrame, Ping: min(max(cfg.ShortestTimeout/3, time.Second), socket.DefaultPing),
	})
	d.SetApps(cfg.Apps)
	d.SetLimits(cfg.Limits)
	cfg.Publishers.Listen(d.changed)
	return d
}

// SetApps replaces who is served. Connections stay.
func (d *Door) SetApps(apps []App) {
	all := make(map[presence.AppID]App, len(apps))
	for _, a := range apps {
		all[a.App] = a
	}
	d.apps.Store(&all)
}

// SetLimits replaces the limits on connections. Those that are open stay.
func (d *Door) SetLimits(l Limits) {
	if l.PerAddress == 0 {
		l.PerAddress = DefaultPerAddress
	}
	d.limits.Store(&l)
}

// crowded is when one may come again who found too many connections.
const crowded = 5 * time.Second

// roomFrom counts one more socket from a place, or refuses it.
func (d *Door) roomFrom(w http.ResponseWriter, from admit.Place) bool {
	if d.from.Enter(from, d.limits.Load().PerAddress) {
		return true
	}
	d.called("connection", strconv.Itoa(errSlowDown), -1)
	w.Header().Set("Retry-After", strconv.Itoa(int(crowded/time.Second)))
	http.Error(w, "there are too many connections from this address", http.StatusTooManyRequests)
	return false
}

// app is a tenant that is served.
func (d *Door) app(id presence.AppID) (App, bool) {
	a, ok := (*d.apps.Load())[id]
	return a, ok
}

// Start begins to take connections.
func (d *Door) Start(ctx context.Context) error {
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return d.loop.Start(ctx)
}

// Stop ends all connections, and notes how far publishers were told.
func (d *Door) Stop(ctx context.Context) error {
	if d.cancel == nil {
		return nil
	}
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	for _, l := range d.listeners("") {
		l.sock.Close(socket.CodeGoingAway, "this node is stopping; connect again")
	}
	err := d.loop.Stop(ctx)
	d.cancel()
	d.working.Wait()
	return err
}

// Open is how many connections there are.
func (d *Door) Open() int { return d.loop.Open() }

// changed hears what changed of a publisher, here or at another node.
func (d *Door) changed(ctx context.Context, c publisher.Change) {
	switch c.Kind {
	case publisher.Revoked:
		if err := d.cfg.Mailboxes.Purge(ctx, c.User, c.Publisher); err != nil {
			d.log.WarnContext(ctx, "notifications of a publisher that was revoked stay until their time is over", "error", err)
		}
		for _, l := range d.listeners(c.Publisher) {
			l.bury(c.UID)
		}
	case publisher.Deactivated, publisher.Removed:
		for _, l := range d.listeners(c.Publisher) {
			l.leave(codeAccess, "the API key is void")
		}
	case publisher.Activated:
		d.begin(ctx, c.Publisher)
	}
}

// Missed says that changes at other nodes may not have been heard of: publishers
// that are connected are told of revocations anew, and of a key that is void.
func (d *Door) Missed() {
	for _, l := range d.listeners("") {
		l.poke()
	}
}

// begin makes a publisher's queue begin now, if it has none yet.
func (d *Door) begin(ctx context.Context, id string) {
	end, err := d.cfg.Facts.End(ctx)
	if err == nil {
		_, err = d.cfg.Publishers.EditQueue(ctx, id, func(q *publisher.Queue) bool {
			first := q.Position == ""
			if first {
				q.Position, q.At = end.String(), presence.At(time.Now())
			}
			return first
		})
	}
	if err != nil {
		d.log.WarnContext(ctx, "a publisher's queue begins with its first connection", "publisher", id, "error", err)
	}
}

// listeners are the connections of a publisher, of all with "".
func (d *Door) listeners(id string) (all []*listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for of, set := range d.open {
		if id == "" || of == id {
			for l := range set {
				all = append(all, l)
			}
		}
	}
	return all
}

// called tells of what was answered.
func (d *Door) called(method, code string, took time.Duration) {
	if d.cfg.Called != nil {
		d.cfg.Called(method, code, took)
	}
}

// recovered is deferred where a peer's words are handled: a panic ends that, and
// the node lives on.
func (d *Door) recovered(what string, then func()) {
	if p := recover(); p != nil {
		d.log.Error("panic", "door", Name, "method", what, "panic", p, "stack", string(debug.Stack()))
		then()
	}
}

// ServeHTTP finds who answers a path.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, rest, deeper := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	upgrade := r.Header.Get("Upgrade") != ""
	switch {
	case first == SegmentDevices && !deeper:
		d.serveDevice(w, r)
	case first == SegmentPublishers && upgrade && publisher.ValidID(rest):
		d.servePublisher(w, r, rest)
	case publisher.ValidID(first) && !deeper && upgrade:
		d.servePublisher(w, r, first)
	case publisher.ValidID(first) && rest == "notification":
		d.answer(w, r, "notification", func() (any, error) { return d.post(w, r, first) })
	case publisher.ValidID(first) && rest == "presence":
		d.answer(w, r, "presence", func() (any, error) { return d.query(r, first) })
	case publisher.ValidID(first) && rest == "presence.json":
		d.stream(w, r, first)
	case d.cfg.Pages != nil && first != SegmentDevices:
		d.cfg.Pages.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}
