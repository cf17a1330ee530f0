// Package lease decides which of several nodes does what only one may do, such
// as telling a webhook: one duty at a time, under a term that grows with each
// change of hands, and with a time until when nobody else will begin.
//
// It keeps nothing on disk but the counter of terms. Who is to have a duty
// follows from the members of the cluster alone (rendezvous), so all nodes with
// the same view agree; what keeps two of different views apart is time. A node
// has its duties for Length after it was confirmed last: acknowledged by the quorum,
// and heard by so many of the others that the rest could not call it lost. Who
// follows it begins no sooner than Length after any of those who called it lost
// heard it last. That is the same moment or a later one, so no two have a duty at
// once (design §6: an attempt starts only if the lease outlives its time-out).
// What slips through all the same is fenced by the term, which the store checks: a
// process that stood still between asking Held and acting; a new node that is not
// heard by who had the duty, and hears him; clocks of which one runs faster.
package lease

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Length is how long after it was last confirmed a node still has its duties, and
// how long its successor waits at most: so much less than 5 s that he has begun by
// then.
const Length = 4500 * time.Millisecond

// retry is the pause after a term that could not be had.
const retry = 250 * time.Millisecond

// Cluster is what leases stand on; *cluster.Cluster is one, with an adapter in app.
type Cluster interface {
	// Self is this node's incarnation.
	Self() uint64
	// Owner is whose the key is among those who are alive, 0 when nobody's.
	Owner(key []byte) uint64
	// Renewed is when this node was last confirmed, by the quorum and by enough of the
	// others, and whether it may claim anything now.
	Renewed() (at time.Time, joined bool)
	// Heard is when a member was last heard of, by anybody whose word made it lost if it
	// is; left says that it went with a word, after it gave up all its duties. The zero
	// time: nothing is known of it.
	Heard(incarnation uint64) (at time.Time, left bool)
}

// Config is what leases need; all of it.
type Config struct {
	Cluster Cluster
	// Term returns a number higher than all it ever returned to any node, after it
	// is on disk.
	Term   func(ctx context.Context) (uint64, error)
	Logger *slog.Logger
}

// Leases are those of a node. Make it with New.
type Leases struct {
	cfg    Config
	began  time.Time
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards all below
	duties map[string]*duty
	closed bool
}

// duty is one thing that only one node may do.
type duty struct {
	owner  uint64    // as last seen
	since  time.Time // when owner was first seen
	begin  time.Time // we are the owner: not before
	term   uint64    // 0: we do not have it
	until  time.Time // how long it was certain when this node last took part
	asking bool      // a term is on its way, or will be when begin has come
}

// New returns one that has no duty yet. Work that it begins ends with ctx or Stop.
func New(ctx context.Context, cfg Config) *Leases {
	l := &Leases{cfg: cfg, began: time.Now(), duties: map[string]*duty{}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// Stop gives all duties up and waits for what is under way. Whoever does the
// duties must have ended.
func (l *Leases) Stop() {
	l.mu.Lock()
	l.closed = true
	clear(l.duties)
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}

// Held returns the term under which this node has the duty, 0 when it has not,
// and until when that is certain: before, no other node begins. It does not
// wait: a duty that falls to this node is had a little later, so ask again.
func (l *Leases) Held(name string) (term uint64, until time.Time) {
	owner, self := l.cfg.Cluster.Owner([]byte(name)), l.cfg.Cluster.Self()
	at, joined := l.cfg.Cluster.Renewed()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, time.Time{}
	}
	d := l.duties[name]
	if d == nil {
		// Who had it before this node looked is not known: he may have it still.
		d = &duty{owner: owner, since: now, begin: now.Add(Length)}
		l.duties[name] = d
	}
	if owner != d.owner {
		d.begin = l.after(d.owner, now)
		d.owner, d.since, d.term = owner, now, 0
	}
	switch {
	case owner != self || !joined || owner == 0:
		if owner == self && d.term != 0 && now.Before(d.until) {
			// Cut off, and not yet too long. The quorum may go on acknowledging this
			// node; who cannot hear it may call it lost all the same.
			return d.term, d.until
		}
		if d.term != 0 || owner == self {
			d.term, d.begin = 0, now.Add(Length) // another may have had it meanwhile
		}
		return 0, time.Time{}
	case d.term == 0:
		if !d.asking {
			d.asking = true
			l.work.Go(func() { l.ask(d, owner) })
		}
		return 0, time.Time{}
	}
	d.until = at.Add(Length)
	return d.term, d.until
}

// after is when nobody who had a duty before can have it any more; mu is held.
func (l *Leases) after(before uint64, now time.Time) time.Time {
	if before == 0 {
		return now.Add(Length)
	}
	switch heard, left := l.cfg.Cluster.Heard(before); {
	case left:
		return now
	case heard.IsZero():
		return now.Add(Length)
	default:
		return heard.Add(Length)
	}
}

// Outdone says that another node with a later term has done the duty: it believed,
// as this one did, that the duty was its own. A term of this node that is not later
// is void; it takes another one when that node's right may have ended.
func (l *Leases) Outdone(name string, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.duties[name]; d != nil && d.term != 0 && d.term <= term {
		d.term, d.begin = 0, time.Now().Add(Length)
	}
}

// wait returns when the duty may begin, and reports whether it is owner's still.
func (l *Leases) wait(d *duty, owner uint64) bool {
	for {
		l.mu.Lock()
		left := time.Until(d.begin)
		same := d.owner == owner
		l.mu.Unlock()
		if !same || left <= 0 {
			_, joined := l.cfg.Cluster.Renewed()
			return same && joined
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// ask takes a term for a duty that is owner's, who is this node, when it may begin.
func (l *Leases) ask(d *duty, owner uint64) {
	if !l.wait(d, owner) {
		l.mu.Lock()
		d.asking = false
		l.mu.Unlock()
		return
	}
	term, err := l.cfg.Term(l.ctx)
	if err != nil && l.ctx.Err() == nil {
		l.cfg.Logger.Warn("a duty of this node waits for its term", "error", err)
		timer := time.NewTimer(retry)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ctx.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d.asking = false
	if err == nil && d.owner == owner && !time.Now().Before(d.begin) {
		d.term = term
	}
}
