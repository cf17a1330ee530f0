package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ConnectParams say how a device takes up its session.
type ConnectParams struct {
	Link Link
	// Initial is the status to begin with; nil keeps what there is, or begins
	// with the default.
	Initial *presence.Status
	// Addr is the peer's ip:port.
	Addr string
	// Door is the door that it comes in by; "" is the one where the session was
	// made. At another door than before, bytes on the link count again though the
	// session called Heartbeat.
	Door string
	// Maker is the incarnation in the epoch of the session's token: the node that
	// made it has it, when nothing is known of it here. 0 on a single node.
	Maker uint64
}

// Connected says what Connect found.
type Connected struct {
	Public  presence.PublicID
	Device  presence.Device
	Epoch   presence.Epoch
	Resumed bool // the session was open before, or opened anew
	// Restored is what the session watched before this node started, to be
	// watched again, with a call of WatchesChanged after it; nil unless this is
	// its first connection since.
	Restored []presence.UserID
	// RestoredFriends: it followed its user's friends then; the same holds.
	RestoredFriends bool
	// Unclean: the node did not know the session's last second; what was watched
	// then may be missing (design §3).
	Unclean bool
}

// Connect puts a session on a link: it opens a created session, resumes a lost
// one, takes a live one over from its former link, and opens anew one that was
// closed for a resumable reason. Opening waits for the store; a resume on the
// same node does not. From its return on the link is the session's until
// LinkLost or Link.End. It fails with SessionGone, LogUnavailable or Draining,
// and then has changed nothing that anybody sees.
func (t *Tracker) Connect(ctx context.Context, ref Ref, p ConnectParams) (Connected, error) {
	if t.draining.Load() {
		return Connected{}, errDraining
	}
	if t.peers != nil {
		if owner, ok := t.elsewhere(ref, p.Maker); ok {
			return t.takeOver(ctx, ref, owner, p)
		}
		if !t.peers.present() {
			return Connected{}, errIsolated // its device may have given up long ago
		}
	}
	sh, s, err := t.acquire(ctx, ref, connectOperation)
	if err != nil {
		return Connected{}, err
	}
	if s.foreign { // it went while this waited
		sh.mu.Unlock()
		return Connected{}, errElsewhere
	}
	device := *s.device
	device.Addr = p.Addr
	if p.Door != "" && p.Door != device.Door {
		device.Door, s.life.heartbeat = p.Door, false
	}
	c := Connected{Public: s.public, Device: device, Epoch: s.epoch, Resumed: s.phase != presence.PhaseCreated}
	switch {
	case s.phase == presence.PhaseCreated:
		return c, t.open(ctx, sh, s, opening{ConnectParams: p, device: &device, kind: presence.RecordOpened, epoch: s.epoch})
	case s.phase == presence.PhaseClosed:
		return t.reopen(ctx, sh, s, p, c)
	case s.kept.fromDisk:
		return t.moveHere(ctx, sh, s, p, c)
	default:
		s.device = &device
		t.take(s, p.Link)
		t.tell(s)
		sh.mu.Unlock()
	}
	if p.Initial != nil {
		err = t.restate(ctx, ref, p.Initial)
	}
	return c, err
}

// reopen opens a closed session anew, if it may come back. It is called with
// the shard locked and returns without it.
func (t *Tracker) reopen(ctx context.Context, sh *shard, s *session, p ConnectParams, c Connected) (Connected, error) {
	if !s.truth.Reason.Resumable() || s.kept.fromDisk && !s.kept.noted {
		sh.mu.Unlock()
		return c, errGone
	}
	device := c.Device
	policy := t.policy(s)
	count := s.others(policy, &device)
	if count >= policy.SessionsPerUser {
		sh.mu.Unlock()
		return c, tooMany(count)
	}
	if s.kept.fromDisk {
		c.Restored, c.RestoredFriends, c.Unclean = s.few().restored, s.kept.friends, true
	}
	c.Epoch = s.epoch.Next(t.incarnation.Load())
	return c, t.open(ctx, sh, s, opening{ConnectParams: p, device: &device, kind: presence.RecordOpened, epoch: c.Epoch})
}

// moveHere takes up a session that was found at start: the device must not see
// numbers of its epoch twice, so a higher one is claimed first.
func (t *Tracker) moveHere(ctx context.Context, sh *shard, s *session, p ConnectParams, c Connected) (Connected, error) {
	ref := Ref{s.user.name, s.id}
	if !s.kept.noted {
		return c, t.dismiss(ctx, sh, s)
	}
	c.Restored, c.RestoredFriends, c.Unclean = s.few().restored, s.kept.friends, true
	device := c.Device
	c.Epoch = s.epoch.Next(t.incarnation.Load())
	err := t.open(ctx, sh, s, opening{ConnectParams: p, device: &device, kind: presence.RecordMoved, epoch: c.Epoch})
	if err == nil && p.Initial != nil {
		err = t.restate(ctx, ref, p.Initial)
	}
	return c, err
}

// dismiss closes a session that was found at start and cannot be resumed,
// because nothing is known of what it watched: a resume would look whole and not
// be (design §3). It closes now, so that the device's next session is not its
// second. SessionGone is an acknowledged closing: whoever is told so, on this
// connection or a next one, finds it on disk, or another end of the node would
// show the session once more. It is called with the shard locked and nothing
// pending on s, and returns without it.
func (t *Tracker) dismiss(ctx context.Context, sh *shard, s *session) error {
	op := &operation{sh: sh, s: s, opening: true, done: make(chan struct{})}
	s.pending = op
	after := t.endWith(s, presence.ReasonNodeLost, t.now(), op)
	sh.mu.Unlock()
	after()
	if err := op.wait(ctx); err != nil {
		return err
	}
	return errGone
}

// restate makes the status of a Connect on an open session current, like an
// update: an equal one shows nothing.
func (t *Tracker) restate(ctx context.Context, ref Ref, initial *presence.Status) error {
	_, err := t.update(ctx, ref, func(*presence.Status) (*presence.Status, error) { return initial, nil })
	return err
}

// take gives the session a new link; nobody sees it. The lock is held.
func (t *Tracker) take(s *session, l Link) {
	if old := s.life.link; old != nil && old != l {
		old.End(End{Cause: CauseReplaced})
	}
	s.enter(presence.PhaseLive)
	s.life.link, s.life.heard = l, t.wheel.Now()
	s.life.nodeLost, s.kept.fromDisk = false, false
	s.stay()
	if t.draining.Load() && l != nil {
		// Drain has looked at this shard already, it may be.
		l.End(End{Cause: CauseDraining, RetryAfter: errDraining.RetryAfter})
	}
	if s.life.ttl > 0 {
		t.renew(s)
		return
	}
	t.arm(s)
}

// LinkLost says that a link is gone without a word: the session's grace begins
// (design §4). A link that no longer is the session's is ignored.
func (t *Tracker) LinkLost(ref Ref, l Link) {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.known(ref.User)
	if u == nil {
		return
	}
	s := u.session(ref.Session)
	if s == nil || s.life.link != l {
		return
	}
	if s.life.counts(l) {
		s.life.heard = max(s.life.heard, l.LastRead())
	}
	s.life.link = nil
	if s.phase != presence.PhaseLive || t.draining.Load() {
		return
	}
	s.enter(presence.PhaseLost)
	p := t.policy(s)
	t.setUntil(s, min(p.Grace, s.life.heard+p.HeartbeatTimeout-t.wheel.Now()))
}
