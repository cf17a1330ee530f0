package tracker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// noted is the newest note of each session.
type noted map[presence.SessionID]note

// keep takes one in. Later notes win, but for an older status: the newest note may
// be older than the shard it is beside.
func (set noted) keep(n note) {
	old, ok := set[n.ref.Session]
	if ok && n.olderThan(&old) {
		return
	}
	if n.same && ok {
		n.watches, n.friends, n.same = old.watches, old.friends, old.same
	}
	if ok && old.until.Add(-old.ttl) > n.until.Add(-n.ttl) {
		n.ttl, n.until = old.ttl, old.until
	}
	set[n.ref.Session] = n
}

// restore loads the checkpoint, folds what the log has since, and puts every
// session that was open into the table as lost, with its status (design §4,
// restart of a node).
func (t *Tracker) restore(ctx context.Context) error {
	if t.peers != nil {
		return t.restoreNodes(ctx)
	}
	began := time.Now()
	notes := noted{}
	var through [Shards]uint64
	var from, records uint64
	if t.cfg.Checkpoints != nil {
		good, err := t.cfg.Checkpoints.Load(ctx, func(n int, at uint64, b []byte) error {
			if n < 0 || n >= Shards {
				return errShard(n)
			}
			through[n] = at
			t.shards[n].save.through = at
			return t.loadShard(n, b, notes)
		}, func(b []byte) error {
			return t.loadNotes(b, notes)
		})
		if err != nil {
			return fmt.Errorf("load the checkpoint: %w", err)
		}
		from = t.loaded(good)
	}
	fold := func(sequence uint64, list []presence.Record) error {
		records += uint64(len(list))
		t.refold(sequence, list, &through)
		return nil
	}
	if err := t.replay(ctx, from, fold); err != nil {
		return err
	}
	users, open := t.revive(notes)
	t.restored(users, open, records, began)
	return nil
}

func errShard(n int) error {
	return fmt.Errorf("tracker: checkpoint has a shard %d of %d", n, Shards)
}

// loadNotes takes in a message of notes of the checkpoint.
func (t *Tracker) loadNotes(b []byte, notes noted) error {
	alive, list, err := parseNotes(b)
	t.lastAlive = max(t.lastAlive, alive)
	for _, n := range list {
		notes.keep(n)
	}
	return err
}

// loaded notes through where all shards are good, also those that were never
// written, and returns where the log must be read from; 0: from its beginning.
func (t *Tracker) loaded(good uint64) (from uint64) {
	for i := range t.shards {
		t.shards[i].save.through = max(t.shards[i].save.through, good)
	}
	if good == 0 {
		return 0
	}
	return good + 1
}

// replay gives fold what the log has from a position on, or, where it does not reach
// back so far, all that it has.
func (t *Tracker) replay(ctx context.Context, from uint64, fold func(uint64, []presence.Record) error) error {
	err := t.replayWhole(ctx, from, fold)
	if errors.Is(err, store.ErrGap) {
		t.log.Error("the log is shorter than the checkpoint needs; last seen times of the gap are missing", "from", from)
		err = t.replayWhole(ctx, 0, fold)
	}
	return err
}

// replayWhole fails with store.ErrGap where the log does not reach back so far.
func (t *Tracker) replayWhole(ctx context.Context, from uint64, fold func(uint64, []presence.Record) error) error {
	next, err := t.cfg.Log.Replay(ctx, from, fold)
	if err != nil {
		return fmt.Errorf("replay the log from %d: %w", from, err)
	}
	if next > 0 {
		t.applied.Store(next - 1)
	}
	return nil
}

func (t *Tracker) restored(users, open int, records uint64, began time.Time) {
	if users > 0 {
		t.log.Info("restored", "users", users, "sessions", open, "records", records, "took", time.Since(began).Round(time.Millisecond).String())
	}
}

func (t *Tracker) loadShard(n int, b []byte, notes noted) error {
	users, list, err := parseShard(b)
	if err != nil {
		return fmt.Errorf("shard %d: %w", n, err)
	}
	for name, f := range users {
		t.shards[n].user(name).folded = *f
	}
	for _, one := range list {
		notes.keep(one)
	}
	return nil
}

// refold folds one message; what a shard already has is skipped.
func (t *Tracker) refold(sequence uint64, list []presence.Record, through *[Shards]uint64) {
	for i := range list {
		n := t.shardIndex(list[i].User)
		if sequence <= through[n] {
			continue
		}
		sh := &t.shards[n]
		sh.facts = sh.user(list[i].User).folded.Apply(&list[i], sh.facts[:0])
		sh.save.changed = true
	}
}

// revive makes table entries of what the log says, and returns their counts.
func (t *Tracker) revive(notes noted) (users, open int) {
	for i := range t.shards {
		for _, u := range t.shards[i].users {
			users++
			n := t.reviveUser(u, notes)
			t.online.Add(int64(n))
			open += n
			u.paint()
		}
	}
	return users, open
}

// reviveUser makes the sessions of a user that the log has open; he is to be
// painted then.
func (t *Tracker) reviveUser(u *user, notes noted) (open int) {
	u.version = 1
	u.seen, u.shown = u.folded.LastSeen, u.folded.LastSeenShown
	for j := range u.folded.Sessions {
		if f := &u.folded.Sessions[j]; f.Phase == presence.FoldOpen {
			t.reviveSession(u, f, notes)
			open++
		}
	}
	return open
}

// unwritten is more than the updates that a session can have made between its
// last note and the end of the process. Its revision goes on beyond them, or
// watchers would meet a number that they know with another status.
const unwritten = 4 * refuseAfter

func (t *Tracker) reviveSession(u *user, f *presence.FoldedSession, notes noted) {
	device := f.Device
	s := &session{
		id: f.ID, public: f.Public, user: u, device: &device, epoch: f.Epoch,
		phase: presence.PhaseLost, status: f.Status, revision: max(1, f.HiddenRev),
	}
	s.kept.fromDisk, s.life.nodeLost, s.seldom().lost = true, true, t.lastAlive
	updated := f.OpenedAt
	// A note of an earlier epoch still has the newest status and list there is:
	// taking a session over changes neither.
	if n, ok := notes[f.ID]; ok {
		s.kept.noted, s.seldom().restored, s.kept.friends = !n.same, n.watches, n.friends
		if s.life.ttl, s.seldom().until = n.ttl, n.until; n.ttl > 0 {
			s.phase = presence.PhaseLive // nobody has to come back for it
		}
		s.seldom().lost = cmp.Or(n.lost, s.few().lost)
		s.status, updated = n.status, max(updated, n.updated)
		if n.epoch == f.Epoch {
			s.revision = max(s.revision, n.revision)
		}
	}
	s.revision += unwritten
	if s.hidden() != f.Hidden {
		// hide and show are in the log before they are anywhere else.
		status := presence.Status{}
		if s.status != nil {
			status = *s.status
		}
		status.Invisible = f.Hidden
		s.status = &status
	}
	s.truth = presence.Face{
		Opened: u.version, Changed: u.version, Revision: presence.ShownRevision(s.epoch, s.revision),
		Since: f.OpenedAt, Updated: updated,
	}
	s.shown.Revision = s.truth.Revision // it may have been shown before
	if !f.Hidden {
		s.shown = s.truth
	}
	s.life.timer.Fire = func() { t.fire(s) }
	u.sessions = append(u.sessions, s)
	if t.peers != nil {
		noted := uint64(0)
		if n, ok := notes[f.ID]; ok && n.epoch == f.Epoch {
			noted = n.revision
		}
		t.reviveForeign(s, noted)
		return
	}
	s.count()
	if s.kept.noted {
		// Its note is the only place on disk for what it says, until the shard is
		// written with it; and it does not say yet when the session was lost. One
		// without a note gets none: nobody must take its list for a known one.
		t.note(s)
	}
}

// Ready begins the time in which devices of restored sessions may come back.
// Call it when the doors are open.
func (t *Tracker) Ready() {
	if t.peers != nil {
		t.unheard()
		t.inform()
		return
	}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, u := range sh.users {
			for _, s := range u.sessions {
				switch {
				case s.kept.fromDisk && s.life.ttl > 0:
					t.outlive(s)
				case s.kept.fromDisk:
					t.setUntil(s, t.cfg.RestartGrace)
				}
			}
		}
		sh.mu.Unlock()
	}
}

// lostSeen is the last seen of a session that was lost with a former run of this
// node: that run's last sign that it was alive, written at least once a second.
func (s *session) lostSeen() presence.Time { return max(s.few().lost, s.truth.Since) }
