package tracker

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// A session whose device was here, or is about to come, must not close meanwhile
// because its node is lost: it is held, and all nodes know.

// heldAgain is when it is told again that a session is held, as long as it is; the next
// pauses are longer, as thousands may come at once. A node that did not hear it would
// end the session with the grace, and write that.
const heldAgain = time.Second

// holdForTake tells the others, until release is called, that a session is about to
// come here, so that it does not close meanwhile if its node is lost.
func (t *Tracker) holdForTake(ref Ref) (release func()) {
	t.announceTake(ref, true)
	sh := t.shard(ref.User)
	timer, released, pause := &wheel.Timer{}, false, heldAgain
	timer.Fire = func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if released {
			return
		}
		if s := sh.takeable(ref); s != nil {
			t.keep(s, true)
			t.tellHeld(s)
		}
		pause *= 2
		t.wheel.Set(timer, pause)
	}
	t.wheel.Set(timer, pause)
	return func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		released = true
		t.wheel.Clear(timer)
	}
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
	over := t.wheel.Now() + grace
	s.held, s.life.until = true, over
	t.tellHeld(s)
	timer, pause := &wheel.Timer{}, heldAgain
	timer.Fire = func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		now := t.wheel.Now()
		switch s := sh.takeable(ref); {
		case s == nil || !s.held:
		case s.pending != nil && now >= over: // the log may have it here yet
			t.keep(s, true)
			t.tellHeld(s)
			t.wheel.Set(timer, grace)
		case now >= s.life.until:
			t.keep(s, false)
			t.tellHeld(s)
		case s.life.until <= over: // else it is being taken over again
			t.tellHeld(s)
			pause *= 2
			t.wheel.Set(timer, min(pause, over-now))
		}
	}
	t.wheel.Set(timer, min(pause, grace))
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
