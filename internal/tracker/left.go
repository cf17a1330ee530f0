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
	user   presence.User
	note   *note          // without what the hub knew; nil as soon as packed is all of it
	packed string         // as it is written: a hundred thousand may go at once
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
	n := s.note(watched{})
	sh.peers.left[s.id] = &leaver{user: s.user.name, note: &n, since: t.wheel.Now()}
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
	n := l.note
	if n == nil {
		return
	}
	n.watches = slices.Concat(n.watches, list.users)
	slices.Sort(n.watches)
	n.watches = slices.Compact(n.watches)
	n.friends = n.friends || list.friends
	sh.peers.scratch = n.append(sh.peers.scratch[:0])
	l.packed, l.note = string(sh.peers.scratch), nil
}

// leaversATime is of how many shards a sweep looks whether what went may be forgotten:
// it is at most thirteen seconds until the next look.
const leaversATime = 16

// dropLeavers is leavers of the next of all shards, of which n says where it is.
func (t *Tracker) dropLeavers(n int) {
	for i := range leaversATime {
		sh := &t.shards[(n*leaversATime+i)%Shards]
		sh.mu.Lock()
		t.leavers(sh)
		sh.mu.Unlock()
	}
}

// leavers are the sessions of which this node must keep what it noted; others are
// forgotten. The lock is held.
func (t *Tracker) leavers(sh *shard) (ids []presence.SessionID) {
	for id, l := range sh.peers.left {
		if t.keeps(sh, id, l) {
			ids = append(ids, id)
		} else {
			delete(sh.peers.left, id)
		}
	}
	if len(sh.peers.left) == 0 {
		sh.peers.left = nil // or it would keep the room
	}
	return ids
}

// keeps reports whether somebody may still ask for what l was. The lock is held.
func (t *Tracker) keeps(sh *shard, id presence.SessionID, l *leaver) bool {
	var s *session
	if u := sh.peek(l.user); u != nil {
		s = u.session(id)
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
	switch l := sh.peers.left[id]; {
	case l == nil:
		return dst
	case l.note != nil: // it came back, and went again just now
		return l.note.append(dst)
	default:
		return append(dst, l.packed...)
	}
}
