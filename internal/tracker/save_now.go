package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// saveNotes returns when the checkpoint has what changed until now.
func (t *Tracker) saveNotes(ctx context.Context) error { return t.save(ctx, false) }

// SaveNotes returns when whoever takes a session of this node over finds all that
// it said and watched until now. It is for a node that is about to say goodbye to
// the others: after it they read what it noted.
func (t *Tracker) SaveNotes(ctx context.Context) error { return t.saveNotes(ctx) }

// saveAll returns when the whole checkpoint is written and what was before it is
// forgotten.
func (t *Tracker) saveAll(ctx context.Context) error { return t.save(ctx, true) }

func (t *Tracker) save(ctx context.Context, all bool) error {
	return t.saveRequest(ctx, request{all: all})
}

func (t *Tracker) saveRequest(ctx context.Context, r request) error {
	if t.saver == nil {
		return nil
	}
	timer := time.NewTimer(storeWait)
	defer timer.Stop()
	done := make(chan error, 1)
	r.done = done
	select {
	case t.saver.asked <- r:
	case <-t.saver.done:
		return errDraining
	case <-timer.C:
		return errUnsaved
	case <-ctx.Done():
		return errUnsaved
	}
	select {
	case err := <-done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	return errUnsaved
}

var errUnsaved = fault.Retry(fault.LogUnavailable, retryStore, "it is done, but the checkpoint that keeps it over a restart is not written yet; the same call again is safe")

// answer serves a request, and every other that waits beside it.
func (v *saver) answer(ctx context.Context, first request) {
	waiting, all := []request{first}, first.all
	for more := true; more; {
		select {
		case r := <-v.asked:
			waiting, all = append(waiting, r), all || r.all
		default:
			more = false
		}
	}
	err := v.notes(ctx)
	switch {
	case err != nil || !all:
	case v.t.peers == nil:
		err = v.rewrite(ctx)
	default:
		for _, r := range waiting {
			if r.all && err == nil {
				err = v.oneShard(ctx, r.shard-1)
			}
		}
	}
	if err != nil {
		v.t.log.Warn("the checkpoint cannot be written; who waits for it is told to try again", "error", err)
		err = errUnsaved
	}
	for _, r := range waiting {
		r.done <- err
	}
}

// rewrite writes every shard that changed, and a note that makes all earlier
// ones needless.
func (v *saver) rewrite(ctx context.Context) error {
	if err := v.send(ctx, appendNotes(nil, v.t.now())); err != nil {
		return err
	}
	if err := v.round(ctx, Shards, 0); err != nil {
		return err
	}
	// Also when no shard had changed: the last time may have failed right here.
	through, note := v.good()
	return v.t.cfg.Checkpoints.Advance(ctx, through, note)
}
