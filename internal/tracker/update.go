package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Updates of one session in a second (design §5): up to coalesceAfter each is
// announced at once; more are answered OK and announced, newest only, every
// coalesceEvery; beyond refuseAfter they are refused.
const (
	coalesceAfter = 10
	refuseAfter   = 100
	coalesceEvery = 100 * time.Millisecond
)

// UpdatesPerSecond is what a device is told of the bounds above.
const UpdatesPerSecond = coalesceAfter

// Updated is the answer to an update.
type Updated struct {
	Revision  uint64        // the number that the user's own devices see
	At        presence.Time // when it became current
	Unchanged bool          // it equals what was current; nothing is announced
}

// Update makes edit's result the status of a session. edit is called with the
// current status (nil: the default) under a lock, so it must be quick, and
// returns a new value. The change is current when Update returns; who watches
// is told besides. Turning appear_offline on or off waits for the store;
// everything else waits for nothing, or, among several nodes, of a session that has no
// link here, until the log says that no other node has it: what is acknowledged is
// kept. It fails with SessionGone, SessionNotConnected, RateLimited, NodeUnavailable,
// or edit's error, and then nothing changed.
func (t *Tracker) Update(ctx context.Context, ref Ref, edit func(*presence.Status) (*presence.Status, error)) (Updated, error) {
	if err := t.confirm(ctx, ref); err != nil {
		return Updated{}, err
	}
	return t.update(ctx, ref, edit)
}

// update is Update of a session of which is known that this node has it.
func (t *Tracker) update(ctx context.Context, ref Ref, edit func(*presence.Status) (*presence.Status, error)) (Updated, error) {
	sh, s, err := t.acquireOpen(ctx, ref, anyOperation)
	if err != nil {
		return Updated{}, err
	}
	old := s.status
	if old == nil {
		old = &presence.Status{}
	}
	status, err := edit(old)
	if err != nil {
		sh.mu.Unlock()
		return Updated{}, err
	}
	if status.Equal(old) {
		defer sh.mu.Unlock()
		return Updated{s.truth.Revision, s.truth.Updated, true}, nil
	}
	announce, retry := s.burst.admit(t.wheel.Now())
	if retry > 0 {
		sh.mu.Unlock()
		return Updated{}, fault.Retry(fault.RateLimited, retry, "more than %d updates in a second of one session", refuseAfter)
	}
	if status.Invisible != old.Invisible {
		return t.turn(ctx, sh, s, status)
	}
	u := s.user
	u.version++
	at := s.dated(t.now())
	s.restatus(status, at)
	updated := Updated{s.truth.Revision, at, false}
	t.tellCustom(s, old)
	t.note(s)
	sh.updates++
	p, withheld := u.paint(), u.withheld > 0
	if announce {
		t.tell(s)
	} else {
		t.postpone(s)
	}
	sh.mu.Unlock()
	if announce && !withheld {
		t.listener.Changed(p)
	}
	return updated, nil
}

// restatus makes status current at the user's present version. The lock is held.
func (s *session) restatus(status *presence.Status, at presence.Time) {
	s.status = status
	s.revision++
	s.touch(&s.truth, at)
	if s.shown.Open() && !status.Invisible {
		s.touch(&s.shown, at)
	}
	s.view = nil
}

func (s *session) touch(f *presence.Face, at presence.Time) {
	f.Changed, f.Updated, f.Revision = s.user.version, at, s.next(f)
}

// next is the next revision of a face. Each counts what that side is told and
// nothing else: a gap would show others how much was said while invisible.
func (s *session) next(f *presence.Face) uint64 {
	return max(f.Revision+1, presence.ShownRevision(s.epoch, 1))
}

// turn hides or shows a session: stored first, because a webhook's reader must
// learn of it in order with openings and closes. It is called with the lock
// held and returns without it.
func (t *Tracker) turn(ctx context.Context, sh *shard, s *session, status *presence.Status) (Updated, error) {
	kind, reason := presence.RecordShown, presence.ReasonShown
	if status.Invisible {
		kind, reason = presence.RecordHidden, presence.ReasonHidden
	}
	rec := s.record(kind, reason, t.now())
	rec.Revision, rec.Invisible = s.revision+1, status.Invisible
	if t.peers != nil && !status.Invisible {
		rec.Status = status // others may read this before they are told
	}
	op := &operation{sh: sh, s: s, done: make(chan struct{})}
	s.pending = op
	var updated Updated
	t.claim(sh, rec, func(err error) (after func()) {
		// A caller that gave up changes nothing here: what the log has is so.
		switch {
		case err != nil:
			op.err = unavailable(err)
		case s.foreign && s.phase.Open():
			op.err = errElsewhere // it went over meanwhile
		case s.phase.Open() && s.epoch == rec.Epoch:
			after = t.turned(s, status, rec.Time)
		default:
			op.err = t.wentError(s)
		}
		updated = Updated{s.truth.Revision, rec.Time, false}
		op.finish()
		return after
	})
	sh.mu.Unlock()
	if err := op.wait(ctx); err != nil {
		return Updated{}, err
	}
	return updated, nil
}

// turned makes a stored hide or show visible. The lock is held.
func (t *Tracker) turned(s *session, status *presence.Status, at presence.Time) (after func()) {
	u := s.user
	u.version++
	old := s.status
	s.restatus(status, at)
	t.tellCustom(s, old)
	if status.Invisible {
		if s.shown.Open() {
			s.shown.Closed, s.shown.ClosedAt, s.shown.Reason = u.version, at, presence.ReasonHidden
			t.veil(s)
		}
		u.shown = max(u.shown, at)
	} else {
		revision := s.next(&s.shown)
		if s.fade != nil {
			t.wheel.Clear(s.fade)
		}
		s.shown = s.truth
		s.shown.Opened, s.shown.Since, s.shown.Revision = u.version, at, revision
	}
	t.note(s)
	t.tell(s)
	return t.publish(u)
}

// burst counts the updates of a session within a second.
type burst struct {
	timer *wheel.Timer // announces what was coalesced; nil while nothing is
	begin uint32       // tick of the wheel at which the second began
	count uint32
}

// admit counts one update: announce says whether to tell watchers at once, and
// a retry above zero that it is refused until then.
func (b *burst) admit(now time.Duration) (announce bool, retry time.Duration) {
	const second = uint32(time.Second / wheel.Tick)
	tick := uint32(now / wheel.Tick)
	if tick-b.begin >= second {
		b.begin, b.count = tick, 0
	}
	if b.count >= refuseAfter {
		return false, time.Duration(b.begin+second-tick) * wheel.Tick
	}
	b.count++
	return b.count <= coalesceAfter && b.timer == nil, 0
}

// postpone announces the newest picture a little later. The lock is held.
func (t *Tracker) postpone(s *session) {
	if s.burst.timer != nil {
		return
	}
	u, sh := s.user, t.shard(s.user.name)
	timer := &wheel.Timer{}
	timer.Fire = func() {
		sh.mu.Lock()
		if s.burst.timer == timer {
			s.burst.timer = nil
			t.tell(s)
		}
		p, withheld := u.newest(), u.withheld > 0
		sh.mu.Unlock()
		if !withheld {
			t.listener.Changed(p)
		}
	}
	s.burst.timer = timer
	t.wheel.Set(timer, coalesceEvery)
}

// calm takes back what postpone set: what it would have told is told now, or
// never. The lock is held.
func (t *Tracker) calm(s *session) {
	if s.burst.timer != nil {
		t.wheel.Clear(s.burst.timer)
		s.burst.timer = nil
	}
}
