package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A presence that a server sets is a session without a link: its device has an
// id that no other device can have, and its deadline is a time to live that the
// server gives and renews, in place of signs of life.

const (
	servedDoor  = "rest"
	putAttempts = 4 // when others put and close the same at the same moment
)

// PutParams say what a server says of a user.
type PutParams struct {
	User presence.User
	// Name tells the user's presences that servers set apart: a second put of
	// the same name goes on with the same session.
	Name   string
	Device presence.Device // Platform, Product, Locale and Version count
	Status *presence.Status
	// TTL is how long it is good from now on, more than 0.
	TTL time.Duration

	here bool // another node asked, which takes this one for the session's owner
}

// Put is the answer to PutPresence.
type Put struct {
	Public   presence.PublicID
	Opened   bool          // it was not there before
	Revision uint64        // the number that the user's own devices see
	At       presence.Time // when the status became current
	Until    presence.Time // when it ends unless it is put again
}

// PutPresence opens a session of a user that a server speaks for, or renews the
// one of that name and makes its status current. When its time to live ends it
// closes as timed out; it survives a restart of the node with what is left of
// that. It replaces no other session, whatever the policy. It returns when all
// of it is stored, and fails with LimitSessions, RateLimited, LogUnavailable or
// Draining.
func (t *Tracker) PutPresence(ctx context.Context, p PutParams) (Put, error) {
	p.Device.ID, p.Device.Door, p.Device.Addr = presence.ServedDevice+p.Name, servedDoor, ""
	if p.Status == nil {
		p.Status = &presence.Status{}
	}
	for range putAttempts {
		put, err := t.put(ctx, p)
		switch {
		case err == nil:
			return put, t.saveNotes(ctx)
		case err != errGone:
			return Put{}, err
		}
	}
	return Put{}, fault.Retry(fault.LogUnavailable, time.Second, "the presence was closed again and again while it was put; try again")
}

// put is one attempt; it fails with errGone when the session closed meanwhile.
func (t *Tracker) put(ctx context.Context, p PutParams) (put Put, err error) {
	if t.draining.Load() {
		return Put{}, errDraining
	}
	ref, ok := t.served(p.User, p.Device.ID)
	if err := t.Takes(); err != nil {
		return Put{}, err
	}
	if ok && t.peers != nil && !p.here {
		if owner, far := t.elsewhere(ref, 0); far {
			if put, err = t.putElsewhere(ctx, owner, p); err == nil || !isUnreachable(err) {
				return put, err
			}
		}
	}
	if ok {
		if err := t.confirm(ctx, ref); err != nil {
			return Put{}, err
		}
	} else {
		made, err := t.Make(ctx, MakeParams{User: p.User, Device: p.Device})
		if err != nil {
			return Put{}, err
		}
		ref = made.Ref
	}
	sh, s, err := t.acquire(ctx, ref, anyOperation)
	if err != nil {
		return Put{}, err
	}
	put.Public = s.public
	switch {
	case s.phase == presence.PhaseClosed:
		sh.mu.Unlock()
		return Put{}, errGone
	case s.phase == presence.PhaseCreated:
		put.Opened = true
		s.life.ttl = p.TTL
		err = t.open(ctx, sh, s, opening{ConnectParams: ConnectParams{Initial: p.Status}, device: &p.Device, kind: presence.RecordOpened, epoch: s.epoch})
	case s.kept.fromDisk, s.foreign: // whose node does not answer
		s.life.ttl = p.TTL
		err = t.open(ctx, sh, s, opening{device: &p.Device, kind: presence.RecordMoved, epoch: s.epoch.Next(t.incarnation.Load())})
	default:
		s.life.ttl = p.TTL
		t.renew(s)
		t.note(s)
		t.tell(s)
		sh.mu.Unlock()
	}
	if err != nil {
		t.unmake(ref)
		return Put{}, err
	}
	updated, err := t.update(ctx, ref, func(*presence.Status) (*presence.Status, error) { return p.Status, nil })
	put.Revision, put.At, put.Until = updated.Revision, updated.At, t.now().Add(p.TTL)
	return put, err
}

// unmake takes a session back whose opening was refused.
func (t *Tracker) unmake(ref Ref) {
	sh, s, err := t.find(ref)
	if err != nil {
		return
	}
	after := func() {}
	if s.phase == presence.PhaseCreated && s.pending == nil {
		after = t.forget(s)
	}
	sh.mu.Unlock()
	after()
}

// RemovePresence ends what PutPresence made, as left, and says whether there was
// such a session. It returns as Close does.
func (t *Tracker) RemovePresence(ctx context.Context, name presence.User, which string) (was bool, err error) {
	if err := t.Takes(); err != nil {
		return false, err
	}
	ref, ok := t.served(name, presence.ServedDevice+which)
	if !ok {
		return false, nil
	}
	_, err = t.Close(ctx, ref, presence.ReasonLeft)
	return true, err
}

// served finds the session of a device that is a server.
func (t *Tracker) served(name presence.User, device string) (Ref, bool) {
	sh := t.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.known(name); u != nil {
		for _, s := range u.sessions {
			if s.phase != presence.PhaseClosed && s.device.Door == servedDoor && s.device.ID == device {
				return Ref{name, s.id}, true
			}
		}
	}
	return Ref{}, false
}

// renew begins the time to live of s anew. The lock is held.
func (t *Tracker) renew(s *session) {
	s.life.heard = t.wheel.Now()
	s.life.until = s.life.heard + s.life.ttl
	s.seldom().until = t.now().Add(s.life.ttl)
	t.wheel.Set(&s.life.timer, s.life.ttl)
}

// outlive goes on with what is left of the time to live of a session that was
// found at start. The lock is held.
func (t *Tracker) outlive(s *session) {
	left := s.few().until.Sub(t.now())
	s.life.until = t.wheel.Now() + left
	t.wheel.Set(&s.life.timer, left)
}
