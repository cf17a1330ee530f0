package tracker

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
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

// takeOver connects a session that another node has.
func (t *Tracker) takeOver(ctx context.Context, ref Ref, owner uint64, p ConnectParams) (Connected, error) {
	if !t.peers.present() {
		return Connected{}, errIsolated
	}
	release := t.holdForTake(ref)
	c, err := t.takeHeld(ctx, ref, owner, p)
	release()
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
	if owner == t.incarnation.Load() {
		return Connected{}, errGone // it opened here, nobody was told so, and it was given up
	}
	m, list, err := t.askFor(ctx, ref, owner)
	clean, noted := err == nil, listed{}
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
		// It may have hidden, or gone on, and this node did not hear of it.
		if err := t.readOn(ctx); err != nil {
			return Connected{}, err
		}
		switch noted, known, err = t.listOf(ctx, ref, epoch.Incarnation); {
		case err != nil:
			return Connected{}, err
		case !known && over && !young:
			return Connected{}, t.dismissForeign(ctx, ref)
		case !known && !over: // its node may only be out of reach for this one
			return Connected{}, errElsewhere
		}
		list = noted.watched
		t.announceTake(ref, true) // the log may take as long again
		sh.mu.Lock()
		if s, err = t.foreign(sh, ref); err != nil {
			sh.mu.Unlock()
			return Connected{}, err
		}
	}
	return t.takeForeign(ctx, sh, s, taking{p, list, clean, noted.said})
}

// taking is how a session is taken over.
type taking struct {
	ConnectParams
	list  watched
	clean bool // its owner told all of it
	noted said // else what that noted
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
	switch status, ok := s.noted(k.noted); {
	case !ok || k.Initial != nil:
	case s.phase.Open():
		o.noted, o.replaces = status, s.status
	default:
		s.status = status
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
