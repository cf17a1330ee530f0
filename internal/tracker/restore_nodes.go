package tracker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A node that starts among others has everybody's sessions to restore, and nearly
// all are packed at once. So nobody is made whole who need not be: shards, notes and
// records stay as they were read until all are there, and then each shard is folded,
// revived and packed by itself, on all processors.

// restoring is a start among several nodes.
type restoring struct {
	t       *Tracker
	through [Shards]uint64
	states  [Shards][]byte             // of shards, as they were read; nil: none, or made whole
	inside  [Shards][]note             // notes that were in the shard: a node wrote it that was alone
	early   [store.NoteGroups]noted    // notes beside the shards, of such a node
	groups  [store.NoteGroups][][]byte // of nodes, as they were read
	records [Shards][]numbered
	waiting int // records in there
	most    int // of them
	count   uint64

	users, open atomic.Int64
}

// numbered is a record with the sequence of its message.
type numbered struct {
	sequence uint64
	record   presence.Record
}

// mostWaiting bounds the records that are kept to be folded later: a checkpoint
// that is far behind is folded in several goes.
const mostWaiting = 1 << 18

// restoreNodes is restore among several nodes: the sessions are other nodes', those
// of this node's former run as well.
func (t *Tracker) restoreNodes(ctx context.Context) error {
	return t.restoreBy(ctx, mostWaiting)
}

// restoreBy is restoreNodes that folds when so many records wait.
func (t *Tracker) restoreBy(ctx context.Context, most int) error {
	for from, began := uint64(0), time.Now(); ; {
		r := &restoring{t: t, most: most}
		was := from
		var err error
		if from, err = r.load(ctx); err != nil {
			return err
		}
		err = t.replayWhole(ctx, from, r.take)
		switch gap := errors.Is(err, store.ErrGap); {
		case gap && r.count > 0:
			return fmt.Errorf("the log was cut while this node read it; start it again: %w", err)
		case gap && from > was:
			continue // others moved the checkpoint on, and cut the log, when this node had read it
		case gap:
			err = t.replay(ctx, from, r.take)
		}
		if err == nil {
			err = each(store.NoteGroups, r.revive)
		}
		if err == nil {
			t.restored(int(r.users.Load()), int(r.open.Load()), r.count, began)
		}
		return err
	}
}

// load reads the checkpoint and the notes of the nodes, at once, and returns from
// where the log is needed.
func (r *restoring) load(ctx context.Context) (from uint64, err error) {
	var reading sync.WaitGroup
	var unread error
	if r.t.peers.Notes != nil {
		reading.Go(func() { unread = r.loadNodeNotes(ctx) })
	}
	if r.t.cfg.Checkpoints != nil {
		var good uint64
		good, err = r.t.cfg.Checkpoints.Load(ctx, func(n int, at uint64, b []byte) error {
			if n < 0 || n >= Shards {
				return errShard(n)
			}
			r.through[n], r.states[n] = at, b
			r.t.shards[n].save.through = at
			return nil
		}, func(b []byte) error {
			return r.loadEarly(b)
		})
		from = r.t.loaded(good)
	}
	reading.Wait()
	switch {
	case err != nil:
		return 0, fmt.Errorf("load the checkpoint: %w", err)
	case unread != nil:
		return 0, fmt.Errorf("load what the nodes noted of their sessions: %w", unread)
	}
	return from, nil
}

// loadNodeNotes reads what all nodes noted of their sessions, and when each last
// said that it lives.
func (r *restoring) loadNodeNotes(ctx context.Context) error {
	return r.t.peers.Notes.LoadNotes(ctx, 0, -1, func(incarnation uint64, b []byte) error {
		alive, first, any, err := firstNote(b)
		r.t.peers.mu.Lock()
		o := r.t.peers.origin(incarnation)
		o.alive = max(o.alive, alive)
		r.t.peers.mu.Unlock()
		if any {
			group := r.t.shardIndex(first) % store.NoteGroups // the whole message is of one
			r.groups[group] = append(r.groups[group], b)
		}
		return err
	})
}

// take keeps a message of the log; what a shard already has is skipped.
func (r *restoring) take(sequence uint64, list []presence.Record) error {
	r.count += uint64(len(list))
	for i := range list {
		if n := r.t.shardIndex(list[i].User); sequence > r.through[n] {
			r.records[n] = append(r.records[n], numbered{sequence, list[i]})
			r.waiting++
		}
	}
	if r.waiting < r.most {
		return nil
	}
	r.waiting = 0
	return each(Shards, func(n int) error {
		if len(r.records[n]) == 0 {
			return nil
		}
		return r.whole(n)
	})
}

// loadEarly takes in notes of a node that was alone.
func (r *restoring) loadEarly(b []byte) error {
	alive, list, err := parseNotes(b)
	r.t.lastAlive = max(r.t.lastAlive, alive)
	for _, n := range list {
		early := &r.early[r.t.shardIndex(n.ref.User)%store.NoteGroups]
		if *early == nil {
			*early = noted{}
		}
		early.keep(n)
	}
	return err
}

// whole makes the users of a shard and folds the records that wait.
func (r *restoring) whole(n int) error {
	sh := &r.t.shards[n]
	if b := r.states[n]; b != nil {
		r.states[n] = nil
		rest, err := store.ParseShard(b, func(name presence.User, f *presence.Folded) error {
			sh.restored(name).folded = *f
			return nil
		})
		if err == nil {
			r.inside[n], err = parseNoteList(rest)
		}
		if err != nil {
			return fmt.Errorf("load the checkpoint: shard %d: %w", n, err)
		}
	}
	for i := range r.records[n] {
		rec := &r.records[n][i].record
		sh.facts = sh.restored(rec.User).folded.Apply(rec, sh.facts[:0])
		sh.save.changed = true
	}
	r.records[n] = nil
	return nil
}

// restored is user, at a start: who is made is painted when all of him is there.
func (sh *shard) restored(name presence.User) *user {
	u := sh.users[name]
	if u == nil {
		u = &user{name: name, tally: sh.tallies.app(name.App)}
		sh.users[name] = u
	}
	return u
}

// revive makes the sessions of the shards of a group, and packs whom it can.
func (r *restoring) revive(group int) error {
	notes := noted{}
	for n := group; n < Shards; n += store.NoteGroups {
		if err := r.whole(n); err != nil {
			return err
		}
		for _, one := range r.inside[n] {
			notes.keep(one)
		}
		r.inside[n] = nil
	}
	for _, one := range r.early[group] {
		notes.keep(one)
	}
	for _, b := range r.groups[group] {
		_, list, err := parseNotes(b)
		if err != nil {
			return fmt.Errorf("load what the nodes noted of their sessions: %w", err)
		}
		for _, one := range list {
			notes.keep(one)
		}
	}
	r.groups[group] = nil
	for n := group; n < Shards; n += store.NoteGroups {
		r.reviveShard(&r.t.shards[n], notes)
	}
	return nil
}

func (r *restoring) reviveShard(sh *shard, notes noted) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.peers.packed) == 0 {
		sh.peers.packed = make(map[presence.User]packed, len(sh.users))
	}
	open := 0
	users := len(sh.users)
	for name, u := range sh.users {
		open += r.t.reviveUser(u, notes)
		u.tallyAvailable(slices.ContainsFunc(u.sessions, func(s *session) bool { return s.shown.Open() }))
		if r.t.rest(sh, u); sh.users[name] != nil {
			u.paint()
		}
	}
	r.users.Add(int64(users))
	r.open.Add(int64(open))
}

// each does something for each number below count, on all processors, and returns
// an error of it.
func each(count int, do func(int) error) error {
	var next atomic.Int32
	errs := make([]error, runtime.GOMAXPROCS(0))
	var doing sync.WaitGroup
	for hand := range errs {
		doing.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && errs[hand] == nil; i = int(next.Add(1)) - 1 {
				errs[hand] = do(i)
			}
		})
	}
	doing.Wait()
	return errors.Join(errs...)
}

// reviveForeign makes a session that was found at start another node's: of one
// that runs, or of one that is gone, this node's former run among them. noted is
// the revision that its status has by a note of this epoch, or 0: then digests will
// differ. The lock is held, or nobody else there yet.
func (t *Tracker) reviveForeign(s *session, noted uint64) {
	s.foreign, s.phase = true, presence.PhaseLive
	s.kept, s.life.nodeLost = kept{}, false
	until := s.few().until
	if s.rare = nil; until != 0 {
		s.seldom().until = until
	}
	s.revision = noted // its owner knows better, or somebody claims the next epoch
	s.truth.Revision = presence.ShownRevision(s.epoch, max(1, noted))
	if s.shown.Revision = s.truth.Revision; s.shown.Opened != 0 {
		s.shown = s.truth
	}
	sh := t.shard(s.user.name)
	sh.peers.count(s.epoch.Incarnation, s.mark())
}
