package tracker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Ref names a session the way a session token does.
type Ref struct {
	User    presence.User
	Session presence.SessionID
}

// user is one user in the table.
type user struct {
	name     presence.User
	folded   presence.Folded // what the log says
	sessions []*session      // created, open, and closed ones within the resume window
	version  uint32          // of the newest picture
	floor    uint32
	seen     presence.Time // last seen, true
	shown    presence.Time // last seen, as others may know it
	picture  atomic.Pointer[presence.Presence]
}

// session is one session in the table.
type session struct {
	id     presence.SessionID
	public presence.PublicID
	user   *user
	device *presence.Device // never changed in place
	epoch  presence.Epoch
	phase  presence.Phase
	status *presence.Status

	revision uint64         // of status, within the epoch
	truth    presence.Face  // as the user's own sessions see it
	shown    presence.Face  // as others see it
	view     *presence.View // made of the above for the picture; nil: make it anew

	pending chan struct{} // not nil: an operation waits for the store; closed when done
	dead    bool          // never comes back: refused opening, or gone
	life    life
	burst   burst
	kept    kept
}

// life is what decides when a session times out.
type life struct {
	timer     wheel.Timer
	link      Link          // nil: none
	heard     time.Duration // wheel time of the last call on it
	until     time.Duration // deadline while created, lost or closed
	heartbeat bool          // bound to Heartbeat alone
	nodeLost  bool          // found at start: closes with ReasonNodeLost
	idem      string        // idempotency key of Make, while created
}

// kept is what the checkpoint has of a session.
type kept struct {
	dirty    bool // its note waits to be written
	noted    bool // a note was written, or restored
	restored []presence.UserID
	fromDisk bool // found at start and not connected since
}

// shardIndex places a user in the table and in the checkpoint: the same at
// every start, so it cannot use a random seed.
func (t *Tracker) shardIndex(name presence.User) int {
	h := uint32(2166136261) // FNV-1a: stable over starts, versions and machines
	for i := range len(name.App) {
		h = (h ^ uint32(name.App[i])) * 16777619
	}
	h *= 16777619
	for i := range len(name.ID) {
		h = (h ^ uint32(name.ID[i])) * 16777619
	}
	return int(h % Shards)
}

// user returns the named user of the shard, made when new. The lock is held.
func (sh *shard) user(name presence.User) *user {
	u := sh.users[name]
	if u == nil {
		u = &user{name: name}
		u.picture.Store(&presence.Presence{User: name})
		sh.users[name] = u
	}
	return u
}

func (u *user) session(id presence.SessionID) *session {
	for _, s := range u.sessions {
		if s.id == id {
			return s
		}
	}
	return nil
}

// remove takes s out of the table.
func (u *user) remove(s *session) {
	for i, o := range u.sessions {
		if o == s {
			u.sessions = append(u.sessions[:i:i], u.sessions[i+1:]...)
			return
		}
	}
}

// hidden reports whether others cannot see the session.
func (s *session) hidden() bool { return s.status != nil && s.status.Invisible }

// acquire finds a session, waits until nothing is pending on it, and returns
// with its shard locked. It fails with SessionGone or ctx's end.
func (t *Tracker) acquire(ctx context.Context, ref Ref) (*shard, *session, error) {
	sh := t.shard(ref.User)
	for {
		sh.mu.Lock()
		u := sh.users[ref.User]
		var s *session
		if u != nil {
			s = u.session(ref.Session)
		}
		if s == nil || s.dead {
			sh.mu.Unlock()
			return nil, nil, errGone
		}
		wait := s.pending
		if wait == nil {
			return sh, s, nil
		}
		sh.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, fault.Retry(fault.LogUnavailable, time.Second,
				"an earlier change of this session still waits to be stored; try again")
		}
	}
}

// acquireOpen is acquire for calls that need a session that is live or lost.
// It counts as a sign of life, and a lost session gets its grace anew.
func (t *Tracker) acquireOpen(ctx context.Context, ref Ref) (*shard, *session, error) {
	sh, s, err := t.acquire(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	switch s.phase {
	case presence.PhaseClosed:
		sh.mu.Unlock()
		return nil, nil, errGone
	case presence.PhaseCreated:
		sh.mu.Unlock()
		return nil, nil, fault.New(fault.SessionNotConnected, "the session has no stream yet: call ConnectToIsOnlineSession first")
	case presence.PhaseLost:
		if !s.kept.fromDisk {
			t.setUntil(s, t.policies[s.user.name.App].Grace)
		}
	}
	s.life.heard = t.wheel.Now()
	return sh, s, nil
}

// Check reports whether a session exists and is not closed, as a subscription
// needs it: one may be made before the session is connected. It counts as a
// sign of life.
func (t *Tracker) Check(ctx context.Context, ref Ref) (*presence.Device, error) {
	sh, s, err := t.acquire(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	if s.phase == presence.PhaseClosed {
		return nil, errGone
	}
	s.life.heard = t.wheel.Now()
	return s.device, nil
}

// CheckResume is Check for a session that is about to be connected: one that was
// closed for a resumable reason passes.
func (t *Tracker) CheckResume(ctx context.Context, ref Ref) (*presence.Device, error) {
	sh, s, err := t.acquire(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	if s.phase == presence.PhaseClosed && !s.truth.Reason.Resumable() {
		return nil, errGone
	}
	return s.device, nil
}

// Alive reports whether the session may still be used or resumed: until it
// reports false, Listener.Gone was not yet called for it.
func (t *Tracker) Alive(ref Ref) bool {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.users[ref.User]
	if u == nil {
		return false
	}
	s := u.session(ref.Session)
	return s != nil && !s.dead && (s.phase != presence.PhaseClosed || s.truth.Reason.Resumable())
}
