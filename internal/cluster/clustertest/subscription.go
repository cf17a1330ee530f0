package clustertest

import (
	"slices"
	"sync"
	"time"
)

// message is one on its way.
type message struct {
	subject string
	b       []byte
	from    string
	reply   func(from string, b []byte)
	due     time.Time
}

// subscription delivers on a goroutine of its own, in the order in which
// messages are due.
type subscription struct {
	wire    *Wire
	pattern string
	f       func(subject string, b []byte, reply func([]byte))
	wake    chan struct{}
	stop    chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []message
	last    map[string]time.Time // per sender: when its last message is due
}

// put adds a message that is due after d.
func (s *subscription) put(m message, d time.Duration, reorder bool) {
	s.mu.Lock()
	m.due = time.Now().Add(d)
	if s.last == nil {
		s.last = map[string]time.Time{}
	}
	if last := s.last[m.from]; !reorder && m.due.Before(last) {
		m.due = last
	}
	s.last[m.from] = m.due
	at := len(s.waiting)
	for at > 0 && s.waiting[at-1].due.After(m.due) {
		at--
	}
	s.waiting = slices.Insert(s.waiting, at, m)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next takes what is due, or says how long to wait for it; negative: for ever.
func (s *subscription) next() (due []message, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	n := 0
	for n < len(s.waiting) && !s.waiting[n].due.After(now) {
		n++
	}
	if n > 0 {
		due = slices.Clone(s.waiting[:n])
		s.waiting = slices.Delete(s.waiting, 0, n)
		return due, 0
	}
	if len(s.waiting) == 0 {
		return nil, -1
	}
	return nil, s.waiting[0].due.Sub(now)
}

func (s *subscription) deliver() {
	timer := time.NewTimer(time.Hour) // of no time: many at once crash the race detector in a bubble (golang/go#78156)
	defer timer.Stop()
	for {
		due, wait := s.next()
		for _, m := range due {
			if !s.give(m) {
				return
			}
		}
		if len(due) > 0 {
			continue
		}
		var later <-chan time.Time
		if wait >= 0 {
			timer.Reset(wait)
			later = timer.C
		}
		select {
		case <-s.wake:
		case <-later:
		case <-s.stop:
			return
		case <-s.wire.closed:
			return
		}
	}
}

// give delivers one message, when the node is not paused. It reports false when
// nothing may be delivered any more.
func (s *subscription) give(m message) bool {
	w := s.wire
	if w.net.gate(w.name, w.closed) != nil {
		return false
	}
	select {
	case <-s.stop:
		return false
	case <-w.closed:
		return false
	default:
	}
	s.f(m.subject, m.b, func(b []byte) {
		if m.reply == nil || w.net.gate(w.name, w.closed) != nil {
			return
		}
		m.reply(w.name, b)
	})
	return true
}
