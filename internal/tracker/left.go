package tracker

import (
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What this node noted of a session that went to another one is all there is of it
// until that one has noted it, and for good if that one died before.

// leftHolds is for how long a node that is heard may take to note what came to it.
const leftHolds = time.Minute

// leaver is what this node noted last of a session that went.
type leaver struct {
	note   note
	listed bool           // note has what the hub knew as well
	epoch  presence.Epoch // at which it is with another node
	since  time.Duration  // the wheel's time at which it went there
}

// leave remembers what is noted of an own session that goes to another node. The lock
// is held.
func (t *Tracker) leave(sh *shard, s *session) {
	if t.cfg.Checkpoints == nil || t.peers.Notes == nil || !s.phase.Open() || !s.listable() {
		return
	}
	if sh.peers.left == nil {
		sh.peers.left = map[presence.SessionID]*leaver{}
	}
	sh.peers.left[s.id] = &leaver{note: s.note(watched{}), since: t.wheel.Now()}
}

// listLeft completes that by what the hub has, before that forgets it.
func (t *Tracker) listLeft(sh *shard, id presence.SessionID) {
	sh.mu.Lock()
	l := sh.peers.left[id]
	sh.mu.Unlock()
	if l == nil {
		return
	}
	var list watched
	list.users, list.friends = t.watchlist.Watches(id) // the hub's locks come before ours
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.listed {
		return
	}
	l.listed = true
	l.note.watches = slices.Concat(l.note.watches, list.users)
	slices.Sort(l.note.watches)
	l.note.watches = slices.Compact(l.note.watches)
	l.note.friends = l.note.friends || list.friends
}

// leavers are the sessions of which this node must keep what it noted; others are
// forgotten. The lock is held.
func (t *Tracker) leavers(sh *shard) (ids []presence.SessionID) {
	for id, l := range sh.peers.left {
		if t.keeps(sh, l) {
			ids = append(ids, id)
		} else {
			delete(sh.peers.left, id)
		}
	}
	return ids
}

// keeps reports whether somebody may still ask for what l was. The lock is held.
func (t *Tracker) keeps(sh *shard, l *leaver) bool {
	var s *session
	if u := sh.peek(l.note.ref.User); u != nil {
		s = u.session(l.note.ref.Session)
	}
	if s == nil || s.dead || s.over || !s.foreign || s.phase == presence.PhaseClosed && !s.truth.Reason.Resumable() {
		return false
	}
	now := t.wheel.Now()
	if s.epoch != l.epoch {
		if l.epoch != (presence.Epoch{}) { // it went on, to one that has to note it
			l.since = now
		}
		l.epoch = s.epoch
	}
	return now-l.since < leftHolds || t.outOfReach(s.epoch.Incarnation)
}

// outOfReach reports whether a node is not heard, whatever has become of it.
func (t *Tracker) outOfReach(incarnation uint64) bool {
	if t.isOver(incarnation) {
		return true
	}
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[incarnation]
	return o != nil && o.since != 0
}

// left appends the note of a session that went, or nothing when it came back.
func (v *saver) left(dst []byte, sh *shard, id presence.SessionID) []byte {
	v.t.listLeft(sh, id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.peers.left[id]; l != nil {
		return l.note.append(dst)
	}
	return dst
}
