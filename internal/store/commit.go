package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// defaultQueue is how many claims may wait. At 10,000 a second it is twenty
	// seconds of a store that does not answer; whoever opens waits ten.
	defaultQueue = 200_000

	// defaultPace and defaultBurst bound what the store remembers of the ids of
	// the last ten minutes: 320,000 of them. Until the burst is used up messages
	// follow one another as fast as the store takes them; then records gather
	// for 2 ms (design §2).
	defaultPace  = 2 * time.Millisecond
	defaultBurst = 20_000

	// attemptTimeout bounds one try to append, for stores that do not.
	attemptTimeout = 10 * time.Second

	// retryFor is how long a message with an unknown result is tried again
	// (design §2: nobody retries an opened or moved for longer). The fold
	// remembers closed sessions for an hour, so it must stay well below that.
	retryFor = 10 * time.Minute

	// Waits between tries double from the first to the last, each shortened by
	// up to a half at random, so that nodes do not try in step.
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// Claim is one record on its way into the log.
type Claim struct {
	Record presence.Record

	// Done is called exactly once, with the position of the stored record or
	// the reason why it is not stored. It must be quick and must not wait for
	// the Committer. Nil is fine.
	Done func(pos Position, err error)

	// Withdrawn reports whether nobody wants the record any more. It is asked when
	// the first message with it is made; then the record is not stored, and Done
	// gets ErrRefused. What is at the store already cannot be withdrawn. It must be
	// as quick as Done. Nil is never.
	Withdrawn func() bool
}

// CommitterConfig tunes a Committer; the zero value is right for a node.
type CommitterConfig struct {
	Logger *slog.Logger // nil drops what is logged

	// MaxQueue is the most claims that may wait; 0 means 200,000. Claims that a
	// session closed are taken beyond it: they cannot be given back, and there
	// are never more of them than sessions.
	MaxQueue int

	// Pace is the least time between two messages on average, 0 meaning 2 ms,
	// and Burst how many may run ahead of it, 0 meaning 20,000. A full message
	// is never held back.
	Pace  time.Duration
	Burst int
}

// Committer stores claims in a log by group commit: while one message is
// being stored the next gathers, up to MaxRecords each. It keeps the order of
// Submit, except for closed records that the store refused.
//
// All Done calls come from one goroutine of the Committer, in log order, after
// the store acknowledged. What becomes of a claim when the store does not take
// it:
//
//   - unknown result: the same message is tried again under the same id until
//     the result is known, everything behind it waiting; after ten minutes its
//     claims get ErrUnknown, save the closed ones, which are tried for ever.
//   - refused: claims get ErrRefused, save the closed ones, which wait in a
//     queue of their own, so that they hold nobody up, and are tried for ever.
//   - stopped: claims get ErrClosed (and ErrUnknown beside it, if the last try
//     may have stored them).
type Committer struct {
	log     Log
	cfg     CommitterConfig
	wake    chan struct{}
	quit    chan struct{} // closed by quitNow: Stop's time is over
	quitNow func()
	ended   chan struct{} // closed when all goroutines have ended

	mu       sync.Mutex // over all below; never held while Done or the log is called
	phase    phase
	queue    fifo[waiting]
	rejected []waiting // did not fit, or came too late: their Done is due
	claims   claims
	oldest   time.Time // when the oldest claim at the log was submitted
	stats    Stats     // Waiting and Lag apart
}

// phase is where a Committer stands in its life.
type phase uint8

const (
	isNew      phase = iota
	isRunning        // after Start
	isStopping       // after Stop: no more claims are taken
	isGone           // the queues were looked at for the last time
)

// waiting is a claim in the queue.
type waiting struct {
	Claim
	number uint64 // see claims
	since  time.Time
	err    error // why it is rejected
}

// Stats counts what a Committer does.
type Stats struct {
	Waiting int           // claims that no message was made of yet
	Parked  int           // closed records the store refused, to be tried again
	Lag     time.Duration // age of the oldest claim that is not stored, parked ones apart

	Records  uint64 // stored since the start
	Messages uint64 // stored since the start
	Retries  uint64 // tries beyond a message's first, since the start
	Refused  uint64 // claims given back with ErrRefused or ErrUnknown, since the start
}

// NewCommitter returns a Committer over log, which must not keep the records
// it is given beyond its Append. Claims may be submitted at once; they are
// stored after Start.
func NewCommitter(log Log, cfg CommitterConfig) *Committer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxQueue <= 0 {
		cfg.MaxQueue = defaultQueue
	}
	if cfg.Pace <= 0 {
		cfg.Pace = defaultPace
	}
	if cfg.Burst <= 0 {
		cfg.Burst = defaultBurst
	}
	quit := make(chan struct{})
	return &Committer{
		log: log, cfg: cfg,
		wake:    make(chan struct{}, 1),
		quit:    quit,
		quitNow: sync.OnceFunc(func() { close(quit) }),
		ended:   make(chan struct{}),
	}
}

// Submit hands a claim over and returns at once. When the queue is full, Done
// gets ErrRefused (closed records are taken all the same); after Stop it gets
// ErrClosed. Even then Done is called from the Committer's goroutine, or one of
// its own once that has ended, never from the caller's: locks may be held here.
func (c *Committer) Submit(claim Claim) {
	w := waiting{Claim: claim, since: time.Now()}
	c.mu.Lock()
	if c.phase == isGone {
		c.mu.Unlock()
		if claim.Done != nil {
			go claim.Done(Position{}, fmt.Errorf("the commit of records has ended: %w", ErrClosed))
		}
		return
	}
	w.number = c.claims.enter()
	switch {
	case c.phase == isStopping:
		w.err = fmt.Errorf("the commit of records is stopping: %w", ErrClosed)
		c.rejected = append(c.rejected, w)
	case c.queue.len() >= c.cfg.MaxQueue && !lasting(&claim.Record):
		w.err = fmt.Errorf("%d records wait to be stored, no more are taken: %w", c.queue.len(), ErrRefused)
		c.rejected = append(c.rejected, w)
	default:
		c.queue.push(w)
	}
	// Between the first and the full message the loop has no reason to look.
	n := c.queue.len()
	due := n == 1 || n == MaxRecords || w.err != nil
	c.mu.Unlock()
	if due {
		c.poke()
	}
}

// lasting reports a record that is kept in memory until it is stored, because
// the session it speaks of is over and cannot be told to come back.
func lasting(r *presence.Record) bool { return r.Kind == presence.RecordClosed }

// poke makes the loop look at its queues; one poke is enough for many.
func (c *Committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Start starts storing. Further calls, and calls after Stop, do nothing.
func (c *Committer) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != isNew {
		return
	}
	c.phase = isRunning
	go c.run()
}

// Flush waits until every claim submitted before it had its Done, or for ctx.
// Refused closed records count too: while the store refuses them, Flush waits.
func (c *Committer) Flush(ctx context.Context) error {
	c.mu.Lock()
	m := c.claims.mark()
	c.mu.Unlock()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("store: flush of records: %w", ctx.Err())
	}
}

// Stop takes no more claims, waits until all that were submitted are stored
// and ends the goroutines. When ctx ends first, the claims left get ErrClosed
// and Stop returns an error that counts them. Before Start it gives everything
// back; further calls wait for the first one's end.
func (c *Committer) Stop(ctx context.Context) error {
	c.mu.Lock()
	switch c.phase {
	case isNew:
		c.quitNow()
		go c.run() // gives back what was submitted before any Start
		c.phase = isStopping
	case isRunning:
		c.phase = isStopping
	}
	c.mu.Unlock()
	c.poke()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	left := c.claims.open
	c.mu.Unlock()
	c.quitNow()
	<-c.ended
	if left == 0 {
		return nil
	}
	return fmt.Errorf("store: stopped with %d records not known to be stored: %w", left, errors.Join(ErrClosed, ctx.Err()))
}

// Stats returns the counts of this moment.
func (c *Committer) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Waiting = c.queue.len()
	switch {
	case !c.oldest.IsZero():
		s.Lag = time.Since(c.oldest)
	case s.Waiting > 0:
		s.Lag = time.Since(c.queue.front().since)
	}
	return s
}
