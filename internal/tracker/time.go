package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// counts reports whether bytes read on l prove that this session's device
// lives (design §4, sign of life).
func (l *life) counts(link Link) bool {
	return link != nil && !l.heartbeat && !link.Shared()
}

// deaf reports whether there is a link that is not read for now.
func (l *life) deaf() bool {
	d, ok := l.link.(Deaf)
	return ok && d.Deaf()
}

// sign is the wheel's time of the session's last sign of life.
func (s *session) sign() time.Duration {
	if s.life.counts(s.life.link) {
		return max(s.life.heard, s.life.link.LastRead())
	}
	return s.life.heard
}

// deafAgain is how often a session is looked at that would have timed out, had its link
// been read.
const deafAgain = 100 * time.Millisecond

// setUntil sets the one deadline of a session that is not live.
func (t *Tracker) setUntil(s *session, d time.Duration) {
	s.life.until = t.wheel.Now() + max(d, 0)
	t.wheel.Set(&s.life.timer, d)
}

// arm sets the deadline of a live session: signs of life only move a number, so
// the timer looks at it when it fires.
func (t *Tracker) arm(s *session) {
	due := s.sign() + t.policy(s).HeartbeatTimeout
	t.wheel.Set(&s.life.timer, due-t.wheel.Now())
}

// fire is what a session's deadline does, on the wheel's goroutine.
func (t *Tracker) fire(s *session) {
	sh := t.shard(s.user.name)
	sh.mu.Lock()
	after := t.fired(s)
	sh.mu.Unlock()
	if after != nil {
		after()
	}
}

func (t *Tracker) fired(s *session) (after func()) {
	now := t.wheel.Now()
	switch {
	case s.dead || t.draining.Load() || t.peers != nil && t.still(s):
		return nil
	case s.pending != nil && s.pending.opening:
		// It is about to change the phase; look again soon.
		t.wheel.Set(&s.life.timer, 100*time.Millisecond)
		return nil
	case s.life.ttl > 0 && s.phase.Open():
		if now >= s.life.until {
			return t.end(s, presence.ReasonTimedOut, t.wall(s.life.until-s.life.ttl))
		}
		t.setUntil(s, s.life.until-now)
		return nil
	case s.phase == presence.PhaseLive:
		if sign := s.sign(); now-sign >= t.policy(s).HeartbeatTimeout {
			if s.life.deaf() && s.life.counts(s.life.link) {
				t.wheel.Set(&s.life.timer, deafAgain)
				return nil
			}
			return t.part(s, presence.ReasonTimedOut, t.wall(sign))
		}
		t.arm(s)
		return nil
	case now < s.life.until:
		t.setUntil(s, s.life.until-now)
		return nil
	case s.phase == presence.PhaseCreated:
		return t.forget(s)
	case s.phase == presence.PhaseLost && s.life.nodeLost:
		return t.part(s, presence.ReasonNodeLost, s.lostSeen())
	case s.phase == presence.PhaseLost && now-s.life.heard >= t.policy(s).HeartbeatTimeout:
		return t.part(s, presence.ReasonTimedOut, t.wall(s.life.heard))
	case s.phase == presence.PhaseLost:
		return t.part(s, presence.ReasonLinkLost, t.wall(s.life.heard))
	}
	if !s.over {
		return t.expire(s)
	}
	t.bury(s)
	return nil
}

// veil makes others forget a session that hid, when they would have forgotten one
// that closed then (R11): what is told of both stays the same. The lock is held.
func (t *Tracker) veil(s *session) {
	if s.fade == nil {
		sh := t.shard(s.user.name)
		s.fade = &wheel.Timer{Fire: func() {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			if s.dead || s.shown.Closed == 0 {
				return
			}
			s.user.veiled = max(s.user.veiled, s.shown.Closed)
			s.shown = presence.Face{Revision: s.shown.Revision}
			s.view = nil
			s.user.paint()
		}}
	}
	policy := t.policy(s)
	t.wheel.Set(s.fade, policy.ResumeWindow+policy.memory())
}

// expire ends the resume window of a closed session: it is only remembered from
// now on, for watchers that may not have its close yet. The lock is held.
func (t *Tracker) expire(s *session) (after func()) {
	s.over = true
	t.setUntil(s, t.policy(s).memory())
	if !s.truth.Reason.Resumable() {
		return nil // the listener was told when it closed
	}
	return func() { t.listener.Gone(s.id) }
}

// bury forgets a closed session when no watcher can miss its close any more. The
// lock is held.
func (t *Tracker) bury(s *session) {
	u := s.user
	u.floor, u.veiled = max(u.floor, s.truth.Closed), max(u.veiled, s.shown.Closed)
	t.forget(s) // the listener was told before
	u.paint()
}

// Heartbeat is the answer to an explicit sign of life.
type Heartbeat struct {
	At       presence.Time
	Within   time.Duration // call again within this time
	Attached bool          // the session has a link
}

// Heartbeat is an explicit sign of life. A session that ever gave one is bound
// to it alone: bytes on its link count no more (design §4). A lost session is
// live again until its time-out. It fails with SessionGone or
// SessionNotConnected.
func (t *Tracker) Heartbeat(ctx context.Context, ref Ref) (Heartbeat, error) {
	sh, s, err := t.acquireOpen(ctx, ref, openOperation)
	if err != nil {
		return Heartbeat{}, err
	}
	defer sh.mu.Unlock()
	s.life.heartbeat = true
	if s.phase == presence.PhaseLost {
		s.enter(presence.PhaseLive)
	}
	t.arm(s)
	return Heartbeat{t.now(), Interval(t.policy(s).HeartbeatTimeout), s.life.link != nil}, nil
}

// Interval is how often a device should give a sign of life: a third of the
// time-out, so that two may be lost.
func Interval(timeout time.Duration) time.Duration { return timeout / 3 }
