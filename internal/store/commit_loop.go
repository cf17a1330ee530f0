package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// newPrefix is unique for each Committer, so that ids never meet those of an
// earlier process within the store's memory of ten minutes.
func newPrefix() string { return rand.Text()[:16] + "-" }

// message is one append, and all its tries.
type message struct {
	id      string
	claims  []waiting
	records []presence.Record
	parked  bool // made of parked records
	first   time.Time
	tries   int
	pos     Position
	err     error
}

// loop is what the Committer's goroutine alone touches. It never blocks on the
// log: a second goroutine appends, one message at a time.
type loop struct {
	*Committer
	appends  chan *message
	results  chan *message
	inflight *message      // at the log, or waiting for retry
	retry    *time.Timer   // of a message with an unknown result; nil when none waits
	parked   fifo[waiting] // closed records that were refused
	unpark   *time.Timer   // when parked records are tried again; nil when at once
	backoff  time.Duration // last wait of parked records
	ahead    time.Time     // when the next message would go if Pace were kept strictly
	pace     *time.Timer   // nil when the next message need not wait
	spare    *message      // reused
	prefix   string        // of message ids
	made     uint64        // messages so far, for ids
}

// run is the Committer's goroutine.
func (c *Committer) run() {
	defer close(c.ended)
	ctx, cancel := context.WithCancel(context.Background()) // outlives every request: ends with Stop
	l := &loop{Committer: c, prefix: newPrefix(), appends: make(chan *message), results: make(chan *message)}
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		l.append(ctx)
	}()
	l.serve()
	cancel()
	l.giveBack()
	close(l.appends)
	<-appended
}

// append stores messages one after the other until the channel closes.
func (l *loop) append(ctx context.Context) {
	for m := range l.appends {
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		m.pos, m.err = l.log.Append(try, m.id, m.records)
		cancel()
		l.results <- m
	}
}

// serve runs until everything is stored and Stop was called, or Stop's time is
// over.
func (l *loop) serve() {
	for {
		select {
		case <-l.quit:
			return // before anything else is sent
		default:
		}
		l.reject()
		if l.send(); l.finished() {
			return
		}
		select {
		case <-l.wake:
		case m := <-l.results:
			l.settle(m)
		case <-fires(l.retry):
			l.retry = nil
			l.appends <- l.inflight // the appender is idle: it takes it at once
		case <-fires(l.unpark):
			l.unpark = nil
		case <-fires(l.pace):
			l.pace = nil
		case <-l.quit:
			return
		}
	}
}

// fires is the channel of a timer that may be nil.
func fires(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

// finished reports that Stop was called and nothing is left to do.
func (l *loop) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.phase == isStopping && l.inflight == nil && l.queue.len() == 0 && l.parked.len() == 0 && len(l.rejected) == 0
	if done {
		l.phase = isGone
	}
	return done
}

// reject calls Done of claims that were not taken.
func (l *loop) reject() {
	l.mu.Lock()
	rejected := l.rejected
	l.rejected = nil
	l.mu.Unlock()
	for i := range rejected {
		l.done(&rejected[i], Position{}, rejected[i].err)
	}
}

// send makes the next message and hands it to the appender, if there is
// something to send and nothing on its way. Parked records go in between.
func (l *loop) send() {
	if l.inflight != nil {
		return
	}
	m := l.spare
	if m == nil {
		m = &message{}
	}
	if l.parked.len() > 0 && l.unpark == nil {
		m.claims, m.parked = l.parked.take(m.claims[:0], MaxRecords), true
	} else {
		for found := false; !found; found = l.wanted(m) {
			if !l.gather(m) {
				l.spare = m
				return
			}
		}
	}
	l.made++
	m.id = l.prefix + strconv.FormatUint(l.made, 36)
	m.records = m.records[:0]
	for i := range m.claims {
		m.records = append(m.records, m.claims[i].Record)
	}
	m.first, m.tries, m.err = time.Now(), 1, nil
	l.spare, l.inflight = nil, m
	l.keepPace(m.first)
	l.count()
	l.appends <- m // the appender is idle: it takes it at once
}

// gather fills m from the queue. It reports false when there is nothing to
// send, or when the pace says to gather more; then the timer is set.
func (l *loop) gather(m *message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.queue.len()
	if n == 0 {
		return false
	}
	// A full message goes out at once: Submit pokes when it is full.
	wait := time.Until(l.ahead.Add(-time.Duration(l.cfg.Burst-1) * l.cfg.Pace))
	if wait > 0 && n < MaxRecords && l.phase == isRunning {
		if l.pace == nil {
			l.pace = time.NewTimer(wait)
		}
		return false
	}
	l.pace = nil
	m.claims, m.parked = l.queue.take(m.claims[:0], MaxRecords), false
	return true
}

// wanted gives back the claims of m that were withdrawn while they waited, and
// reports whether any others are left.
func (l *loop) wanted(m *message) bool {
	m.claims = slices.DeleteFunc(m.claims, func(w waiting) bool {
		if w.Withdrawn == nil || !w.Withdrawn() {
			return false
		}
		l.giveUp(&w, errWithdrawn)
		return true
	})
	return len(m.claims) > 0
}

var errWithdrawn = fmt.Errorf("withdrawn while it waited for the store: %w", ErrRefused)

// keepPace counts a message that goes out now.
func (l *loop) keepPace(now time.Time) {
	if l.ahead.Before(now) {
		l.ahead = now
	}
	l.ahead = l.ahead.Add(l.cfg.Pace)
	// Full messages may run further ahead, but that is not held against others.
	if most := now.Add(time.Duration(l.cfg.Burst) * l.cfg.Pace); l.ahead.After(most) {
		l.ahead = most
	}
}

// giveBack ends what Stop's time did not suffice for. A message at the log is
// waited for: its context is over.
func (l *loop) giveBack() {
	if m := l.inflight; m != nil {
		if l.retry == nil {
			m = <-l.results
		}
		if m.err == nil {
			l.stored(m)
		} else if errors.Is(m.err, ErrRefused) || errors.Is(m.err, ErrClosed) {
			l.fail(m, fmt.Errorf("%w: %w", ErrClosed, m.err))
		} else {
			l.fail(m, fmt.Errorf("%w while its %w: %w", ErrClosed, ErrUnknown, m.err))
		}
		l.inflight = nil
	}
	for {
		l.mu.Lock()
		rest := l.queue.take(nil, l.queue.len())
		rest = l.parked.take(rest, l.parked.len())
		rejected := l.rejected
		l.rejected = nil
		if len(rest)+len(rejected) == 0 {
			l.phase = isGone
		}
		gone := l.phase == isGone
		l.mu.Unlock()
		if gone {
			break
		}
		for i := range rest {
			l.done(&rest[i], Position{}, fmt.Errorf("not stored: %w", ErrClosed))
		}
		for i := range rejected {
			l.done(&rejected[i], Position{}, rejected[i].err)
		}
	}
	l.count()
}

// giveUp calls Done with an error that the caller may act on.
func (l *loop) giveUp(w *waiting, err error) {
	l.mu.Lock()
	l.stats.Refused++
	l.mu.Unlock()
	l.done(w, Position{}, err)
}

// done calls the claim's Done and lets Flush know.
func (l *loop) done(w *waiting, pos Position, err error) {
	if w.Done != nil {
		w.Done(pos, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims.leave(w.number)
}

// count brings the figures up to date that only the loop knows.
func (l *loop) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Parked = l.parked.len()
	l.oldest = time.Time{}
	if l.inflight != nil && !l.inflight.parked {
		l.oldest = l.inflight.claims[0].since
	}
}
