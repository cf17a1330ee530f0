package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A session whose end came before this node's start, or that only the node knows
// that made it, is known here only when somebody asks for it.

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
