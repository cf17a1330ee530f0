package tracker

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// retryStore is what a caller is told to wait when the store said no.
const retryStore = 2 * time.Second

// record begins a claim about s as it stands.
func (s *session) record(kind presence.RecordKind, reason presence.Reason, at presence.Time) presence.Record {
	return presence.Record{
		Kind: kind, User: s.user.name, Session: s.id, Public: s.public, Epoch: s.epoch,
		Revision: s.revision, Reason: reason, Time: s.dated(at), Device: *s.device, Invisible: s.hidden(),
	}
}

// dated is the time that is stated of what is said of s now: not before what was said
// of it until now, maybe at a node whose clock differs, and after an erasure of its
// user, which would make it void. While the clock is behind, each saying has a time of
// its own: receivers of webhooks tell by it what is new.
func (s *session) dated(at presence.Time) presence.Time {
	if erased := s.user.folded.Erased; erased != 0 {
		at = max(at, erased+1)
	}
	said := max(s.truth.Since, s.truth.Updated, s.truth.ClosedAt)
	if at <= said && said > presence.At(time.Now()) {
		return said + 1
	}
	return max(at, said)
}

// claim submits a record. When the store has it, the fold and what follows from
// it are applied under the shard's lock, in the order of the log; then applied
// is called under the same lock, also when the store refused. What applied
// returns runs after the lock is released. The caller may hold the lock: the
// committer never calls back on its stack.
func (t *Tracker) claim(sh *shard, rec presence.Record, applied func(err error) (after func())) {
	t.claimWhile(sh, rec, nil, applied)
}

// claimWhile is claim for a record that is not to be stored any more once withdrawn
// says so; then applied is told that the store refused it.
func (t *Tracker) claimWhile(sh *shard, rec presence.Record, withdrawn func() bool, applied func(err error) (after func())) {
	if t.peers != nil {
		t.fly(sh, rec, withdrawn, applied)
		return
	}
	t.committer.Submit(store.Claim{Record: rec, Withdrawn: withdrawn, Done: func(pos store.Position, err error) {
		sh.mu.Lock()
		var replaced []func()
		if err == nil {
			replaced = t.fold(sh, &rec, pos)
		}
		after := applied(err)
		sh.mu.Unlock()
		for _, f := range replaced {
			f()
		}
		if after != nil {
			after()
		}
	}})
}

// fold applies a stored record to what the log says of its user, and cuts the
// sessions that the policy in it replaced. The lock is held.
func (t *Tracker) fold(sh *shard, rec *presence.Record, pos store.Position) (after []func()) {
	u := sh.user(rec.User)
	absent := u.folded.Absent
	sh.facts = u.folded.Apply(rec, sh.facts[:0])
	// Messages come in order, so everything before this one is applied whole.
	t.applied.Store(pos.Sequence - 1)
	sh.save.changed = true
	// Such as by a hide that was stored after its session had ended.
	if moved, late := u.raise(u.folded.LastSeen, u.folded.LastSeenShown); late {
		u.version++
		after = append(after, t.publish(u))
	} else if f := &u.folded; moved || !slices.Equal(absent, f.Absent) {
		u.paint() // pictures have both
	}
	for i := range sh.facts {
		f := &sh.facts[i]
		if f.Kind != presence.RecordClosed || f.Reason != presence.ReasonReplaced || t.peers != nil {
			continue
		}
		if s := u.session(f.Session.ID); s != nil && s.phase.Open() {
			after = append(after, t.finishEnd(s, presence.ReasonReplaced, f.Time))
		}
	}
	return after
}

// operation is one caller that waits for a claim.
type operation struct {
	sh      *shard
	s       *session // nil: it is about the whole user
	opening bool     // it decides whether the session is open
	taken   bool     // another node is about to take the session over; nobody here waits
	done    chan struct{}
	err     error
	over    bool
	refused bool // the caller gave up waiting

	gaveUp atomic.Bool // the same, for who holds no lock
}

// finish ends the operation: the lock is held.
func (op *operation) finish() {
	if op.over {
		return
	}
	op.over = true
	if op.s != nil && op.s.pending == op {
		op.s.pending = nil
	}
	close(op.done)
}

// wait returns when the claim is stored or refused. After storeWait, or when
// the caller is gone, it marks the operation refused: whoever applies the claim
// later must undo it.
func (op *operation) wait(ctx context.Context) error {
	timer := time.NewTimer(storeWait)
	defer timer.Stop()
	select {
	case <-op.done:
		return op.err
	case <-timer.C:
	case <-ctx.Done():
	}
	op.sh.mu.Lock()
	defer op.sh.mu.Unlock()
	if op.over {
		return op.err
	}
	op.refused = true
	op.gaveUp.Store(true)
	return fault.Retry(fault.LogUnavailable, retryStore, "the log did not answer in time; nothing was announced")
}
