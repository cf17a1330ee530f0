package tracker

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
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
	floor    uint32          // highest version of a forgotten close, in truth
	veiled   uint32          // the same as others could see it
	seen     presence.Time   // last seen, true
	shown    presence.Time   // last seen, as others may know it
	// late is the version at which seen was last raised with no end to tell it, and
	// lateShown the same of shown.
	late, lateShown uint32
	erasing         *operation // not nil: nobody opens a session meanwhile
	tally           *tally     // of his app
	// available as others see him, as the tally has it.
	available bool
	withheld  uint16        // ends of his sessions that are not shown yet: his picture stays as it is
	standing  time.Duration // by the wheel: since when it has stayed so
	picture   atomic.Pointer[presence.Presence]
}

// session is one session in the table.
type session struct {
	id     presence.SessionID
	public presence.PublicID
	user   *user
	device *presence.Device // never changed in place
	epoch  presence.Epoch
	status *presence.Status

	revision uint64         // of status, within the epoch
	truth    presence.Face  // as the user's own sessions see it
	shown    presence.Face  // as others see it
	view     *presence.View // made of the above for the picture; nil: make it anew

	pending *operation // not nil: it waits for the store
	phase   presence.Phase
	dead    bool // never comes back: refused opening, or gone
	over    bool // closed, and the resume window is over; only remembered
	foreign bool // another node has it; none of life counts but until and ttl
	held    bool // foreign: a third node is about to take it over, until life.until
	custom  custom
	kept    kept
	life    life
	burst   burst
	rare    *rare // nil: all of it is zero
	// fade forgets that the session was shown, as a close is forgotten, when it
	// has been hidden for the resume window; nil until it first hides.
	fade *wheel.Timer
}

// life is what decides when a session times out.
type life struct {
	timer     wheel.Timer
	link      Link          // nil: none
	heard     time.Duration // wheel time of the last call on it
	until     time.Duration // deadline while created, lost or closed
	heartbeat bool          // bound to Heartbeat alone
	nodeLost  bool          // found at start: closes with ReasonNodeLost
	ttl       time.Duration // a server set it, for so long; 0: a device's
}

// kept is what the checkpoint has of a session.
type kept struct {
	dirty bool // its note waits to be written
	noted bool // a note was written, or restored
	// listed: the last note that was written has what it watches now.
	listed bool
	// friends: it followed its user's friends in the former run; as rare.restored.
	friends  bool
	fromDisk bool // found at start and not connected since
}

// rare is what most sessions have none of, apart for the sake of their size.
type rare struct {
	idem string // idempotency key of Make, while created
	// restored is what the session watched in the former run, until the watch list
	// has it again and WatchesChanged says so.
	restored []presence.UserID
	lost     presence.Time // kept.fromDisk: when the node that had it was last alive
	until    presence.Time // life.ttl: when it ends, by the wall clock
	// parting is the wheel's time since when its end waits for a node that is not heard.
	parting time.Duration
}

// few is what a session has of the rare, to be read; seldom the same to be
// changed. The lock is held.
func (s *session) few() rare {
	if s.rare == nil {
		return rare{}
	}
	return *s.rare
}

func (s *session) seldom() *rare {
	if s.rare == nil {
		s.rare = &rare{}
	}
	return s.rare
}

// shardIndex places a user in the table and in the checkpoint.
func (t *Tracker) shardIndex(name presence.User) int { return store.Shard(name) }

// user returns the named user of the shard, made when new. The lock is held.
func (sh *shard) user(name presence.User) *user {
	u := sh.known(name)
	if u == nil {
		// Watchers may remember an erased user of this name at versions until past.
		u = &user{name: name, tally: sh.tallies.app(name.App), version: sh.past, floor: sh.past, veiled: sh.past}
		u.paint()
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

// remove takes s out of the table. The lock is held.
func (sh *shard) remove(s *session) {
	u := s.user
	if i := slices.Index(u.sessions, s); i >= 0 {
		u.sessions = slices.Delete(u.sessions, i, i+1)
	}
	sh.tidy(u)
}

// tidy takes a user out of the table of whom nothing is known: whoever makes
// sessions that never connect must not fill the memory. The lock is held.
func (sh *shard) tidy(u *user) {
	if len(u.sessions) == 0 && u.erasing == nil && u.empty() {
		sh.past = max(sh.past, u.version)
		delete(sh.users, u.name)
	}
}

// hidden reports whether others cannot see the session.
func (s *session) hidden() bool { return s.status != nil && s.status.Invisible }

// find returns a session with its shard locked, or SessionGone.
func (t *Tracker) find(ref Ref) (*shard, *session, error) {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	if u := sh.known(ref.User); u != nil {
		if s := u.session(ref.Session); s != nil && !s.dead && (!s.over || !s.truth.Reason.Resumable()) {
			return sh, s, nil
		}
	}
	sh.mu.Unlock()
	return nil, nil, errGone
}

// acquire is find for calls that must not meet a pending operation for which
// inTheWay reports true: it waits for its end. When that takes longer than
// storeWait, or ctx ends, it fails with LogUnavailable.
func (t *Tracker) acquire(ctx context.Context, ref Ref, inTheWay func(*operation) bool) (*shard, *session, error) {
	var limit <-chan time.Time
	for {
		sh, s, err := t.find(ref)
		if err != nil || s.pending == nil || !inTheWay(s.pending) {
			return sh, s, err
		}
		done := s.pending.done
		sh.mu.Unlock()
		if limit == nil {
			timer := time.NewTimer(storeWait)
			defer timer.Stop()
			limit = timer.C
		}
		select {
		case <-done:
			continue
		case <-limit:
		case <-ctx.Done():
		}
		return nil, nil, fault.Retry(fault.LogUnavailable, retryStore,
			"an earlier change of this session still waits to be stored; try again")
	}
}

// anyOperation is in the way of what changes the session.
func anyOperation(*operation) bool { return true }

// openOperation is in the way of what needs to know whether the session is
// open, or ends it; hiding and showing are not.
func openOperation(op *operation) bool { return op.opening }

// connectOperation is in the way of a device that takes up its session: it does not
// wait for a hide or show of one that is open (design §2).
func connectOperation(op *operation) bool {
	return op.opening || op.s == nil || !op.s.phase.Open() || op.s.kept.fromDisk
}

// acquireOpen is acquire for calls that need a session that is live or lost.
// It counts as a sign of life.
func (t *Tracker) acquireOpen(ctx context.Context, ref Ref, inTheWay func(*operation) bool) (*shard, *session, error) {
	sh, s, err := t.acquire(ctx, ref, inTheWay)
	if err != nil {
		return nil, nil, err
	}
	switch s.phase {
	case presence.PhaseClosed:
		err := t.closedError(s)
		sh.mu.Unlock()
		return nil, nil, err
	case presence.PhaseCreated:
		sh.mu.Unlock()
		return nil, nil, fault.New(fault.SessionNotConnected, "the session has no stream yet: call ConnectToIsOnlineSession first")
	}
	if s.foreign {
		sh.mu.Unlock()
		return nil, nil, errElsewhere
	}
	if s.kept.fromDisk {
		// Its epoch is the former run's: a revision given now could be one that
		// watchers have seen already with another status.
		sh.mu.Unlock()
		return nil, nil, fault.New(fault.SessionNotConnected, "the node started anew: connect the session's stream again")
	}
	t.heard(s)
	return sh, s, nil
}

// closedError refuses a call on a closed session. One that the nodes closed because its
// own is not heard may be connected there all the while, and is opened anew when that
// node goes on, or as soon as its device comes to another: whoever made a new one would
// be there twice. The lock is held.
func (t *Tracker) closedError(s *session) error {
	if t.peers != nil && s.truth.Reason == presence.ReasonNodeLost && !s.over {
		return errNodeGone
	}
	return errGone
}

// wentError refuses what waited for the store while its session ended, or went to
// another node. The lock is held.
func (t *Tracker) wentError(s *session) error {
	if t.peers != nil && s.phase.Open() {
		return errElsewhere
	}
	return t.closedError(s)
}

// heard notes a call on the session as a sign of life; a lost session gets its
// grace anew, but one that was found at start has its own time. The lock is held.
func (t *Tracker) heard(s *session) {
	if s.foreign {
		return
	}
	s.life.heard = t.wheel.Now()
	s.stay()
	if s.phase == presence.PhaseLost && !s.kept.fromDisk {
		t.setUntil(s, t.policy(s).Grace)
	}
}

// Check reports whether a session exists and is not closed, as a subscription
// needs it: one may be made before the session is connected. It counts as a
// sign of life. Among several nodes it fails with NodeUnavailable where another has
// the session, or may have it and this one cannot know: what is watched here would
// be lost.
func (t *Tracker) Check(ctx context.Context, ref Ref) (*presence.Device, error) {
	if err := t.confirm(ctx, ref); err != nil {
		return nil, err
	}
	sh, s, err := t.acquire(ctx, ref, takenOperation)
	if err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	switch {
	case s.phase == presence.PhaseClosed:
		return nil, t.closedError(s)
	case s.foreign && s.phase.Open():
		return nil, errElsewhere // its node is gone, and it has not come back here: nobody would keep what it watches
	}
	t.heard(s)
	return s.device, nil
}

// Keeps reports, with nil, that what a session was given to watch after Check is with
// whoever has the session: it fails with NodeUnavailable where another node took that
// over in between, and may not have been told of it.
func (t *Tracker) Keeps(ctx context.Context, ref Ref) error {
	if t.peers == nil {
		return nil
	}
	sh, s, err := t.acquire(ctx, ref, takenOperation)
	if err != nil {
		return err
	}
	defer sh.mu.Unlock()
	if s.foreign {
		return errElsewhere
	}
	return nil
}

// takenOperation is in the way of what a node that takes the session over was told
// already.
func takenOperation(op *operation) bool { return op.taken }

// confirm reads the log to its end if the device of an open session of this node, or
// the server that speaks for it, may have gone to another one that this one does not
// hear: it has no link here, or this node stood still.
func (t *Tracker) confirm(ctx context.Context, ref Ref) error {
	if t.peers == nil {
		return nil
	}
	sh, s, err := t.find(ref)
	if err != nil {
		return err
	}
	sure := s.foreign || !s.phase.Open() || s.life.link != nil && t.peers.present()
	sh.mu.Unlock()
	if sure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if t.catchUp(ctx) != nil {
		return errUnsure
	}
	return nil
}

// CheckResume is Check for a session that is about to be connected: one that was
// closed for a resumable reason passes.
func (t *Tracker) CheckResume(_ context.Context, ref Ref) (*presence.Device, error) {
	sh, s, err := t.find(ref)
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
	sh, s, err := t.find(ref)
	if err != nil {
		return false
	}
	defer sh.mu.Unlock()
	return s.phase != presence.PhaseClosed || s.truth.Reason.Resumable() && !s.over
}

// Links visits the connections that carry sessions of a user. No method of the
// tracker may be called meanwhile.
func (t *Tracker) Links(name presence.User, visit func(presence.SessionID, Link)) {
	sh := t.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.known(name); u != nil {
		for _, s := range u.sessions {
			if s.life.link != nil {
				visit(s.id, s.life.link)
			}
		}
	}
}
