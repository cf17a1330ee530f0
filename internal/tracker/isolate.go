package tracker

import (
	"math/rand/v2"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Isolated says that this node is cut off from the others: time stands still for
// its sessions, nothing is claimed, and the links are told to come back, which
// may be elsewhere.
func (t *Tracker) Isolated() {
	t.freeze()
	t.endLinks(func() End {
		return End{Cause: CauseDraining, RetryAfter: errIsolated.RetryAfter + rand.N(time.Second)}
	})
}

// Frozen says that this node stood still: as Isolated, but the links stay.
func (t *Tracker) Frozen() { t.freeze() }

func (t *Tracker) freeze() {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freezes++
	p.frozen.Store(true)
}

// Joined says that this node takes part (again), by that number. With another
// than before, the others count the former as gone: what is connected here is
// opened anew, and what is not stays theirs to close. After it was cut off time
// goes on only when the log was read to its end: others may have taken sessions
// over meanwhile.
func (t *Tracker) Joined(self uint64) {
	p := t.peers
	former := t.incarnation.Swap(self)
	if former != self {
		t.gone(former, 0, t.now(), false) // until when it was heard, the others know
	}
	if !p.frozen.Load() {
		t.thaw(former != self)
		return
	}
	p.mu.Lock()
	p.renewed = p.renewed || former != self
	ctx, freezes := p.ctx, p.freezes
	p.mu.Unlock()
	p.joining.Go(func() {
		for t.catchUp(ctx) != nil {
			select {
			case <-time.After(followAgain):
			case <-ctx.Done():
				return
			}
		}
		if anew, ok := p.unfreeze(freezes); ok {
			t.thaw(anew)
		}
	})
}

// unfreeze lets claims be made again, unless this node was cut off again since: then
// the next Joined does it. anew: it has another number since it was frozen.
func (p *peering) unfreeze(freezes uint64) (anew, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if freezes != p.freezes {
		return false, false
	}
	p.frozen.Store(false)
	anew, p.renewed = p.renewed, false
	return anew, true
}

// thaw lets time go on.
func (t *Tracker) thaw(anew bool) {
	for i := range t.shards {
		sh := &t.shards[i]
		var afters []func()
		sh.mu.Lock()
		for _, u := range sh.users {
			for _, s := range u.sessions {
				if s.foreign || s.dead {
					continue
				}
				if after := t.rejoin(sh, s, anew); after != nil {
					afters = append(afters, after)
				}
			}
		}
		sh.mu.Unlock()
		for _, f := range afters {
			f()
		}
	}
}

// rejoin lets time go on for an own session. The lock is held.
func (t *Tracker) rejoin(sh *shard, s *session, anew bool) (after func()) {
	switch {
	case s.phase == presence.PhaseClosed:
		t.setUntil(s, max(0, s.life.until-t.wheel.Now()))
	case anew && s.phase.Open() && (s.life.link != nil && !s.life.deaf() || s.life.ttl > 0):
		return t.retake(s)
	case anew && s.phase.Open():
		// Also of a device that was sent away on a link that is not read now, at the
		// end of which it may have left long ago.
		m := s.told()
		after = t.yield(sh, s)
		t.mirror(sh, s, &m)
		return after
	case s.phase == presence.PhaseLive && s.life.ttl == 0:
		t.arm(s)
	default: // created, lost, or set by a server
		t.setUntil(s, max(t.policy(s).Grace, s.life.until-t.wheel.Now()))
	}
	return nil
}

// retake opens an own session anew that the others took for lost while it is
// connected here. Nobody waits for it. If the user logged in elsewhere meanwhile and
// the policy allows one of the two, the later one stays. The lock is held; what it
// returns is called without it.
func (t *Tracker) retake(s *session) (after func()) {
	switch {
	case !t.peers.present(): // Joined does it
	case t.outdone(s):
		return t.finishEnd(s, presence.ReasonReplaced, 0) // the log has its end, and the last seen of then
	default:
		t.claimMoved(t.shard(s.user.name), s)
	}
	return nil
}

// retakeAll retakes what had to wait for an operation that is over now. The lock is
// held; what it returns is called without it.
func (t *Tracker) retakeAll(sh *shard) (afters []func()) {
	for s := range sh.peers.retaking {
		there := !s.dead && !s.foreign && s.phase.Open()
		if there && s.pending != nil && !s.pending.taken {
			continue
		}
		delete(sh.peers.retaking, s)
		if !there {
			continue
		}
		if after := t.retake(s); after != nil {
			afters = append(afters, after)
		}
	}
	return afters
}

// outdone reports whether the log has s closed, and a session open that would have
// replaced it: that opened later, or the opening of s would have replaced it. Times
// say nothing of it, since they are of two nodes' clocks. The lock is held.
func (t *Tracker) outdone(s *session) bool {
	f := s.user.folded.Session(s.id)
	return f != nil && f.Phase == presence.FoldClosed && t.rivalled(s)
}

// rivalled reports whether the log has a session open that leaves no room for s. The
// lock is held.
func (t *Tracker) rivalled(s *session) bool {
	if s.life.ttl > 0 {
		return false
	}
	policy := t.policy(s).MultiDevice
	for _, o := range s.user.sessions {
		g := s.user.folded.Session(o.id)
		if o != s && o.life.ttl == 0 && g != nil && g.Phase == presence.FoldOpen && policy.Replaces(&g.Device, s.device) {
			return true
		}
	}
	return false
}

// claimMoved claims the next epoch of s, with the link that it has by then or without
// one, for no caller. The lock is held.
func (t *Tracker) claimMoved(sh *shard, s *session) {
	if s.pending != nil && !s.pending.taken {
		sh.peers.retaking[s] = true // an operation decides first; the sweep comes back to it
		sh.peers.owing.Store(true)
		return
	}
	delete(sh.peers.retaking, s)
	rec := s.record(presence.RecordMoved, presence.ReasonMoved, t.now())
	rec.Epoch, rec.Revision = s.epoch.Next(t.incarnation.Load()), 1
	if f := s.user.folded.Session(s.id); f != nil && f.Epoch.Counter > s.epoch.Counter {
		rec.Epoch.Counter = f.Epoch.Counter + 1
	}
	op := &operation{sh: sh, s: s, opening: true, done: make(chan struct{})}
	s.pending = op
	t.claim(sh, rec, func(err error) (after func()) {
		f := s.user.folded.Session(s.id)
		if err == nil && f != nil && f.Phase == presence.FoldOpen && f.Epoch == rec.Epoch && !s.dead {
			after = t.retaken(s, &rec)
		}
		op.finish()
		if s.dead || s.foreign || !s.phase.Open() || !t.rivalled(s) {
			return after
		}
		// That was read only after this had been claimed. A move replaces nothing, so both
		// would stay.
		shown, end := after, t.end(s, presence.ReasonReplaced, t.now())
		return func() {
			if shown != nil {
				shown()
			}
			end()
		}
	})
}

// retaken makes s this node's own at the epoch of rec, as it is. The lock is held.
func (t *Tracker) retaken(s *session, rec *presence.Record) (after func()) {
	if s.phase == presence.PhaseClosed && spoken(s.truth.Reason) {
		return t.endTaken(s, rec)
	}
	if s.foreign {
		t.adopt(s)
	} else if s.phase == presence.PhaseClosed {
		// It ended here meanwhile, at a lower epoch, which closes nothing of this one.
		s.epoch, s.revision = rec.Epoch, rec.Revision
		closed := s.record(presence.RecordClosed, s.truth.Reason, t.now())
		closed.Invisible, closed.LastSeen = true, max(s.user.seen, 1) // its end was told, and when it was seen
		t.claimEnd(t.shard(s.user.name), closed, nil)
		return nil
	}
	s.epoch, s.revision = rec.Epoch, rec.Revision
	reopened := s.truth.Closed != 0
	if reopened {
		s.user.version++
		s.begin(s.openedAt(rec))
	} else if f := s.user.folded.Session(s.id); f.OpenedAt == rec.Time {
		// The others saw it close, and open anew with this.
		s.truth.Since, s.truth.Revision = rec.Time, max(s.truth.Revision, presence.ShownRevision(s.epoch, s.revision))
		if s.shown.Open() {
			s.shown.Since, s.shown.Revision = s.truth.Since, s.truth.Revision
		}
	}
	s.view = nil
	if s.life.ttl > 0 {
		s.enter(presence.PhaseLive)
		t.outlive(s)
	} else {
		t.take(s, s.life.link)
		if s.life.link == nil {
			s.enter(presence.PhaseLost)
			t.setUntil(s, t.policy(s).Grace)
		}
	}
	s.kept.listed = false
	t.note(s)
	t.tell(s)
	if reopened {
		return t.publish(s.user)
	}
	return nil
}

// still reports that time stands still for s: this node is cut off, or somebody
// else decides when it ends.
func (t *Tracker) still(s *session) bool {
	return t.peers.frozen.Load() && !s.foreign || s.foreign && s.phase.Open()
}
