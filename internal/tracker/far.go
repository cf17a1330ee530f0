package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Calls are the methods that this node serves for the others, by name.
func (t *Tracker) Calls() map[string]func(ctx context.Context, from uint64, b []byte) ([]byte, error) {
	return map[string]func(context.Context, uint64, []byte) ([]byte, error){
		methodTake: t.serveTake,
		methodGood: t.serveGood,
		methodSave: t.serveSave,
	}
}

// dismissForeign closes a session of a node that does not answer, of which
// nobody knows what it watched (as dismiss).
func (t *Tracker) dismissForeign(ctx context.Context, ref Ref) error {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	s, err := t.foreign(sh, ref)
	if err != nil {
		sh.mu.Unlock()
		return err
	}
	if !s.phase.Open() {
		sh.mu.Unlock()
		return errGone
	}
	op, after := t.endForeign(sh, s, presence.ReasonNodeLost, t.now())
	sh.mu.Unlock()
	after()
	if err := op.wait(ctx); err != nil {
		return err
	}
	return errGone
}

// endForeign closes an open session of a node that does not answer, here and in
// the log. The lock is held.
func (t *Tracker) endForeign(sh *shard, s *session, reason presence.Reason, seen presence.Time) (op *operation, after func()) {
	rec := s.record(presence.RecordClosed, reason, t.now())
	rec.LastSeen = seen
	m := s.told()
	m.close(reason, rec.Time, seen)
	op = &operation{sh: sh, done: make(chan struct{})}
	t.claim(sh, rec, func(err error) func() {
		op.err = unavailable(err)
		op.finish()
		return nil
	})
	return op, t.merge(sh, &m)
}
