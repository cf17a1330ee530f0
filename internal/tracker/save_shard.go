package tracker

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A shard of the checkpoint, and how far all of them are good.

// shard writes shard n whole.
func (v *saver) shard(ctx context.Context, n int) error {
	v.nodes.writing.Lock()
	defer v.nodes.writing.Unlock()
	through, note := v.t.applied.Load(), v.lastNote+1
	sh := &v.t.shards[n]
	var open []*session
	sh.mu.Lock()
	for _, u := range sh.users {
		for _, s := range u.sessions {
			if s.phase.Open() && v.t.peers == nil {
				open = append(open, s)
			}
		}
	}
	sh.mu.Unlock()
	watches := make(map[*session]watched, len(open))
	for _, s := range open {
		users, friends := v.t.watchlist.Watches(s.id)
		watches[s] = watched{users, friends}
	}
	sh.mu.Lock()
	b, whole := v.t.appendShard(nil, sh, watches)
	sh.save.changed = !whole
	sh.mu.Unlock()
	err := v.t.cfg.Checkpoints.SaveShard(ctx, n, through, b)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err != nil {
		sh.save.changed = true
		return err
	}
	sh.save.through, sh.save.note, sh.save.at = through, note, v.t.wheel.Now()
	return nil
}

// appendShard encodes a shard. It is not whole when a session has opened since
// the watches were asked for: that one's note must be kept. The lock is held.
func (t *Tracker) appendShard(b []byte, sh *shard, watches map[*session]watched) (_ []byte, whole bool) {
	whole = true
	now := t.now()
	if t.peers != nil {
		sh.wakeOf(0)
		defer t.restAll(sh)
	}
	count := 0
	for _, u := range sh.users {
		u.folded.Forget(now)
		if !u.empty() {
			count++
		} else {
			sh.tidy(u) // he was erased an hour ago
		}
	}
	b = store.AppendShard(b, count)
	for name, u := range sh.users {
		if !u.empty() {
			b = presence.AppendFolded(b, name, &u.folded)
		}
	}
	for _, u := range sh.users {
		for _, s := range u.sessions {
			w, asked := watches[s]
			switch {
			case !s.phase.Open() || t.peers != nil:
			case s.kept.fromDisk && !s.kept.noted:
				// Nobody must take its list for a known one.
			case asked:
				n := s.note(w)
				b = n.append(b)
			default:
				whole = false
			}
		}
	}
	return b, whole
}

// empty reports that the log never told of the user.
func (u *user) empty() bool {
	return u.folded.Seq == 0 && len(u.folded.Sessions) == 0 && u.folded.Erased == 0
}

// good is the position through which every shard is written, and the first note
// that must stay: one that is not in a shard, or the newest, because that says
// when the node was last alive. It never goes back: what a shard without changes
// has written is good through now, not only through its last write.
func (v *saver) good() (through, note uint64) {
	applied := v.t.applied.Load()
	through, note = applied, v.lastNote
	for i := range v.t.shards {
		sh := &v.t.shards[i]
		sh.mu.Lock()
		if sh.save.changed {
			through, note = min(through, sh.save.through), min(note, sh.save.note)
		} else {
			sh.save.through, sh.save.note = applied, v.lastNote
		}
		sh.mu.Unlock()
	}
	return through, note
}
