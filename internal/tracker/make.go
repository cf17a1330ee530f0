package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// MakeParams say whose session to make, and for which device.
type MakeParams struct {
	User   presence.User
	Device presence.Device
	// IdempotencyKey, when not empty: a second Make of the same user with the
	// same key gives the same session while it is not connected.
	IdempotencyKey string
}

// Made is a session that nobody sees yet.
type Made struct {
	Ref           Ref
	Public        presence.PublicID
	Epoch         presence.Epoch
	ConnectBefore presence.Time // after it the session vanishes unless connected
}

// Make creates a session. It is kept in memory only: nothing is announced or
// stored before Connect (protocol note A5.1). It fails with LimitSessions,
// RateLimited or Draining, and with JWTInvalid in an app that is not served.
func (t *Tracker) Make(_ context.Context, p MakeParams) (Made, error) {
	policy := t.appPolicy(p.User.App)
	if t.draining.Load() {
		return Made{}, errDraining
	}
	if t.peers != nil && t.peers.frozen.Load() {
		return Made{}, errIsolated
	}
	if policy.gone {
		return Made{}, fault.New(fault.JWTInvalid, "the app is not served here")
	}
	if policy.opens != nil && !policy.opens.Allow() {
		return Made{}, fault.Retry(fault.RateLimited, time.Second, "the app makes more than %g sessions a second", policy.OpensPerSecond)
	}
	var gone []func()
	defer func() {
		for _, after := range gone {
			after()
		}
	}()
	sh := t.shard(p.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.user(p.User)
	defer sh.tidy(u) // when no session is made of it
	if u.erasing != nil {
		return Made{}, errErasing
	}
	count := 0
	for i := 0; i < len(u.sessions); i++ {
		s := u.sessions[i]
		created := s.phase == presence.PhaseCreated && s.pending == nil
		switch {
		case created && p.IdempotencyKey != "" && s.few().idem == p.IdempotencyKey:
			return t.made(s), nil
		case created && p.Device.ID != "" && s.device.ID == p.Device.ID:
			// The same device began anew before it ever connected.
			gone = append(gone, t.forget(s))
			i--
		case s.phase != presence.PhaseClosed && !policy.MultiDevice.Replaces(&p.Device, s.device):
			count++
		}
	}
	if count >= policy.SessionsPerUser {
		return Made{}, tooMany(count)
	}
	s := &session{
		id: presence.NewSessionID(), public: presence.NewPublicID(), user: u,
		device: &p.Device, epoch: presence.Epoch{Incarnation: t.incarnation.Load()},
	}
	if p.IdempotencyKey != "" {
		s.seldom().idem = p.IdempotencyKey
	}
	s.life.timer.Fire = func() { t.fire(s) }
	sh.users[u.name] = u // what was forgotten above may have been all there was of him
	u.sessions = append(u.sessions, s)
	s.count()
	t.setUntil(s, policy.ConnectBefore)
	return t.made(s), nil
}

func tooMany(count int) error {
	return fault.New(fault.LimitSessions, "the user has %d sessions, the most the app allows: close one first", count)
}

func (t *Tracker) made(s *session) Made {
	return Made{Ref: Ref{s.user.name, s.id}, Public: s.public, Epoch: s.epoch, ConnectBefore: t.wall(s.life.until)}
}

// forget takes a session that nobody sees out of the table, and returns what
// tells the listener, to be called without the lock. The lock is held.
func (t *Tracker) forget(s *session) (after func()) {
	if !s.dead {
		s.uncount()
	}
	s.dead = true
	t.wheel.Clear(&s.life.timer)
	t.shard(s.user.name).remove(s)
	return func() { t.listener.Gone(s.id) }
}
