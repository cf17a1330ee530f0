package tracker

import (
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// An opening that the log has although its caller was told that it failed.

// endTaken closes what the log has just opened here although it ended by somebody's
// word, which is what everybody was shown. The lock is held.
func (t *Tracker) endTaken(s *session, rec *presence.Record) (after func()) {
	m := s.told()
	m.epoch, m.revision = rec.Epoch, rec.Revision
	sh := t.shard(s.user.name)
	after = t.raise(sh, s, &m)
	closed := s.record(presence.RecordClosed, s.truth.Reason, t.now())
	closed.Invisible, closed.LastSeen = true, max(s.user.seen, 1)
	t.claimEnd(sh, closed, nil)
	return after
}

// abandonTaken undoes a take-over that was stored after its caller was refused:
// the log has the session here, so here it waits for its device, or, when it
// opened for it, it closes again. The lock is held.
func (t *Tracker) abandonTaken(s *session, rec *presence.Record) (after func()) {
	list := watched{s.few().restored, s.kept.friends}
	opened := rec.Kind == presence.RecordOpened
	if opened && s.phase.Open() {
		// This node has another number since, and the log opened it for the former.
		closed := *rec
		closed.Kind, closed.Reason, closed.Time, closed.Status = presence.RecordClosed, presence.ReasonLinkLost, t.now(), nil
		closed.Invisible, closed.LastSeen = true, max(s.user.seen, 1)
		sh := t.shard(s.user.name)
		t.claim(sh, closed, func(error) func() { return nil })
		m := s.told()
		m.close(closed.Reason, closed.Time, 0) // it moves nobody's last seen
		return t.merge(sh, &m)
	}
	if !opened {
		s.phase = presence.PhaseLive
	}
	created := s.phase == presence.PhaseCreated
	t.adopt(s)
	s.epoch, s.revision = rec.Epoch, rec.Revision
	if opened {
		if created {
			s.phase = presence.PhaseCreated
			s.count()
		}
		return t.abandon(s, rec)
	}
	s.enter(presence.PhaseLost)
	s.kept = kept{fromDisk: true, noted: true, friends: list.friends}
	s.life.heard = t.wheel.Now()
	t.setUntil(s, t.policy(s).Grace)
	reopened := s.truth.Closed != 0 // it had ended, and the log has it open with this
	if reopened {
		s.user.version++
		s.begin(s.openedAt(rec))
	}
	t.note(s)
	t.tell(s)
	if reopened {
		return t.publish(s.user)
	}
	return nil
}

// abandon undoes an opening that was stored after its caller was refused. The
// lock is held.
func (t *Tracker) abandon(s *session, rec *presence.Record) (after func()) {
	if s.foreign {
		return t.abandonTaken(s, rec)
	}
	s.epoch, s.revision = rec.Epoch, rec.Revision // a later opening must claim a higher epoch
	if rec.Kind == presence.RecordMoved {
		return nil // it is lost as it was, until its time is over
	}
	// Nobody was shown the session, so it moves nobody's last seen: not the one
	// that others may know, and the true one only if there was none.
	u := s.user
	closed := *rec
	closed.Kind, closed.Reason, closed.Time, closed.Status = presence.RecordClosed, presence.ReasonLinkLost, t.now(), nil
	closed.Invisible, closed.LastSeen = true, u.seen
	if u.seen == 0 {
		u.seen, closed.LastSeen = closed.Time, closed.Time
		u.paint()
	}
	t.claim(t.shard(u.name), closed, func(error) func() { return nil })
	if s.phase == presence.PhaseCreated {
		return t.forget(s)
	}
	return nil
}
