package tracker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// A device may come back at another node than it was at. That node takes the
// session over: it asks the one that has it for all there is of it, claims the
// next epoch in the log, and is its owner when the log has that.

// takeLimit is how long a session waits at its owner for who takes it over, and
// holdLimit how long others keep one of a lost node open for that.
const (
	takeLimit = storeWait + 2*time.Second
	holdLimit = 15 * time.Second
	askLimit  = 3 * time.Second // for the owner's answer; it may be gone without being known to be
)

const (
	methodTake = "session.take"
	methodLook = "session.look"
)

// elsewhere names the node that has a session, or made it, if it is another.
func (t *Tracker) elsewhere(ref Ref, maker uint64) (owner uint64, ok bool) {
	self := t.incarnation.Load()
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := t.recall(sh, ref); s != nil {
		return s.epoch.Incarnation, s.foreign
	}
	return maker, maker != 0 && maker != self
}

// recall finds a session, and makes it known again when it ended before this node
// started and may still come back. The lock is held.
func (t *Tracker) recall(sh *shard, ref Ref) *session {
	u := sh.known(ref.User)
	if u == nil {
		return nil
	}
	s, f := u.session(ref.Session), u.folded.Session(ref.Session)
	if s != nil || f == nil || f.Phase != presence.FoldClosed || !f.Reason.Resumable() {
		return s
	}
	device := f.Device
	left := t.appPolicy(ref.User.App).on(device.Platform).ResumeWindow - t.now().Sub(f.ClosedAt)
	if left <= 0 {
		return nil
	}
	s = &session{id: f.ID, public: f.Public, user: u, device: &device, epoch: f.Epoch, foreign: true, phase: presence.PhaseClosed}
	s.truth = presence.Face{Closed: 1, ClosedAt: f.ClosedAt, Reason: f.Reason, Since: f.OpenedAt, Updated: f.OpenedAt}
	s.shown.Closed = 1 // nobody was shown it here
	s.life.timer.Fire = func() { t.fire(s) }
	u.sessions = append(u.sessions, s)
	t.setUntil(s, left)
	return s
}

// takeOver connects a session that another node has.
func (t *Tracker) takeOver(ctx context.Context, ref Ref, owner uint64, p ConnectParams) (Connected, error) {
	if t.peers.frozen.Load() {
		return Connected{}, errIsolated
	}
	t.announceTake(ref, true)
	c, err := t.takeHeld(ctx, ref, owner, p)
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.SessionGone || kind == fault.LimitSessions:
		t.announceTake(ref, false)
	default:
		t.linger(ref)
	}
	return c, err
}

func (t *Tracker) takeHeld(ctx context.Context, ref Ref, owner uint64, p ConnectParams) (Connected, error) {
	m, list, err := t.askFor(ctx, ref, owner)
	clean := err == nil
	if err != nil && !isUnreachable(err) {
		return Connected{}, err
	}
	if clean {
		t.settle(&m)
	}
	sh := t.shard(ref.User)
	sh.mu.Lock()
	s, err := t.foreign(sh, ref)
	if err != nil {
		sh.mu.Unlock()
		return Connected{}, err
	}
	if !clean {
		epoch, young := s.epoch, t.isYoung(s)
		over := t.overSince(epoch.Incarnation) != 0
		sh.mu.Unlock()
		known := false
		switch list, known, err = t.listOf(ctx, ref, epoch.Incarnation); {
		case err != nil:
			return Connected{}, err
		case !known && over && !young:
			return Connected{}, t.dismissForeign(ctx, ref)
		case !known && !over: // its node may only be out of reach for this one
			return Connected{}, errElsewhere
		}
		t.announceTake(ref, true) // the log may take as long again
		sh.mu.Lock()
		if s, err = t.foreign(sh, ref); err != nil {
			sh.mu.Unlock()
			return Connected{}, err
		}
	}
	return t.takeForeign(ctx, sh, s, taking{p, list, clean})
}

// linger is for a session that could not be taken over although its device was
// here: nobody answered, or the log takes nothing while it elects a leader. The
// device is told to ask again, and from now on it has its grace for that.
func (t *Tracker) linger(ref Ref) {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.takeable(ref)
	if s == nil {
		return
	}
	grace := t.policy(s).Grace
	s.held, s.life.until = true, t.wheel.Now()+grace
	t.tellHeld(s)
	timer := &wheel.Timer{}
	timer.Fire = func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		switch s := sh.takeable(ref); {
		case s == nil || !s.held:
		case s.pending != nil: // the log may have it here yet
			t.keep(s, true)
			t.tellHeld(s)
			t.wheel.Set(timer, grace)
		case t.wheel.Now() >= s.life.until: // else it is being taken over again
			t.keep(s, false)
			t.tellHeld(s)
		}
	}
	t.wheel.Set(timer, grace)
}

// taking is how a session is taken over.
type taking struct {
	ConnectParams
	list  watched
	clean bool // its owner told all of it
}

// takeForeign claims s for this node. It is called with the shard locked and
// nothing pending on s, and returns without it.
func (t *Tracker) takeForeign(ctx context.Context, sh *shard, s *session, k taking) (Connected, error) {
	ref := Ref{s.user.name, s.id}
	device := *s.device
	device.Addr = k.Addr
	if k.Door != "" {
		device.Door = k.Door
	}
	c := Connected{
		Public: s.public, Device: device, Epoch: s.epoch.Next(t.incarnation.Load()), Resumed: s.phase != presence.PhaseCreated,
		Restored: k.list.users, RestoredFriends: k.list.friends, Unclean: !k.clean,
	}
	o := opening{ConnectParams: k.ConnectParams, device: &device, kind: presence.RecordMoved, epoch: c.Epoch}
	f := s.user.folded.Session(s.id)
	if s.status == nil && f != nil && f.Hidden {
		s.status = turnedStatus(nil, true) // it came to be known here after its end
	}
	if !s.phase.Open() {
		if n := s.others(t.policy(s), &device); n >= t.policy(s).SessionsPerUser {
			if s.phase == presence.PhaseCreated {
				sh.remove(s)
			}
			sh.mu.Unlock()
			return c, tooMany(n)
		}
		// Of one that ended here alone, by the word of its silence, the log decides.
		if f == nil || f.Phase != presence.FoldOpen {
			o.kind = presence.RecordOpened
		}
	}
	moved := o.kind == presence.RecordMoved
	s.seldom().restored, s.kept.friends = k.list.users, k.list.friends
	err := t.open(ctx, sh, s, o)
	if err == nil && moved && k.Initial != nil {
		err = t.restate(ctx, ref, k.Initial)
	}
	return c, err
}

// others counts the sessions beside s that are not closed and that a device of
// it would not replace.
func (s *session) others(policy *Policy, device *presence.Device) (count int) {
	for _, o := range s.user.sessions {
		if o != s && o.phase != presence.PhaseClosed && !policy.MultiDevice.Replaces(device, o.device) {
			count++
		}
	}
	return count
}

// foreign finds a session that another node has, and that nothing is pending on.
// The lock is held, also when it fails.
func (t *Tracker) foreign(sh *shard, ref Ref) (*session, error) {
	u := sh.known(ref.User)
	if u == nil {
		return nil, errGone
	}
	s := u.session(ref.Session)
	switch {
	case s == nil || s.dead || s.over:
		return nil, errGone
	case s.pending != nil || !s.foreign:
		return nil, errElsewhere // somebody else takes it here at this moment
	case s.phase == presence.PhaseClosed && !s.truth.Reason.Resumable():
		return nil, errGone
	}
	return s, nil
}

// announceTake tells the others that a session is about to come here, so that it
// does not close meanwhile if its node is lost; or that it does not.
func (t *Tracker) announceTake(ref Ref, held bool) {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.takeable(ref); s != nil {
		t.keep(s, held)
		t.tellHeld(s)
	}
}

// takeable is an open session of another node, or nil. The lock is held.
func (sh *shard) takeable(ref Ref) *session {
	if u := sh.known(ref.User); u != nil {
		if s := u.session(ref.Session); s != nil && s.foreign && s.phase.Open() {
			return s
		}
	}
	return nil
}

// tellHeld tells the others whether a foreign session is held. The lock is held.
func (t *Tracker) tellHeld(s *session) {
	m := s.told()
	t.peers.Change(t.shardIndex(s.user.name), m.append(nil))
}

// keep holds a foreign session open for a while, or no longer. The lock is held.
func (t *Tracker) keep(s *session, held bool) {
	if s.held = held; held {
		s.life.until = t.wheel.Now() + holdLimit
	}
}

// askFor gets a session from its owner.
func (t *Tracker) askFor(ctx context.Context, ref Ref, owner uint64) (m told, list watched, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	for range 3 {
		b, err := t.peers.Call(ctx, owner, methodTake, appendRef(nil, ref))
		if err != nil {
			return m, list, err
		}
		var next uint64
		if next, m, list, err = parseTake(b); err != nil || next == 0 {
			return m, list, err
		}
		owner = next // it went on
	}
	return m, list, errElsewhere
}

// isUnreachable reports that a call failed because nobody answered it.
func isUnreachable(err error) bool {
	return fault.KindOf(err) == fault.NodeUnavailable || errors.Is(err, context.DeadlineExceeded)
}

// Look makes a session known here that only the node that made it knows of: whose
// token names that node, and which is about to be connected here. It does nothing
// on a single node, and for a session that is known. It fails with SessionGone when
// there is no such session, and with NodeUnavailable.
func (t *Tracker) Look(ctx context.Context, ref Ref, maker uint64) error {
	if t.peers == nil || maker == 0 || maker == t.incarnation.Load() {
		return nil
	}
	sh := t.shard(ref.User)
	sh.mu.Lock()
	known := t.recall(sh, ref) != nil
	sh.mu.Unlock()
	if known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	b, err := t.peers.Call(ctx, maker, methodLook, appendRef(nil, ref))
	switch {
	case err != nil && isUnreachable(err) && t.isOver(maker):
		return errGone
	case err != nil:
		return err
	}
	m, err := parseTold(b)
	if err != nil || m.ref != ref {
		return errTold
	}
	t.settle(&m)
	return nil
}

func (t *Tracker) serveLook(_ context.Context, _ uint64, b []byte) ([]byte, error) {
	ref, err := parseRef(b)
	if err != nil {
		return nil, err
	}
	sh, s, err := t.find(ref)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	m := s.told()
	return m.append(nil), nil
}

// settle puts what the owner said into the table: a session that nobody sees yet
// is there only from now on.
func (t *Tracker) settle(m *told) {
	sh := t.shard(m.ref.User)
	sh.mu.Lock()
	if !m.created {
		after := t.hear(sh, m)
		sh.mu.Unlock()
		after()
		return
	}
	defer sh.mu.Unlock()
	u := sh.user(m.ref.User)
	if u.session(m.ref.Session) != nil {
		return
	}
	device := m.device
	s := &session{id: m.ref.Session, public: m.public, user: u, device: &device, epoch: m.epoch, foreign: true, phase: presence.PhaseCreated}
	s.life.timer.Fire = func() { t.fire(s) }
	sh.users[u.name] = u
	u.sessions = append(u.sessions, s)
	t.setUntil(s, takeLimit)
}

// serveTake answers a node that wants to take a session over.
func (t *Tracker) serveTake(ctx context.Context, _ uint64, b []byte) ([]byte, error) {
	ref, err := parseRef(b)
	if err != nil {
		return nil, err
	}
	users, friends := t.watchlist.Watches(ref.Session) // the hub's locks come before ours
	sh, s, err := t.acquire(ctx, ref, anyOperation)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	if s.foreign {
		return appendTake(nil, s.epoch.Incarnation, nil, watched{}), nil
	}
	if s.phase == presence.PhaseClosed && !s.truth.Reason.Resumable() {
		return nil, errGone
	}
	few := s.few()
	list := watched{slices.Concat(users, few.restored), friends || s.kept.friends}
	slices.Sort(list.users)
	list.users = slices.Compact(list.users)
	op := &operation{sh: sh, s: s, opening: true, taken: true, done: make(chan struct{})}
	s.pending = op
	timer := &wheel.Timer{}
	timer.Fire = func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if op.over {
			return
		}
		// It was not taken after all. Its device was elsewhere in vain, and asks again.
		if op.finish(); !s.dead && !s.foreign && s.phase == presence.PhaseLost {
			t.setUntil(s, t.policy(s).Grace)
		}
	}
	t.wheel.Set(timer, takeLimit)
	m := s.told()
	m.status = s.status // of a closed one, too: it opens anew with it, as it would here
	return appendTake(nil, 0, &m, list), nil
}

func appendRef(dst []byte, ref Ref) []byte {
	dst = appendTexts(dst, string(ref.User.App), string(ref.User.ID))
	return append(dst, ref.Session[:]...)
}

func parseRef(b []byte) (ref Ref, err error) {
	r := reader{b: b}
	r.texts((*string)(&ref.User.App), (*string)(&ref.User.ID))
	r.bytes(ref.Session[:])
	if r.err == nil && len(r.b) > 0 {
		r.err = errTold
	}
	return ref, r.err
}

// appendTake writes the answer to who takes a session over: who has it now, if
// it is another node, or all of it.
func appendTake(dst []byte, next uint64, m *told, list watched) []byte {
	if dst = presence.AppendNumber(dst, next); next != 0 {
		return dst
	}
	flags := byte(0)
	if list.friends {
		flags = noteFriends
	}
	dst = presence.AppendText(append(dst, flags), string(m.append(nil)))
	for _, w := range list.users {
		dst = presence.AppendText(dst, string(w))
	}
	return dst
}

func parseTake(b []byte) (next uint64, m told, list watched, err error) {
	r := reader{b: b}
	if next = r.number(); next != 0 || r.err != nil {
		return next, m, list, r.err
	}
	var flags [1]byte
	r.bytes(flags[:])
	list.friends = flags[0]&noteFriends != 0
	text := r.text()
	if r.err != nil {
		return 0, m, list, r.err
	}
	if m, err = parseTold([]byte(text)); err != nil {
		return 0, m, list, err
	}
	for r.err == nil && len(r.b) > 0 {
		list.users = append(list.users, presence.UserID(r.text()))
	}
	return 0, m, list, r.err
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
		m.close(closed.Reason, closed.Time, closed.LastSeen)
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
