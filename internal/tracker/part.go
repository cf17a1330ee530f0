package tracker

import (
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A device that is away may be at another node. Its own node knows as long as it hears
// that one; otherwise only the log does.

// part ends a session of which nothing is heard any more. While a node is not heard, the
// device may have gone over to that, and then its session did not end: it is waited for
// that node for as long as a takeover may take, and the log decides, in which the
// takeover is older. The lock is held.
func (t *Tracker) part(s *session, reason presence.Reason, seen presence.Time) (after func()) {
	if t.peers == nil {
		return t.end(s, reason, seen)
	}
	now, since := t.wheel.Now(), s.few().parting
	switch unheard := t.peers.unheard(); {
	case !unheard && since == 0:
		return t.end(s, reason, seen)
	case since == 0:
		s.seldom().parting = max(now, 1)
		fallthrough
	case unheard && now-since < holdLimit:
		t.wheel.Set(&s.life.timer, sweepEvery)
		return nil
	}
	t.endStored(s, reason, seen)
	return nil
}

// stay says that the session's device is here. The lock is held.
func (s *session) stay() {
	if s.rare != nil {
		s.rare.parting = 0
	}
}

// unheard reports whether some node is not heard that is not given up.
func (p *peering) unheard() bool {
	if p.stale.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.oldestSilence() != 0
}

// endStored ends a session when the log has it, unless the log says there that another
// node has the session. The lock is held.
func (t *Tracker) endStored(s *session, reason presence.Reason, seen presence.Time) {
	rec := s.record(presence.RecordClosed, reason, t.now())
	rec.LastSeen = seen
	sh := t.shard(s.user.name)
	op := &operation{sh: sh, s: s, opening: true, done: make(chan struct{})}
	s.pending = op
	t.claim(sh, rec, func(error) (after func()) {
		if !s.dead && !s.foreign && s.phase.Open() && s.epoch == rec.Epoch { // else it closed as the record was read
			after = t.finishEnd(s, reason, seen)
		}
		op.finish()
		return after
	})
}
