package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// settle acts on the result of a try.
func (l *loop) settle(m *message) {
	switch {
	case m.err == nil:
		l.stored(m)
	case errors.Is(m.err, ErrClosed):
		l.fail(m, m.err)
	case errors.Is(m.err, ErrRefused):
		l.refused(m)
	default:
		l.unknown(m)
		return
	}
	l.inflight = nil
	clear(m.claims)
	clear(m.records)
	l.spare = m
	l.count()
}

// stored tells the claims of m where they are.
func (l *loop) stored(m *message) {
	l.mu.Lock()
	l.stats.Messages++
	l.stats.Records += uint64(len(m.claims))
	l.mu.Unlock()
	if m.parked {
		l.unpark, l.backoff = nil, 0 // the store takes them again: go on at once
		if l.parked.len() == 0 {
			l.cfg.Logger.Info("the refused records of closed sessions are stored now")
		}
	}
	for i := range m.claims {
		pos := m.pos
		pos.Index += uint32(i)
		l.done(&m.claims[i], pos, nil)
	}
}

// refused gives claims back and parks the closed ones.
func (l *loop) refused(m *message) {
	for i := range m.claims {
		if !lasting(&m.claims[i].Record) {
			l.giveUp(&m.claims[i], m.err)
			continue
		}
		l.parked.push(m.claims[i])
	}
	if l.parked.len() == 0 {
		return
	}
	if l.unpark == nil || m.parked {
		l.backoff = nextBackoff(l.backoff)
		l.unpark = time.NewTimer(jitter(l.backoff))
		if l.backoff == firstBackoff {
			l.cfg.Logger.Warn("the store refuses records of closed sessions; they are kept in memory and tried again",
				"records", l.parked.len(), "error", m.err)
		}
	}
}

// unknown tries m again later, or gives up when it was tried long enough.
func (l *loop) unknown(m *message) {
	if time.Since(m.first) < retryFor {
		if m.tries == 1 {
			l.cfg.Logger.Warn("no answer from the store; the records are tried again under the same id",
				"records", len(m.claims), "error", m.err)
		}
		m.tries++
		l.mu.Lock()
		l.stats.Retries++
		l.mu.Unlock()
		l.retry = time.NewTimer(jitter(backoffAfter(m.tries)))
		l.count()
		return
	}
	m.err = fmt.Errorf("%w within %v: %w", ErrUnknown, retryFor, m.err)
	l.inflight = nil
	l.refused(m)
	l.spare = nil // m may still be on its way to the disk: do not reuse it
	l.count()
}

// fail gives all claims of m back.
func (l *loop) fail(m *message, err error) {
	for i := range m.claims {
		l.done(&m.claims[i], Position{}, err)
	}
}

func nextBackoff(d time.Duration) time.Duration {
	return min(max(2*d, firstBackoff), lastBackoff)
}

// backoffAfter is the wait before the given try, the second being the first
// that waits.
func backoffAfter(try int) time.Duration {
	d := firstBackoff
	for ; try > 2 && d < lastBackoff; try-- {
		d = nextBackoff(d)
	}
	return d
}

// jitter shortens d by up to a half.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }
