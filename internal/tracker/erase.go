package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

var errErasing = fault.Retry(fault.LogUnavailable, time.Second, "the user is being erased; try again when that is done")

// Erased is the answer to Erase.
type Erased struct {
	Sessions int           // sessions that were dropped
	At       presence.Time // what was known of him until then is void; 0: he was not known
}

// Erase forgets a user: his sessions are dropped, what the log says of him until
// now is void for every reader, and the table and the checkpoint keep nothing of
// him but, for an hour, the time of it, so that late claims stay void. The bytes
// leave the log with its retention. It returns when all that is stored, or with
// LogUnavailable when that takes too long: call it again then. Erasing who is
// not known, or was erased before, changes nothing. It fails as Takes does: he may have
// been erased elsewhere, and be there anew.
func (t *Tracker) Erase(ctx context.Context, name presence.User) (Erased, error) {
	if err := t.Takes(); err != nil {
		return Erased{}, err
	}
	sh := t.shard(name)
	sh.mu.Lock()
	u := sh.known(name)
	switch {
	case u == nil:
		sh.mu.Unlock()
		return Erased{}, nil
	case u.erasing != nil:
		op := u.erasing
		sh.mu.Unlock()
		return Erased{At: t.now()}, op.wait(ctx)
	case len(u.sessions) == 0 && u.folded.Seq == 0 && len(u.folded.Sessions) == 0:
		at := u.folded.Erased
		sh.mu.Unlock()
		return Erased{At: at}, t.saveErased(ctx, name) // it may have been the last time that failed
	}
	op := &operation{sh: sh, done: make(chan struct{})}
	u.erasing = op // nobody opens a session from here on
	sh.mu.Unlock()

	var e Erased
	var err error
	if e.Sessions, err = t.Drop(ctx, name, nil); err == nil {
		e.At, err = t.claimErasure(sh, u, op)
	}
	if err != nil {
		sh.mu.Lock()
		u.erasing, op.err = nil, err
		op.finish()
		sh.tidy(u)
		sh.mu.Unlock()
		return e, err
	}
	if err := op.wait(ctx); err != nil {
		return e, err
	}
	return e, t.saveErased(ctx, name)
}

// saveErased returns when nothing on disk but the log has the user.
func (t *Tracker) saveErased(ctx context.Context, name presence.User) error {
	if t.peers != nil {
		return t.saveEverywhere(ctx, t.shardIndex(name))
	}
	return t.saveAll(ctx)
}

// claimErasure submits the record that erases u, whose sessions were dropped.
func (t *Tracker) claimErasure(sh *shard, u *user, op *operation) (presence.Time, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := max(t.now(), newestOf(u))
	for _, s := range u.sessions {
		if s.phase != presence.PhaseClosed {
			return 0, errErasing // it opened while the others were dropped
		}
		at = max(at, s.truth.Since, s.truth.Updated, s.truth.ClosedAt) // a clock that was set back
	}
	rec := presence.Record{Kind: presence.RecordErased, User: u.name, Time: at}
	t.claim(sh, rec, func(err error) (after func()) {
		if u.erasing = nil; err != nil {
			op.err = fault.Retry(fault.LogUnavailable, retryStore, "the erasure could not be stored; the user's sessions are closed, nothing else is erased yet")
		} else {
			after = t.wipe(sh, u)
		}
		op.finish()
		return after
	})
	return at, nil
}

// newestOf is the newest time that is known of a user beside those of his sessions
// in the table: a clock that was set back must not keep it from being void.
func newestOf(u *user) presence.Time {
	f := &u.folded
	at := max(f.Erased+1, f.LastSeen, f.LastSeenShown, u.seen, u.shown)
	for i := range f.Sessions {
		at = max(at, f.Sessions[i].OpenedAt, f.Sessions[i].ClosedAt)
	}
	for _, a := range f.Absent {
		at = max(at, a.At)
	}
	return at
}

// wipe takes all out of the table that was known of the user before his erasure
// was folded. Watchers are told that he is away and was never seen. The lock is
// held.
func (t *Tracker) wipe(sh *shard, u *user) (after func()) {
	var gone []presence.SessionID
	for _, s := range u.sessions {
		if s.truth.Reason.Resumable() && !s.over {
			gone = append(gone, s.id)
		}
		if t.peers != nil {
			t.untellErased(sh, s)
		}
		s.dead = true
		t.wheel.Clear(&s.life.timer)
		t.calm(s)
		if s.fade != nil {
			t.wheel.Clear(s.fade)
		}
	}
	u.sessions = nil
	u.seen, u.shown = u.folded.LastSeen, u.folded.LastSeenShown
	u.version++
	u.floor, u.veiled = u.version, u.version
	sh.save.changed = true
	tell := t.publish(u)
	return func() {
		tell()
		for _, id := range gone {
			t.listener.Gone(id)
		}
	}
}
