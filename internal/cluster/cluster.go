package cluster

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Cluster is one node's part in it. Make it with New.
type Cluster struct {
	cfg      Config
	log      *slog.Logger
	out      *outbox
	topics   map[string]Topic
	methods  map[string]Call
	counts   counters
	clock    atomic.Pointer[clock]
	summing  atomic.Bool // the table is asked for the digests of this node's sessions
	seats    atomic.Pointer[[]seat]
	pullID   atomic.Uint64
	callID   atomic.Uint64
	slots    chan struct{} // calls being served
	serving  chan struct{} // pulls being served
	uncalled bool          // of the goroutine that keeps the lease: no calls come to this incarnation
	poke     chan struct{} // the lease should be seen to
	news     chan struct{} // events wait
	failed   chan struct{} // closed with err

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
		poke: make(chan struct{}, 1), news: make(chan struct{}, 1), failed: make(chan struct{}),
		membership: membership{
			self: cfg.Incarnation, fingerprint: cfg.Fingerprint,
			peers: map[Incarnation]*peer{}, past: map[string]Incarnation{}, refusals: map[Incarnation]bool{}, calls: map[uint64]waiting{},
		},
	}
	c.methods[methodReach] = c.serveReach
	c.clock.Store(&clock{at: time.Now()})
	c.reseat()
	return c, nil
}

// subject names where messages of a kind go.
func (c *Cluster) subject(kind string, incarnation Incarnation) string {
	return kind + "." + strconv.FormatUint(incarnation, 10)
}
