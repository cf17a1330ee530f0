package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a node needs to take part.
type Config struct {
	// Name is the node's, the same at each start; no two nodes may share one.
	Name string
	// Incarnation is this start's number, from the cluster's durable counter.
	Incarnation Incarnation
	// Next takes another number from that counter, for a node that comes back when
	// the others gave it up. Nil: such a node takes no part until it is restarted.
	Next func(ctx context.Context) (Incarnation, error)
	// Version is of the program, to be shown.
	Version string
	// Fingerprint is of all configuration that must be the same everywhere. A node
	// with another one is refused.
	Fingerprint uint64
	// Prefix is what the transport puts before all subjects, to be named in errors;
	// empty means DefaultPrefix.
	Prefix string
	// Return is how long a lost node may return as the same incarnation: the grace
	// of sessions. Zero means DefaultReturn.
	Return time.Duration

	Transport Transport
	Liveness  Liveness
	Table     Table
	Listener  Listener
	Logger    *slog.Logger // nil: silence
}

// What Config says when it says nothing.
const (
	DefaultPrefix = "pl"
	DefaultReturn = 6 * time.Second
)

// maxName is the most bytes of a node's name: it is in every heartbeat.
const maxName = 128

// check completes a configuration, or says what is missing.
func (cfg *Config) check() error {
	switch {
	case cfg.Name == "":
		return errors.New("cluster: the node has no name")
	case len(cfg.Name) > maxName:
		return fmt.Errorf("cluster: the node's name has %d bytes: at most %d", len(cfg.Name), maxName)
	case cfg.Incarnation == 0:
		return errors.New("cluster: the node has no incarnation")
	case cfg.Transport == nil || cfg.Liveness == nil || cfg.Table == nil || cfg.Listener == nil:
		return errors.New("cluster: transport, liveness, table and listener are all needed")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.Return <= 0 {
		cfg.Return = DefaultReturn
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

const (
	// startLimit is how long a start waits for the quorum, when its ctx does not end
	// before: long enough for the election of a leader (engine.md).
	startLimit = 15 * time.Second
	// meetLimit is how long a start waits to hear those whom the quorum knows: a
	// node with another configuration says so within a beat.
	meetLimit = 3 * Beat
)

// Cluster is one node's part in it. Make it with New.
type Cluster struct {
	cfg     Config
	log     *slog.Logger
	out     *outbox
	topics  map[string]Topic
	methods map[string]Call
	counts  counters
	clock   atomic.Pointer[clock]
	seats   atomic.Pointer[[]seat]
	pullID  atomic.Uint64
	callID  atomic.Uint64
	slots   chan struct{} // calls being served
	serving chan struct{} // pulls being served
	memory  recall        // of the goroutine that takes calls
	kick    chan struct{} // the lease should be seen to
	news    chan struct{} // events wait
	failed  chan struct{} // closed with err

	ctx  context.Context // of all goroutines; set by Start
	life lifetime

	// mu guards what follows. No call of the transport, the quorum, the table or the
	// listener is made under it; an origin's mu is never taken under it.
	mu sync.Mutex
	membership
}

// membership is who is there, and how this node itself counts.
type membership struct {
	self        Incarnation
	fingerprint uint64
	place       int
	peers       map[Incarnation]*peer
	past        map[string]Incarnation // by name: the highest that left or is gone
	refusals    map[Incarnation]bool
	calls       map[uint64]waiting // by a number of theirs
	events      []event
	after       []func() // to be done when mu is given back
	beats       beats
	echoed      uint64    // the highest counter of this node's own that came back
	acked       time.Time // when the last renewal began that the quorum acknowledged
	lives       map[life]renewal
	readAt      time.Time // when the last reading of lives began
	buried      []life    // to be taken away from the quorum
	fenced      bool      // the others gave this incarnation up
	wellSince   time.Duration
	thaw        thaw
	err         error
}

// clock is time that stands still while the process does.
type clock struct {
	ran time.Duration
	at  time.Time
}

// lifetime is what goroutines and subscriptions need to end.
type lifetime struct {
	running sync.WaitGroup
	sending sync.WaitGroup

	mu       sync.Mutex // guards what follows
	started  bool
	closed   bool
	stopSend context.CancelFunc
	stopAll  context.CancelFunc
	subs     []func() // for good
	own      []func() // for this incarnation
}

// New makes a node that takes no part before Start. Handle and Listen come in
// between.
func New(cfg Config) (*Cluster, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger, out: newOutbox(cfg.Incarnation),
		topics: map[string]Topic{}, methods: map[string]Call{},
		slots: make(chan struct{}, maxCalls), serving: make(chan struct{}, maxServing),
		kick: make(chan struct{}, 1), news: make(chan struct{}, 1), failed: make(chan struct{}),
		membership: membership{
			self: cfg.Incarnation, fingerprint: cfg.Fingerprint,
			peers: map[Incarnation]*peer{}, past: map[string]Incarnation{}, refusals: map[Incarnation]bool{}, calls: map[uint64]waiting{},
		},
	}
	c.clock.Store(&clock{at: time.Now()})
	c.reseat()
	return c, nil
}

// Start joins the cluster: the quorum acknowledges this node, and those whom it
// knows are heard, or were waited for. It fails with one clear error when there is
// no quorum, when a member has another configuration or speaks another protocol,
// or when the node's name is taken. The sessions of others come afterwards
// (Loaded). A Cluster is started once.
func (c *Cluster) Start(ctx context.Context) error {
	c.life.mu.Lock()
	if c.life.started || c.life.closed {
		c.life.mu.Unlock()
		return errors.New("cluster: started already")
	}
	c.life.started = true
	// What runs from now on outlives the start; Stop ends it.
	c.ctx, c.life.stopAll = context.WithCancel(context.WithoutCancel(ctx))
	var send context.Context
	send, c.life.stopSend = context.WithCancel(c.ctx)
	c.life.mu.Unlock()

	others, err := c.enter(ctx)
	if err == nil {
		err = c.subscribe()
	}
	if err != nil {
		c.close()
		return err
	}
	c.life.sending.Go(func() { c.send(send) })
	c.clock.Store(&clock{at: time.Now()})
	c.beat(false)
	for _, f := range []func(){c.run, c.lease, c.deliver} {
		c.goes(f)
	}
	if err := c.meetOthers(ctx, others); err != nil {
		_ = c.Stop(context.WithoutCancel(ctx))
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place = here
	self := c.self
	c.emit(nil, func(l Listener) { l.Joined(self) })
	c.log.Info("this node is a member", "node", c.cfg.Name, "incarnation", self, "others", others)
	return nil
}

// enter is acknowledged by the quorum and reads whom it knows.
func (c *Cluster) enter(ctx context.Context) (others int, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	again := time.NewTicker(Beat)
	defer again.Stop()
	for {
		if err = c.renew(ctx); err == nil {
			if others, err = c.read(ctx); err == nil {
				return others, c.Err()
			}
		}
		if failed := c.Err(); failed != nil {
			return 0, failed
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("cluster: no quorum acknowledged this node within %v (a majority of the NATS servers must run and reach each other): %w", startLimit, err)
		}
	}
}

// meetOthers waits until those are heard whom the quorum knows, within limits.
func (c *Cluster) meetOthers(ctx context.Context, others int) error {
	if others == 0 {
		return nil
	}
	limit := time.NewTimer(meetLimit)
	defer limit.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-c.failed:
			return c.Err()
		case <-limit.C:
			return nil // they are dead, or will be told apart later
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if c.metAll() {
				return nil
			}
		}
	}
}

func (c *Cluster) metAll() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if p.counts() && p.origin == nil {
			return false
		}
	}
	return c.echoed > 0
}

// subscribe listens to all but others' logs.
func (c *Cluster) subscribe() error {
	stop, err := c.cfg.Transport.Subscribe(beatSubject, c.hear)
	if err != nil {
		return fmt.Errorf("cluster: cannot subscribe to heartbeats: %w", err)
	}
	c.life.mu.Lock()
	c.life.subs = append(c.life.subs, stop)
	c.life.mu.Unlock()
	return c.resubscribe(c.Self())
}

// resubscribe listens to what is sent to one incarnation of this node, and no
// more to what was sent to the one before.
func (c *Cluster) resubscribe(self Incarnation) error {
	calls, err := c.cfg.Transport.Subscribe(c.subject("call", self), c.asked)
	if err != nil {
		return fmt.Errorf("cluster: cannot subscribe to calls: %w", err)
	}
	own := []func(){calls}
	shards, err := c.cfg.Transport.Subscribe(c.subject("sh", self), func(_ string, b []byte, _ func([]byte)) { c.part(b) })
	if err != nil {
		calls()
		return fmt.Errorf("cluster: cannot subscribe to shards: %w", err)
	}
	own = append(own, shards)
	c.life.mu.Lock()
	c.life.own, own = own, c.life.own
	closed := c.life.closed
	if closed {
		own = append(own, c.life.own...)
		c.life.own = nil
	}
	c.life.mu.Unlock()
	for _, stop := range own {
		stop()
	}
	return nil
}

// Stop says goodbye, after all that was given to Change and Tell, and ends
// everything. It takes two seconds at most, or less when ctx ends sooner. Further
// calls, and calls before Start, do nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	c.life.mu.Lock()
	if !c.life.started || c.life.closed {
		c.life.closed = true
		c.life.mu.Unlock()
		return nil
	}
	c.life.mu.Unlock()

	c.life.stopSend()
	c.life.sending.Wait()
	c.beat(true)
	c.beat(true) // it costs nothing, and saves the others three seconds if one is lost
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := c.cfg.Liveness.Leave(ctx, c.cfg.Name, c.Self())
	c.close()
	if err != nil {
		return fmt.Errorf("cluster: goodbye is said, but the quorum keeps this node's record until it ages out: %w", err)
	}
	return nil
}

// close ends all goroutines and subscriptions.
func (c *Cluster) close() {
	c.life.mu.Lock()
	c.life.closed = true
	subs := append(c.life.subs, c.life.own...)
	c.life.subs, c.life.own = nil, nil
	c.life.mu.Unlock()
	c.life.stopSend()
	c.life.stopAll()
	for _, stop := range subs {
		stop()
	}
	c.mu.Lock()
	c.place = outside
	var origins []*origin
	for _, p := range c.peers {
		if p.origin != nil {
			origins = append(origins, p.origin)
		}
	}
	c.mu.Unlock()
	for _, o := range origins {
		o.end()
	}
	c.life.sending.Wait()
	c.life.running.Wait()
}

// goes runs f on a goroutine that Stop waits for. It reports false, and runs
// nothing, when everything ends.
func (c *Cluster) goes(f func()) bool {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.closed {
		return false
	}
	c.life.running.Go(f)
	return true
}

// Failed is closed when this node can take no part any more, until it is started
// anew; Err says why.
func (c *Cluster) Failed() <-chan struct{} { return c.failed }

// Err returns why this node takes no part any more, or nil.
func (c *Cluster) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// subject names where messages of a kind go.
func (c *Cluster) subject(kind string, incarnation Incarnation) string {
	return kind + "." + strconv.FormatUint(incarnation, 10)
}

// now is the time that this node has run: a pause counts little.
func (c *Cluster) now() time.Duration {
	k := c.clock.Load()
	return k.ran + min(time.Since(k.at), 2*tick)
}

// run looks at everything, every tick, until Stop.
func (c *Cluster) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	beat := time.Now().Add(Beat)
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		now := time.Now()
		last := c.clock.Load()
		gap := now.Sub(last.at)
		ran := gap
		if gap > standstill {
			ran = 2 * tick
		}
		c.clock.Store(&clock{last.ran + ran, now})
		if c.look(gap) {
			c.beat(false)
		}
		if !now.Before(beat) {
			beat = now.Add(Beat - tick/2) // ticks are not exact; a beat must not slip to the next
			c.beat(false)
			c.tellDigests()
		}
	}
}

// look judges everybody, this node too. It reports whether the others should hear
// of it at once.
func (c *Cluster) look(gap time.Duration) (urgent bool) {
	c.mu.Lock()
	now := c.now()
	if gap > standstill {
		c.freeze(gap)
		urgent = true
		c.kickLease()
	}
	if c.judge(now) {
		urgent = true
		c.kickLease() // the members must be read since
	}
	c.locate(now)
	c.cutCalls()
	type seen struct {
		o     *origin
		heard bool
		told  uint64
	}
	var all []seen
	for _, p := range c.everybody() {
		if p.origin != nil && p.counts() {
			all = append(all, seen{p.origin, p.standing == Alive, p.told})
		}
	}
	c.settleAfter()
	for _, s := range all {
		s.o.tick(s.heard, s.told)
	}
	return urgent
}

// tellDigests puts the digests of this node's sessions into its log.
func (c *Cluster) tellDigests() {
	c.mu.Lock()
	alone, self := len(c.peers) == 0, c.self
	c.mu.Unlock()
	if alone {
		return
	}
	var d Digests
	c.cfg.Table.Digests(self, &d)
	c.out.digests(&d)
}
