package tracker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Peers are the other nodes, as a tracker needs them. Incarnations name nodes.
type Peers interface {
	// Change tells all of them of a session; it may be called with locks of the
	// tracker held, and b is the caller's again after it.
	Change(shard int, b []byte)
	// Call asks one of them. It fails with NodeUnavailable when nobody answers.
	Call(ctx context.Context, node uint64, method string, b []byte) ([]byte, error)
	// Nodes lists the others that are heard.
	Nodes() []uint64
	// Reach returns when each of them has all that was given to Change before, or falls
	// silent, or ctx ends.
	Reach(ctx context.Context)
	// Here reports whether this node takes part, and did not stand still just now.
	Here() bool
	// Owner is the node, of those that are heard and this one, to which a key falls.
	Owner(key []byte) uint64
	// Heir is the one that is next, should the owner not do what it must.
	Heir(key []byte) uint64
}

// Cluster is what a tracker needs beside its Config to be one of several nodes.
type Cluster struct {
	Peers   Peers
	Reading store.Reading   // of the log that all of them share
	Notes   store.NodeNotes // nil: nothing but the log outlives a node
}

// peering is what a tracker keeps as one of several nodes.
type peering struct {
	Peers
	Reading store.Reading
	Notes   store.NodeNotes
	// frozen: this node is cut off, or stood still; it ends nothing and claims
	// nothing until it is joined again.
	frozen atomic.Bool
	stale  atomic.Int32 // how many origins are not heard
	// informed: the others said which sessions are held; before that none ends whose node is gone.
	informed atomic.Bool
	sweep    wheel.Timer
	joining  sync.WaitGroup
	resting  atomic.Uint32 // the shard that was packed last
	owing    atomic.Bool   // some shard has sessions of which the log must hear, or to retake

	mu      sync.Mutex // guards all below; it is taken after a shard's, and nothing after it
	origins map[uint64]*origin
	// flying are the own claims that the follower has not read.
	flying map[claimKey][]func(error) func()
	lists  map[listKey]*listing

	reading chan struct{} // holds one for each read of what nodes noted

	asking asking // of the others, about nodes that are gone

	withheld []ending // ends that are not shown before the others have them
	reaching bool     // somebody waits for the others

	garbled  unread // of what others told
	unlisted unread // of what gone nodes noted

	freezes uint64          // how often frozen began
	renewed bool            // it has another number since then
	ctx     context.Context // of what runs behind; ends with Stop
	end     context.CancelFunc
	stopped chan struct{}
	failed  chan error // takes one
}

// origin is what is known of a node that has, or had, sessions here.
type origin struct {
	incarnation uint64
	since       presence.Time // not heard since; 0: heard
	// over is when its sessions began to wait for somebody who takes them over: it
	// is lost, or left; less than 0 if this node started since. 0: it is not over.
	over  time.Duration // the wheel's time
	alive presence.Time // when it last said that it lives
	// kept: it said goodbye, or every node started anew: sessions wait as they do
	// for a restart.
	kept    bool
	guess   bool          // nobody heard it since this node started: kept and over are guessed
	agreed  bool          // all other nodes say the same alive
	met     time.Duration // the wheel's time of the first sweep that met it so; 0: none
	scanned bool          // its sessions that were closed then were looked at
	heeded  bool          // those of whose end it told were looked for, when it was gone
	// going are those who were packed and have sessions of it, by shard, as far as they
	// were looked for before its grace is over.
	going [][]presence.User
}

// shardPeers is what a shard has as one of several nodes; its lock guards it.
type shardPeers struct {
	digests  map[uint64]uint64   // by the owner of the sessions
	told     map[*session]uint64 // what of an own session is in the digest
	unclosed []unclosed
	// retaking are own sessions to be opened anew when the operation under way is over.
	retaking map[*session]bool
	owing    *atomic.Bool             // of all shards: some have such sessions
	packed   map[presence.User]packed // users of other nodes' sessions, at rest
	left     map[presence.SessionID]*leaver
	withheld map[ended]*user // ends that are not shown yet
	scratch  []byte
	fire     func(*session) // Tracker.fire
}

// sweepEvery is how often deadlines of lost nodes' sessions are looked at: the
// promise of ten seconds (R1) has a second to spare.
const sweepEvery = 200 * time.Millisecond

var (
	errElsewhere = fault.Retry(fault.NodeUnavailable, time.Second, "another node has the session; ask again")
	errNodeGone  = fault.Retry(fault.NodeUnavailable, time.Second, "the node that had the session is not heard; connect the session's stream again, to another node")
	errUnsure    = fault.Retry(fault.NodeUnavailable, time.Second, "the session has no stream here, and whether another node has it cannot be known now; connect its stream, or try again")
	errIsolated  = fault.Retry(fault.NodeUnavailable, 2*time.Second, "this node is cut off from the others; connect to another one")
)

// present reports whether this node takes part, and did not stand still just now: it
// may claim something.
func (p *peering) present() bool { return !p.frozen.Load() && p.Here() }

func newPeering(c *Cluster) *peering {
	return &peering{
		Peers: c.Peers, Reading: c.Reading, Notes: c.Notes,
		origins: map[uint64]*origin{}, flying: map[claimKey][]func(error) func(){}, lists: map[listKey]*listing{},
		reading: make(chan struct{}, listsAtOnce),
		end:     func() {}, stopped: make(chan struct{}), failed: make(chan error, 1),
	}
}

// Incarnation is the number by which other nodes know this one.
func (t *Tracker) Incarnation() uint64 { return t.incarnation.Load() }

// OwnerOf names the node that has a session; false when nothing is known of it
// here: then the incarnation of its token's epoch made it.
func (t *Tracker) OwnerOf(ref Ref) (incarnation uint64, ok bool) {
	sh, s, err := t.find(ref)
	if err != nil {
		return 0, false
	}
	defer sh.mu.Unlock()
	if s.foreign {
		return s.epoch.Incarnation, true
	}
	return t.incarnation.Load(), true
}

// tell tells the other nodes of s as it stands. The lock is held.
func (t *Tracker) tell(s *session) {
	if t.peers == nil || s.foreign {
		return
	}
	n := t.shardIndex(s.user.name)
	sh := &t.shards[n]
	sh.peers.count(t.incarnation.Load(), sh.peers.told[s])
	if mark := s.mark(); mark == 0 {
		delete(sh.peers.told, s)
	} else {
		sh.peers.told[s] = mark
		sh.peers.count(t.incarnation.Load(), mark)
	}
	m := s.told()
	t.peers.Change(n, m.append(nil))
}

// untell takes s out of the digest of this node's own. The lock is held.
func (t *Tracker) untell(sh *shard, s *session) {
	sh.peers.count(t.incarnation.Load(), sh.peers.told[s])
	delete(sh.peers.told, s)
}

// untellErased takes a session whose user is erased out of the digests. The lock
// is held.
func (t *Tracker) untellErased(sh *shard, s *session) {
	if !s.foreign {
		t.untell(sh, s)
		return
	}
	sh.peers.count(s.epoch.Incarnation, s.mark())
}

// count puts a session's mark into the digest of its owner, or takes it out.
func (p *shardPeers) count(owner, mark uint64) {
	if mark == 0 {
		return
	}
	if d := p.digests[owner] ^ mark; d != 0 {
		p.digests[owner] = d
	} else {
		delete(p.digests, owner)
	}
}

// mark is the number that stands for an open session, as it is, in digests.
func (s *session) mark() uint64 {
	if !s.phase.Open() {
		return 0
	}
	h := uint64(0)
	for i := range 8 {
		h = h<<8 | uint64(s.id[i]^s.id[i+8]<<1)
	}
	for _, n := range [...]uint64{uint64(s.epoch.Counter), s.epoch.Incarnation, s.revision} {
		h = (h ^ n) * 0x9e3779b97f4a7c15
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 32
	}
	return h | 1
}

// Stale is since when something of the whole picture may be old, because a node is
// not heard whose sessions were not given up; 0: nothing is.
func (t *Tracker) Stale() (since presence.Time) {
	p := t.peers
	if p == nil || p.stale.Load() == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.oldestSilence()
}

// oldestSilence is since when any node is not heard that is not given up; mu is held.
func (p *peering) oldestSilence() (since presence.Time) {
	for _, o := range p.origins {
		if o.since != 0 && o.over == 0 && (since == 0 || o.since < since) {
			since = o.since
		}
	}
	return since
}

// staleness is since when the picture of a user may be old, because the node
// that knows more of him is not heard; 0: it is not. The shard's lock is held; u
// may be nil.
func (t *Tracker) staleness(u *user) (since presence.Time) {
	p := t.peers
	if p == nil || p.stale.Load() == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if u == nil || u.empty() {
		return p.oldestSilence() // any of them may know him
	}
	// Sessions that others do not see count as those of one who left, or staleness
	// would tell the two apart.
	here := false
	for _, s := range u.sessions {
		if !s.phase.Open() || !s.shown.Open() {
			continue
		}
		if here = true; !s.foreign {
			continue
		}
		if o := p.origins[s.epoch.Incarnation]; o != nil && o.since != 0 && (since == 0 || o.since < since) {
			since = o.since
		}
	}
	if !here {
		return p.oldestSilence() // he may have come to any of them since
	}
	return since
}

// join makes the tracker one of several nodes.
func (t *Tracker) join(c *Cluster) {
	t.peers = newPeering(c)
	t.peers.sweep.Fire = t.beginSweep
	for i := range t.shards {
		t.shards[i].peers = &shardPeers{digests: map[uint64]uint64{}, told: map[*session]uint64{}, packed: map[presence.User]packed{}, retaking: map[*session]bool{}, withheld: map[ended]*user{}, fire: t.fire, owing: &t.peers.owing}
	}
}

// Failed gives an error when this node, one of several, cannot go on until it is
// started anew: it cannot read on in the log. On a single node it never does.
func (t *Tracker) Failed() <-chan error {
	if t.peers == nil {
		return nil
	}
	return t.peers.failed
}

func (t *Tracker) startPeers() {
	ctx, cancel := context.WithCancel(context.Background())
	t.peers.mu.Lock()
	t.peers.ctx, t.peers.end = ctx, cancel
	t.peers.mu.Unlock()
	go t.follow(ctx)
	t.wheel.Set(&t.peers.sweep, sweepEvery)
}

func (t *Tracker) stopPeers(ctx context.Context) {
	t.peers.mu.Lock()
	t.peers.end()
	t.peers.mu.Unlock()
	t.wheel.Clear(&t.peers.sweep) // one that runs now is the last
	select {
	case <-t.peers.stopped:
	case <-ctx.Done():
	}
	t.peers.joining.Wait()
}

// ended reports that the tracker stops.
func (p *peering) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx.Err() != nil
}
