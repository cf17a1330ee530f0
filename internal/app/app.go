// Package app is the one place where everything meets: it makes the parts of a
// node of a configuration, wires them and starts and stops them in order. It
// has no rule of its own.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/isonline"
	"github.com/porchlight-dev/porchlight/internal/door/live"
	restdoor "github.com/porchlight-dev/porchlight/internal/door/rest"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/lifecycle"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	grants "github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Params are what a node is made of. Config and Logger are required.
type Params struct {
	Config *config.Config
	// Temporary says that the data directory goes with the process.
	Temporary bool
	// GRPC and HTTP, when not nil, are listened on in place of Config.Listen.
	// With GRPC given and HTTP nil there is no HTTP port.
	GRPC, HTTP net.Listener
	// Friends has the friend lists of apps in place of what Config names.
	Friends map[presence.AppID]roster.Source
	// Demo serves the demo page, which signs in whoever asks.
	Demo bool
	// Nodes makes the node one of several; nil: it is alone.
	Nodes *Nodes
	// Usage measures the disk of the data directory; nil asks the system.
	Usage func(dir string) (natsstore.Usage, error)
	// Webhooks makes what webhooks are sent with; nil is the network.
	Webhooks func(outbound.Config) webhook.Sender
	Logger   *slog.Logger
	// Version is the program's, for who asks.
	Version string
}

// App is one node. Make it with New, then Start and Stop it once.
type App struct {
	p      Params                        // Config is the one of the start
	config atomic.Pointer[config.Config] // the newest
	parts  lifecycle.List
	log    *slog.Logger

	core
	nodes   several
	wheel   *wheel.Wheel
	bus     *natsbus.Bus
	store   *natsstore.Store
	sources map[presence.AppID]source
	// publishers are those whose keys verifier believes.
	publishers map[presence.AppID]publisher
	verifier   *token.Verifier
	// shortest and longest are the heartbeat time-outs that the door began with.
	shortest, longest time.Duration
	texts             localize.Set
	gate              *admit.Gate
	door              *isonline.Door
	live              *live.Door
	api               *restdoor.Door
	foreign           foreign
	telling           telling
	http              *http.Server
	ready             atomic.Bool

	proxies      listen.Proxies
	certificates *listen.Certificates // nil: both ports are in the clear

	metrics *telemetry.Metrics
	rest    *rest
	failed  chan error
}

// core is what the doors are built on.
type core struct {
	tracker     *tracker.Tracker
	hub         *hub.Hub
	roster      *roster.Roster
	topics      *topic.Topics
	mailboxes   *mailbox.Mailboxes
	revocations *revoke.Revocations
	grants      *grants.Registry // and publishers, of the Mozilla interface
}

// New checks the parameters; nothing is opened before Start.
func New(p Params) (*App, error) {
	if err := p.Config.Check(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if p.Config.Data == "" {
		return nil, errors.New("configuration: data: a directory is needed for what must survive a restart")
	}
	texts, err := p.Config.Texts()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	a := &App{p: p, log: p.Logger, failed: make(chan error, 4)}
	a.config.Store(p.Config)
	a.setTexts(texts)
	if err := a.makeMetrics(); err != nil {
		return nil, err
	}
	a.parts.Add("room", a.startRoom, a.stopRoom)
	a.parts.Add("clock", a.startClock, a.stopClock)
	a.parts.Add("engine", a.startEngine, a.stopEngine)
	a.parts.Add("store", a.startStore, a.stopStore)
	a.parts.Add("tracker", a.startTracker, a.stopTracker)
	a.parts.Add("roster", a.startRoster, a.stopRoster)
	a.parts.Add("topics", a.startTopics, a.stopTopics)
	a.parts.Add("mailboxes", a.startMailboxes, a.stopMailboxes)
	a.parts.Add("nodes", a.startNodes, a.stopNodes)
	a.parts.Add("facts", a.startFacts, a.stopFacts)
	a.parts.Add("webhooks", a.startWebhooks, a.stopWebhooks)
	a.parts.Add("keys", a.startKeys, a.stopKeys)
	a.parts.Add("ports", a.startPorts, a.stopPorts)
	a.parts.Add("grpc", a.startGRPC, a.stopGRPC)
	a.parts.Add("live", a.startLive, a.stopLive)
	a.parts.Add("mozpresence", a.startMozpresence, a.stopMozpresence)
	a.parts.Add("stringee", a.startStringee, a.stopStringee)
	a.parts.Add("http", a.startHTTP, a.stopHTTP)
	a.parts.Add("own ports", a.startOwnPorts, a.stopOwnPorts)
	a.parts.Add("memory", a.startRest, a.stopRest)
	a.parts.Add("ready", a.markReady, a.drain)
	return a, nil
}

// Start opens everything and returns when calls are taken.
func (a *App) Start(ctx context.Context) error { return a.parts.Start(ctx) }

// Stop tells devices to come back, writes the checkpoint and closes
// everything. What was acknowledged is on disk already.
func (a *App) Stop(ctx context.Context) error { return a.parts.Stop(ctx) }

// Failed gives an error when a port stops taking connections by itself.
func (a *App) Failed() <-chan error { return a.failed }

// API is the server API as the HTTP port has it; nil before Start.
func (a *App) API() http.Handler {
	if a.api == nil {
		return nil
	}
	return a.api
}

// Roster has the friend lists and blocks; nil before Start.
func (a *App) Roster() *roster.Roster { return a.roster }

// GRPCAddr and HTTPAddr are the addresses listened on, or nil.
func (a *App) GRPCAddr() net.Addr { return addr(a.p.GRPC) }

// HTTPAddr is the address of the HTTP port, or nil.
func (a *App) HTTPAddr() net.Addr { return addr(a.p.HTTP) }

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

func (a *App) startClock(context.Context) error {
	a.wheel = wheel.New(func(gap time.Duration) {
		a.log.Warn("the process stood still; deadlines are later by that", "gap", gap.Round(time.Millisecond).String())
	})
	a.wheel.Start()
	return nil
}

func (a *App) stopClock(context.Context) error { a.wheel.Stop(); return nil }

func (a *App) startEngine(ctx context.Context) (err error) {
	if err := os.MkdirAll(a.p.Config.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if a.bus, err = natsbus.New(a.engine()); err != nil {
		return err
	}
	return a.bus.Start(ctx)
}

func (a *App) stopEngine(ctx context.Context) error { return a.bus.Stop(ctx) }

func (a *App) startStore(ctx context.Context) (err error) {
	a.store, err = natsstore.Open(ctx, natsstore.Config{
		Bus: a.bus, MaxBytes: a.p.Config.LogMaxBytes, Temporary: a.p.Temporary, Usage: a.p.Usage, Logger: a.log,
	})
	return err
}

func (a *App) stopStore(ctx context.Context) error { return a.store.Stop(ctx) }

func (a *App) startTracker(ctx context.Context) error {
	incarnation, err := a.store.Next(ctx, incarnations)
	if err != nil {
		return fmt.Errorf("take an incarnation: %w", err)
	}
	a.telling.term = incarnation
	if err := a.makeNodes(ctx, incarnation); err != nil {
		return err
	}
	a.tracker = tracker.New(tracker.Config{
		Policies: a.p.Config.Policies(), Log: timed{a.store, a.metrics.Appended}, Checkpoints: a.store, Incarnation: incarnation,
		RestartGrace: a.p.Config.RestartGrace, Wheel: a.wheel, Logger: a.log, Cluster: a.peers(),
	})
	if err := a.makeRoster(); err != nil {
		return err
	}
	if err := a.makeTopics(); err != nil {
		return err
	}
	a.hub = hub.New(a.tracker, sights{a.roster})
	if a.nodes.cluster != nil {
		a.hub.OneOfSeveral()
	}
	a.roster.Listen(sighted{a.hub, a.topics})
	a.tracker.Listen(listeners{a.hub, a.roster, a.topics, &a.foreign.stringee}, a.hub)
	return a.tracker.Start(ctx)
}

func (a *App) stopTracker(ctx context.Context) error {
	return a.lastOnes("the checkpoint is not written to its end; the next start reads more of the log", a.tracker.Stop(ctx))
}

func (a *App) startGRPC(ctx context.Context) error {
	ring, err := a.ring(ctx, a.p.Config)
	if err != nil {
		return err
	}
	shortest, longest := a.p.Config.Timeouts()
	a.shortest, a.longest = shortest, longest
	a.gate = admit.New(admit.Config{
		Tracker: a.tracker, Hub: a.hub, Roster: sights{a.roster}, Topics: a.topics, Verifier: a.verifier, Ring: ring,
		Limits: a.p.Config.DoorLimits(), Revocations: a.revocations, Origins: a.p.Config.Origins(),
	})
	a.door = isonline.New(isonline.Config{
		Gate: a.gate, Tracker: a.tracker, Wheel: a.wheel, Texts: &a.texts, ShortestTimeout: shortest, LongestTimeout: longest, Logger: a.log,
		Proxies: &a.proxies, TLS: a.tls(), Called: a.called("isonline"), Nodes: a.forwarding(),
	})
	go func() {
		if err := a.door.Serve(a.p.GRPC); err != nil {
			a.failed <- fmt.Errorf("grpc: %w", err)
		}
	}()
	return nil
}

func (a *App) stopGRPC(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	return a.door.Stop(ctx)
}

func (a *App) startLive(ctx context.Context) error {
	a.live = live.New(live.Config{
		Gate: a.gate, Tracker: a.tracker, Mailboxes: a.mailboxes, Wheel: a.wheel, Texts: &a.texts, ShortestTimeout: a.shortest, Logger: a.log,
		Limits: a.p.Config.ConnectionLimits(), Called: a.called(live.Name),
	})
	return a.live.Start(ctx)
}

func (a *App) stopLive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	return a.live.Stop(ctx)
}

// ring is the keys of session tokens: kept beside the data, so that tokens are
// good after a restart, or with several nodes in the store, so that they are at
// all of them.
func (a *App) ring(ctx context.Context, c *config.Config) (*token.Ring, error) {
	if a.p.Nodes != nil && c.SessionKeys == "" {
		return a.sharedRing(ctx)
	}
	return token.LoadRing(a.ringFile(c))
}

func (a *App) ringFile(c *config.Config) string {
	if c.SessionKeys != "" {
		return c.SessionKeys
	}
	return filepath.Join(a.p.Config.Data, ringName)
}

func (a *App) startRest(context.Context) error {
	a.rest = startRest(func() { a.hub.Rest(); a.gate.Rest() })
	return nil
}

func (a *App) stopRest(ctx context.Context) error { return a.rest.stop(ctx) }
