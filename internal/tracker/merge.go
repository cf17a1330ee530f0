package tracker

import (
	"cmp"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// newer reports whether s is beyond what m says of it.
func (s *session) newer(m *told) bool {
	if c := s.epoch.Compare(m.epoch); c != 0 {
		return c > 0
	}
	closed := s.phase == presence.PhaseClosed
	if closed != m.closed() {
		return closed
	}
	return s.revision > m.revision
}

// merge takes in what another node, or the log, says of a session that another
// node has. The lock is held; what it returns is called without it.
func (t *Tracker) merge(sh *shard, m *told) (after func()) {
	u := sh.user(m.ref.User)
	s := u.session(m.ref.Session)
	after = func() {}
	switch {
	case s != nil && s.newer(m), u.erasedSince(m):
		return after // it is older; a close of it said the rest
	case s != nil && !s.foreign && m.epoch.Compare(s.epoch) <= 0:
		return after // nobody but this node speaks for its own
	case s != nil && t.staysClosed(s, m):
		return t.raise(sh, s, m)
	case s == nil && m.closed() && t.now().Sub(m.truth.ClosedAt) > t.policyOn(m).ResumeWindow:
		sh.tidy(u)
		return after
	case s == nil:
		s = &session{id: m.ref.Session, public: m.public, user: u, foreign: true, phase: presence.PhaseClosed}
		if m.closed() && u.ended(m) {
			s.truth.Closed, s.shown.Closed = 1, 1 // nobody here was shown it: there is no end to be told
		}
		s.life.timer.Fire = func() { t.fire(s) }
		sh.users[u.name] = u
		u.sessions = append(u.sessions, s)
	case !s.foreign:
		after = t.yield(sh, s)
	}
	changed := t.mirror(sh, s, m)
	if moved, _ := u.raise(m.seen, m.veiled); !changed && !moved {
		return after
	}
	u.version++
	sh.save.changed = true
	before, tell := after, t.publish(u)
	return func() { before(); tell() }
}

// wordHolds is for how long a session that ended by somebody's word stays closed,
// whatever is told of later epochs: whoever has it by then, because it went over while
// the word was on its way, ends it when he reads the word in the log.
const wordHolds = 30 * time.Second

// staysClosed reports whether m tells of s, which was closed by somebody's word, that
// it is open at a later epoch, and is not to be believed.
func (t *Tracker) staysClosed(s *session, m *told) bool {
	return s.phase == presence.PhaseClosed && spoken(s.truth.Reason) && !m.closed() && s.truth.Closed != 0 &&
		m.epoch.Compare(s.epoch) > 0 && t.now().Sub(s.truth.ClosedAt) < wordHolds
}

// raise takes a closed session to the epoch that m tells of; nobody sees it. The lock
// is held.
func (t *Tracker) raise(sh *shard, s *session, m *told) (after func()) {
	left := s.life.until - t.wheel.Now()
	if !s.foreign && m.epoch.Incarnation != t.incarnation.Load() {
		t.yield(sh, s) // the listener was told when it closed
	}
	s.epoch, s.revision = m.epoch, m.revision
	t.setUntil(s, left)
	return func() {}
}

func (t *Tracker) policyOn(m *told) *Policy {
	return t.appPolicy(m.ref.User.App).on(m.device.Platform)
}

// ended reports whether the log told of the end that m tells of.
func (u *user) ended(m *told) bool {
	f := u.folded.Session(m.ref.Session)
	return f != nil && f.Phase == presence.FoldClosed && m.epoch.Compare(f.Epoch) <= 0
}

// outrun reports whether the log is ahead of m: it ended the session, or hid or
// showed it, and whoever has it did not know yet.
func (u *user) outrun(m *told) bool {
	f := u.folded.Session(m.ref.Session)
	switch {
	case f == nil || m.closed():
		return false
	case f.Phase == presence.FoldClosed:
		return m.epoch.Compare(f.Epoch) <= 0
	}
	known := u.session(m.ref.Session) != nil
	return known && f.Phase == presence.FoldOpen && f.Epoch == m.epoch && m.revision < f.HiddenRev && m.hidden() != f.Hidden
}

// hear is merge of what the owner says: where the log is ahead of it, what it says
// next counts.
func (t *Tracker) hear(sh *shard, m *told) (after func()) {
	if u := sh.known(m.ref.User); u != nil && (u.outrun(m) || u.session(m.ref.Session).contends(m)) {
		return func() {}
	}
	return t.merge(sh, m)
}

// contends reports whether a device is connected here to s, which m says another node
// took over from the same former owner: the log decides which of the two has it
// (outruns), and its record is read here soon.
func (s *session) contends(m *told) bool {
	return s != nil && !s.foreign && s.life.link != nil && s.phase.Open() &&
		m.epoch.Counter == s.epoch.Counter && m.epoch.Incarnation != s.epoch.Incarnation
}

// erasedSince reports whether m is from before the user was erased.
func (u *user) erasedSince(m *told) bool {
	return u.folded.Erased != 0 && max(m.truth.Since, m.truth.Updated, m.truth.ClosedAt) <= u.folded.Erased
}

// mirror makes the foreign session s as m says, at the user's next version, and
// reports whether anybody sees a difference. The lock is held.
func (t *Tracker) mirror(sh *shard, s *session, m *told) (changed bool) {
	sh.peers.count(s.epoch.Incarnation, s.mark())
	version := s.user.version + 1
	said := !m.closed() && !s.status.Equal(m.status)
	how := mirrored{version: version, said: said, reopened: s.truth.Since != m.truth.Since, floor: &s.user.veiled}
	if m.shown.Opened == 0 && s.shown.Opened != 0 {
		p, now := t.policyOn(m), t.now()
		how.hid, how.faded = cmp.Or(m.veiled, now), s.shown.Closed != 0 && now.Sub(s.shown.ClosedAt) > p.ResumeWindow+p.memory()
	}
	truth, shown := how.face(&s.truth, &m.truth), how.face(&s.shown, &m.shown)
	changed = truth || shown
	was := s.phase
	s.epoch, s.revision, s.held = m.epoch, m.revision, false
	if !m.closed() || m.status != nil { // what closed opens anew with what it said
		s.status = m.status
	}
	s.life.ttl = m.ttl
	if m.ttl > 0 {
		s.seldom().until = m.until
	}
	if s.device == nil || *s.device != m.device {
		device := m.device
		s.device = &device
	}
	s.view = nil
	if m.closed() {
		s.phase = presence.PhaseClosed
		if was.Open() || changed {
			s.over = false
			t.setUntil(s, max(0, t.policy(s).ResumeWindow-t.now().Sub(s.truth.ClosedAt)))
		}
	} else {
		s.phase, s.over = presence.PhaseLive, false
		t.wheel.Clear(&s.life.timer)
		sh.peers.count(s.epoch.Incarnation, s.mark())
	}
	return changed
}

// mirrored is how faces come to be as they are told.
type mirrored struct {
	version  uint32 // of this node
	said     bool   // the status is another
	reopened bool   // since it was last told of, the session closed and opened anew

	hid   presence.Time // when others saw it last, where it is hidden
	faded bool          // it hid so long ago that nobody need be told any more
	floor *uint32       // highest version of what hid and was forgotten
}

// face makes f as n tells of it, and reports whether that side sees a difference.
// A revision that was shown is never followed by a lower one, though a node that
// came to know of the session by its notes alone may tell one; such a node does not
// know since when others see it either.
func (h mirrored) face(f, n *presence.Face) (changed bool) {
	switch {
	case n.Opened == 0:
		return h.unseen(f, n)
	case n.Closed != 0 && f.Opened == 0: // nobody was shown it here: there is no end to be told
		*f = *n
		f.Opened, f.Changed = 0, 0
		return false
	case n.Closed != 0 && f.Closed != 0: // its end was told, whatever came between
		opened, changed, closed := f.Opened, f.Changed, f.Closed
		*f = *n
		f.Opened, f.Changed, f.Closed = opened, changed, closed
		return false
	}
	anew := f.Opened == 0 || h.reopened || f.Closed != 0 && n.Closed == 0
	next := *n
	next.Opened, next.Changed, next.Closed = f.Opened, f.Changed, 0
	if anew {
		next.Opened = h.version
	} else {
		next.Since = max(n.Since, f.Since)
	}
	next.Revision = max(n.Revision, f.Revision)
	if anew || n.Revision > f.Revision || h.said && n.Closed == 0 {
		next.Changed = h.version
	}
	if n.Closed != 0 {
		if next.Closed = f.Closed; anew || f.Closed == 0 {
			next.Closed = h.version
		}
	}
	changed = next.Opened == h.version || next.Changed == h.version || next.Closed == h.version
	*f = next
	return changed
}

// unseen makes f as a side that does not see the session. Who was shown it here is
// told that it closed, also who is not here just now: the node that has it may never
// have shown it, or not know that anybody else did.
func (h mirrored) unseen(f, n *presence.Face) (changed bool) {
	switch {
	case f.Open():
		f.Closed, f.ClosedAt, f.Reason = h.version, h.hid, presence.ReasonHidden
		f.Revision = max(n.Revision, f.Revision)
		return true
	case f.Opened != 0 && !h.faded:
		f.Revision = max(n.Revision, f.Revision)
		return false
	}
	*h.floor = max(*h.floor, f.Closed)
	*f = presence.Face{Revision: n.Revision}
	return false
}

// yield lets a session of this node go, which another has taken over. The lock is
// held.
func (t *Tracker) yield(sh *shard, s *session) (after func()) {
	t.leave(sh, s)
	s.uncount()
	if s.phase.Open() {
		t.online.Add(-1)
	}
	t.untell(sh, s)
	s.foreign, s.phase = true, presence.PhaseClosed // until mirror says better
	if l := s.life.link; l != nil {
		s.life.link = nil
		l.End(End{Cause: CauseReplaced})
	}
	t.wheel.Clear(&s.life.timer)
	if s.fade != nil {
		t.wheel.Clear(s.fade)
	}
	t.calm(s)
	if op := s.pending; op != nil && op.taken {
		op.finish()
	}
	s.kept, s.rare, s.custom = kept{}, nil, custom{}
	s.life.heartbeat, s.life.nodeLost = false, false
	return func() {
		t.listLeft(sh, s.id)
		t.listener.Gone(s.id)
	}
}

// adopt makes a session of another node this node's own; whoever calls it makes
// it live at an epoch of this node. The lock is held.
func (t *Tracker) adopt(s *session) {
	sh := t.shard(s.user.name)
	sh.peers.count(s.epoch.Incarnation, s.mark())
	if s.phase.Open() {
		t.online.Add(1)
	}
	delete(sh.peers.left, s.id)
	s.foreign, s.held = false, false
	s.phase = presence.PhaseClosed // it was not counted among this node's
	t.wheel.Clear(&s.life.timer)
}
