package tracker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// How the checkpoint is written (design §2): what the log does not have goes
// out within noteEvery; a shard is written whole at most every shardEvery and
// not all at once, for the log repeats what came since.
const (
	noteEvery     = 500 * time.Millisecond // half of the promised second: a write takes time too
	shardEvery    = 30 * time.Second
	shardsATime   = 20 // a round: all of them within shardEvery, without a burst that delays others
	noteMaxBytes  = 512 << 10
	saveStopLimit = 10 * time.Second
)

// shardSave is what the saver knows of a shard; the shard's lock guards it.
type shardSave struct {
	changed bool // since it was last written
	dirty   []*session
	through uint64        // log position that the last write is good through
	note    uint64        // first note that may not be in the last write
	at      time.Duration // wheel time of the last write
}

// saver writes the checkpoint behind.
type saver struct {
	t          *Tracker
	next       int    // shard to look at next
	lastNote   uint64 // number of the newest note
	quit, done chan struct{}
	once       sync.Once
	asked      chan request
	nodes      nodeSaver
}

// request asks the saver to write at once and is answered when it has.
type request struct {
	all   bool // the whole checkpoint, and nothing of what was before; else notes
	shard int  // among several nodes, with all: one more than the only shard
	done  chan error
}

func newSaver(t *Tracker) *saver {
	v := &saver{t: t, quit: make(chan struct{}), done: make(chan struct{}), asked: make(chan request)}
	v.nodes.shards = make(chan struct{})
	return v
}

// note marks a session for the next note. The shard's lock is held.
func (t *Tracker) note(s *session) {
	sh := t.shard(s.user.name)
	sh.save.changed = true
	if t.cfg.Checkpoints != nil && !s.kept.dirty {
		s.kept.dirty = true
		sh.save.dirty = append(sh.save.dirty, s)
	}
}

// WatchesChanged says that what a session watches changed, so that the
// checkpoint learns of it: explicitly, or whether it follows its user's friends.
func (t *Tracker) WatchesChanged(ref Ref) {
	sh := t.shard(ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.known(ref.User); u != nil {
		if s := u.session(ref.Session); s != nil && s.phase.Open() && !s.foreign {
			if !s.kept.fromDisk {
				s.kept.friends = false  // the list has it now
				if s.few().until == 0 { // nothing else of it counts for an open session
					s.rare = nil
				} else {
					s.rare.restored = nil
				}
			}
			s.kept.listed = false
			t.note(s)
		}
	}
}

func (v *saver) start() { go v.run() }

func (v *saver) run() {
	defer close(v.done)
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // a save that hangs in the store must not hold up stop
		select {
		case <-v.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	said := v.complaint("the checkpoint cannot be written; sessions live on, a restart would show older statuses")
	round := func() error { return v.round(ctx, shardsATime, shardEvery) }
	if v.t.peers != nil {
		go v.runShards(ctx)
		round = func() error { return v.notesOfNode(ctx) }
	}
	for {
		select {
		case <-v.quit:
			return
		case first := <-v.asked:
			v.answer(ctx, first)
		case <-tick.C:
			said(ctx, round())
		}
	}
}

// complaint returns what says once that writing fails, and when it goes on.
func (v *saver) complaint(text string) func(ctx context.Context, err error) {
	failed := false
	return func(ctx context.Context, err error) {
		if err != nil && !failed && ctx.Err() == nil {
			v.t.log.Error(text, "error", err)
		}
		if err == nil && failed {
			v.t.log.Info("the checkpoint is written again")
		}
		failed = err != nil
	}
}

// stop ends the rounds and writes everything that changed.
func (v *saver) stop(ctx context.Context) (err error) {
	v.once.Do(func() {
		close(v.quit)
		<-v.done
		if v.t.peers != nil {
			<-v.nodes.shards
		}
		ctx, cancel := context.WithTimeout(ctx, saveStopLimit)
		defer cancel()
		err = v.round(ctx, Shards, 0)
	})
	return err
}

// round writes the notes that wait and up to `most` shards whose last write is
// older than `age`, and then lets the store forget what they replace.
func (v *saver) round(ctx context.Context, most int, age time.Duration) error {
	if v.t.peers != nil {
		if err := v.notesOfNode(ctx); err != nil {
			return err
		}
		return v.roundNodes(ctx, most, age)
	}
	if err := v.notes(ctx); err != nil {
		return err
	}
	wrote := false
	for range Shards {
		if most == 0 {
			break
		}
		n, due := v.turn(age)
		if !due {
			continue
		}
		if err := v.shard(ctx, n); err != nil {
			return err
		}
		most--
		wrote = true
	}
	if !wrote {
		return nil
	}
	through, note := v.good()
	return v.t.cfg.Checkpoints.Advance(ctx, through, note)
}

// turn moves on to the next shard, and reports whether it changed and was not written
// for so long.
func (v *saver) turn(age time.Duration) (n int, due bool) {
	n = v.next
	v.next = (v.next + 1) % Shards
	sh := &v.t.shards[n]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return n, sh.save.changed && v.t.wheel.Now()-sh.save.at >= age
}

// notes writes what waits, and with any session open that the node is alive.
func (v *saver) notes(ctx context.Context) error {
	var dirty []*session
	for i := range v.t.shards {
		sh := &v.t.shards[i]
		sh.mu.Lock()
		dirty = append(dirty, sh.save.dirty...)
		sh.save.dirty = nil
		sh.mu.Unlock()
	}
	if len(dirty) == 0 && v.t.online.Load() == 0 {
		return nil
	}
	if v.t.peers != nil {
		if v.t.peers.Notes == nil {
			return nil
		}
		return v.groupNotes(ctx, dirty)
	}
	message := appendNotes(nil, v.t.now())
	for i, s := range dirty {
		message = v.one(message, s)
		if len(message) < noteMaxBytes && i < len(dirty)-1 {
			continue
		}
		if err := v.send(ctx, message); err != nil {
			v.again(dirty)
			return err
		}
		message = appendNotes(message[:0], v.t.now())
	}
	if len(dirty) == 0 {
		return v.send(ctx, message)
	}
	return nil
}

func (v *saver) send(ctx context.Context, message []byte) error {
	n, err := v.t.cfg.Checkpoints.SaveNote(ctx, message)
	if err == nil {
		v.lastNote = n
	}
	return err
}

// again puts sessions back whose notes could not be written.
func (v *saver) again(dirty []*session) {
	for _, s := range dirty {
		sh := v.t.shard(s.user.name)
		sh.mu.Lock()
		if !s.dead {
			s.kept.dirty, s.kept.listed = false, false // what it was in is gone
			v.t.note(s)
		}
		sh.mu.Unlock()
	}
}

// one appends the note of s as it stands, or nothing when it is closed.
func (v *saver) one(dst []byte, s *session) []byte {
	// The hub has locks of its own that are taken before ours, so it is asked
	// first. A watch that comes in between marks the session dirty again.
	sh := v.t.shard(s.user.name)
	sh.mu.Lock()
	same := s.kept.listed
	s.kept.dirty, s.kept.listed = false, true
	sh.mu.Unlock()
	var list watched
	if !same {
		list.users, list.friends = v.t.watchlist.Watches(s.id)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !s.phase.Open() || s.foreign {
		s.kept.listed = false
		return dst
	}
	s.kept.noted = true
	n := s.note(list)
	n.same = same
	return n.append(dst)
}

// watched is what the watch list says of a session.
type watched struct {
	users   []presence.UserID
	friends bool
}

func (s *session) note(list watched) note {
	few := s.few()
	if len(few.restored) > 0 {
		list.users = slices.Concat(list.users, few.restored)
		slices.Sort(list.users)
		list.users = slices.Compact(list.users)
	}
	lost := presence.Time(0)
	if s.kept.fromDisk {
		lost = s.lostSeen()
	}
	return note{
		lost: lost, ref: Ref{s.user.name, s.id}, epoch: s.epoch, revision: s.revision,
		status: s.status, updated: s.truth.Updated, watches: list.users, friends: list.friends || s.kept.friends,
		ttl: s.life.ttl, until: few.until,
	}
}
