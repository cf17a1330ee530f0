package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// How a session becomes visible: it is stored first.

// opening is an opened or moved on its way through the store.
type opening struct {
	ConnectParams
	device *presence.Device
	kind   presence.RecordKind
	epoch  presence.Epoch
	// noted, when not nil, is what the node that has it noted of its status, in place
	// of replaces, and was not heard to say.
	noted, replaces *presence.Status
}

// open stores an opening and then makes it visible. It is called with the shard
// locked and nothing pending on s, and returns unlocked.
func (t *Tracker) open(ctx context.Context, sh *shard, s *session, o opening) error {
	if s.user.erasing != nil {
		sh.mu.Unlock()
		return errErasing
	}
	status := s.status
	if o.kind == presence.RecordOpened && (o.Initial != nil || s.phase == presence.PhaseCreated) {
		status = o.Initial
	}
	rec := s.record(o.kind, presence.ReasonOpened, t.now())
	rec.Epoch, rec.Device, rec.Revision = o.epoch, *o.device, 1
	rec.Invisible = status != nil && status.Invisible
	if o.kind == presence.RecordOpened {
		rec.Status, rec.Policy = status, t.policy(s).MultiDevice
		if s.life.ttl > 0 {
			rec.Policy = presence.AllowAll // a server's word replaces no device
		}
	} else {
		rec.Reason = presence.ReasonMoved
	}
	op := &operation{sh: sh, s: s, opening: true, done: make(chan struct{})}
	s.pending = op
	// An opening that is repeated at another node meanwhile must not come behind that;
	// a move that comes late keeps the session for its device.
	var withdrawn func() bool
	if o.kind == presence.RecordOpened {
		withdrawn = op.gaveUp.Load
	}
	t.claimWhile(sh, rec, withdrawn, func(err error) (after func()) {
		switch f := s.user.folded.Session(s.id); {
		case err != nil:
			op.err = unavailable(err)
			if s.phase == presence.PhaseCreated && (op.refused || s.foreign) {
				after = t.forget(s)
			}
		case f != nil && f.Phase == presence.FoldOpen && f.Epoch != rec.Epoch:
			op.err = errElsewhere // another node won
		case f == nil || f.Phase != presence.FoldOpen || f.Epoch != rec.Epoch:
			// Replaced while it was on its way: the log does not open it.
			op.err = errGone
			if f != nil && f.Epoch.Compare(rec.Epoch) < 0 && f.Reason.Resumable() {
				op.err = errElsewhere // by another node's clock it was there since, and ended
			}
		case s.foreign && s.epoch.Compare(rec.Epoch) > 0:
			op.err = errElsewhere // it went on since, as the others said before the log did
		case s.phase == presence.PhaseClosed && spoken(s.truth.Reason):
			// It was said meanwhile that it ends. The log may have read that of the former
			// epoch before, and forgot it with this.
			op.err = errGone
			after = t.endTaken(s, &rec)
		case op.refused:
			// The device was told that it failed, so it must not be there.
			after = t.abandon(s, &rec)
		default:
			after = t.opened(s, &rec, status, o)
		}
		op.finish()
		return after
	})
	sh.mu.Unlock()
	return op.wait(ctx)
}

// opened makes a stored opening visible. The lock is held.
func (t *Tracker) opened(s *session, rec *presence.Record, status *presence.Status, o opening) (after func()) {
	news := false
	rehide := s.foreign && rec.Kind == presence.RecordMoved && s.hidden() && !rec.Invisible
	if rec.Kind == presence.RecordMoved && s.phase.Open() {
		status = s.status // who had it may have told of another while this was on its way, and was believed
		if news = o.noted != nil && status.Equal(o.replaces); news {
			status = o.noted
		}
	}
	if s.foreign {
		t.adopt(s)
	}
	if rehide {
		status = turnedStatus(status, true) // that it hid was read while this was on its way
		defer t.rehide(s)
	}
	s.epoch, s.revision, s.status, s.device = rec.Epoch, rec.Revision, status, o.device
	if rec.Kind == presence.RecordMoved && s.truth.Closed == 0 { // else the log opened it anew
		s.view = nil
		t.take(s, o.Link)
		if news {
			s.user.version++
			s.restatus(status, s.dated(rec.Time))
			after = t.publish(s.user)
		}
		s.kept.listed = false
		t.note(s)
		t.tell(s)
		return after
	}
	u := s.user
	u.version++
	t.online.Add(1)
	t.counts.openings.Add(1)
	s.begin(s.openedAt(rec))
	t.take(s, o.Link)
	s.kept.listed = false
	t.note(s)
	t.tell(s)
	return t.publish(u)
}

// openedAt is when the session opened, of which rec was just folded: all nodes say
// the same.
func (s *session) openedAt(rec *presence.Record) presence.Time {
	if f := s.user.folded.Session(s.id); f != nil && f.Phase == presence.FoldOpen {
		return f.OpenedAt
	}
	return rec.Time
}

// begin makes the session open at its user's version. The lock is held.
func (s *session) begin(at presence.Time) {
	v := s.user.version
	s.truth = presence.Face{
		Opened: v, Changed: v, Revision: presence.ShownRevision(s.epoch, s.revision), Since: at, Updated: at,
	}
	if !s.hidden() {
		s.shown = s.truth
	}
	s.view = nil
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fault.Retry(fault.LogUnavailable, retryStore, "the opening could not be stored; nothing was announced")
}

// rehide makes the log say that s is hidden, which its move undid there. The lock is held.
func (t *Tracker) rehide(s *session) {
	rec := s.record(presence.RecordHidden, presence.ReasonHidden, t.now())
	s.revision++
	rec.Revision = s.revision
	t.tell(s)
	t.claim(t.shard(s.user.name), rec, func(error) func() { return nil })
}
