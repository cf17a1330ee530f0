package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Close ends a session by an explicit word: reason is ReasonLogout, ReasonLeft
// or ReasonDropped. It is visible at once; Close returns when it is stored, or
// with LogUnavailable when that takes too long: the session is closed all the
// same and the record is tried again. Closing what is closed or unknown is
// answered with the time of the close, or now.
func (t *Tracker) Close(ctx context.Context, ref Ref, reason presence.Reason) (presence.Time, error) {
	op, _, at, err := t.beginClose(ctx, ref, reason)
	switch {
	case err == errGone:
		return t.now(), nil
	case err == errElsewhere && t.peers != nil:
		return t.closeElsewhere(ctx, ref, reason)
	case err != nil:
		return 0, err
	case op != nil:
		err = op.wait(ctx)
	}
	return at, err
}

// beginClose closes a session and returns the operation to wait for, if there is
// one, whether the session was not closed before, and when it closed.
func (t *Tracker) beginClose(ctx context.Context, ref Ref, reason presence.Reason) (op *operation, was bool, at presence.Time, err error) {
	sh, s, err := t.acquire(ctx, ref, openOperation)
	if err != nil {
		return nil, false, 0, err
	}
	if s.foreign && s.phase.Open() {
		sh.mu.Unlock()
		return nil, false, 0, errElsewhere
	}
	now := s.dated(t.now())
	switch s.phase {
	case presence.PhaseClosed:
		at := s.truth.ClosedAt
		var after func()
		if s.truth.Reason.Resumable() {
			// The user said goodbye after the fact: nothing resumes it any more.
			s.truth.Reason = reason
			after = func() { t.listener.Gone(s.id) }
		}
		sh.mu.Unlock()
		if after != nil {
			after()
		}
		return nil, false, at, nil
	case presence.PhaseCreated:
		after := t.forget(s)
		sh.mu.Unlock()
		after()
		return nil, true, now, nil
	}
	op = &operation{sh: sh, s: s, done: make(chan struct{})}
	after := t.endWith(s, reason, now, op)
	sh.mu.Unlock()
	after()
	return op, true, now, nil
}

// end closes an open session and submits the record of it; nobody waits. The
// lock is held; what it returns is called without it.
func (t *Tracker) end(s *session, reason presence.Reason, seen presence.Time) (after func()) {
	return t.endWith(s, reason, seen, nil)
}

func (t *Tracker) endWith(s *session, reason presence.Reason, seen presence.Time, op *operation) (after func()) {
	rec := s.record(presence.RecordClosed, reason, t.now())
	rec.LastSeen = seen
	sh := t.shard(s.user.name)
	reach := t.withhold(sh, s, seen)
	after = t.finishEnd(s, reason, seen)
	reach()
	t.claimEnd(sh, rec, op)
	return after
}

// claimEnd submits the record of an end; op, when not nil, is who waits for it. Where
// another epoch stands in the log by then, this end is void there: one by somebody's
// word is then said of that epoch, too, and so is one of a session that this very
// node took up while it ended here. The lock is held.
func (t *Tracker) claimEnd(sh *shard, rec presence.Record, op *operation) {
	t.claim(sh, rec, func(err error) (after func()) {
		if later, ok := t.wentOn(sh, &rec); err == nil && ok {
			rec.Epoch = later
			t.claimEnd(sh, rec, op)
			return nil
		}
		if err == nil {
			after = t.release(sh, ended{rec.Session, rec.Epoch}) // nobody can deny it any more
		}
		if op != nil {
			op.err = unavailable(err)
			op.finish()
		}
		return after
	})
}

// wentOn names the epoch at which the log has a session open of which rec says, of a
// lower one, that it ended, if that holds for the later one. The lock is held.
func (t *Tracker) wentOn(sh *shard, rec *presence.Record) (later presence.Epoch, ok bool) {
	u := sh.known(rec.User)
	if u == nil {
		return later, false
	}
	f := u.folded.Session(rec.Session)
	if f == nil || f.Phase != presence.FoldOpen || f.Epoch.Compare(rec.Epoch) <= 0 {
		return later, false
	}
	s := u.session(rec.Session)
	here := f.Epoch.Incarnation == t.incarnation.Load() && (s == nil || !s.foreign && s.phase == presence.PhaseClosed)
	return f.Epoch, here || spoken(rec.Reason)
}

// spoken reports whether a session ends for a reason by somebody's word: that counts
// wherever the session went meanwhile.
func spoken(r presence.Reason) bool {
	return r == presence.ReasonLogout || r == presence.ReasonLeft || r == presence.ReasonDropped
}

// finishEnd makes a close visible: faces, last seen, link, picture. The lock is
// held.
func (t *Tracker) finishEnd(s *session, reason presence.Reason, seen presence.Time) (after func()) {
	u, now := s.user, s.dated(t.now())
	hidden := s.hidden()
	u.version++
	t.online.Add(-1)
	s.enter(presence.PhaseClosed)
	t.counts.closings[reason].Add(1)
	s.truth.Closed, s.truth.ClosedAt, s.truth.Reason = u.version, now, reason
	u.seen = max(u.seen, seen)
	if !hidden {
		u.shown = max(u.shown, seen)
	}
	if s.shown.Open() {
		s.shown.Closed, s.shown.ClosedAt, s.shown.Reason = u.version, now, reason
	}
	s.view = nil
	if l := s.life.link; l != nil {
		s.life.link = nil
		l.End(End{Cause: CauseClosed, Reason: reason})
	}
	t.calm(s)
	t.tell(s)
	t.setUntil(s, t.policy(s).ResumeWindow)
	tell := t.publish(u)
	if reason.Resumable() {
		return tell
	}
	return func() { tell(); t.listener.Gone(s.id) }
}
