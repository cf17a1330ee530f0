package tracker

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The end of a lost node's session is told at once, and must come into the log.

// waitTold is wait for a session of whose end its node told, if the log does not have
// that end, and reports whether that is so. The shard's lock is held.
func (p *shardPeers) waitTold(s *session, now time.Duration) (waits bool) {
	f := s.user.folded.Session(s.id)
	if waits = f != nil && f.Phase == presence.FoldOpen && f.Epoch == s.epoch; waits {
		p.wait(s, now, s.user.seen)
	}
	return waits
}

// wait puts a session on the list of those that the log must hear of.
func (p *shardPeers) wait(s *session, now time.Duration, seen presence.Time) {
	if s.life.ttl > 0 || s.phase == presence.PhaseClosed { // such a one may be met at more than one sweep
		for i := range p.unclosed {
			if w := &p.unclosed[i]; w.ref.Session == s.id && w.epoch == s.epoch {
				return
			}
		}
	}
	p.owing.Store(true)
	p.unclosed = append(p.unclosed, unclosed{
		ref: Ref{s.user.name, s.id}, epoch: s.epoch, since: now, seen: seen, told: s.phase == presence.PhaseClosed,
	})
}

// How long the owner of a lost session's end is given to write it before its
// heir does, and anybody; and after which a claim is made again. Of whose end its node
// told, each who heard that writes it as early as the heir: the owner may not have.
const (
	heirAfter  = time.Second
	anyAfter   = 15 * time.Second
	claimAgain = 20 * time.Second
	// aliveDiffers is more than what nodes can differ by in when they last heard
	// one. Where they could not agree, last seen is earlier by that until the log says
	// what counts: it must not go back then.
	aliveDiffers = 2 * time.Second
)

// chase writes to the log what became of lost sessions, where that falls to this
// node, until the log has it; and retakes what had to wait.
func (t *Tracker) chase() {
	if !t.peers.owing.Swap(false) {
		return
	}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		if len(sh.peers.unclosed) > 0 {
			t.chaseShard(sh)
		}
		afters := t.retakeAll(sh)
		if len(sh.peers.unclosed) > 0 || len(sh.peers.retaking) > 0 {
			t.peers.owing.Store(true)
		}
		sh.mu.Unlock()
		for _, f := range afters {
			f()
		}
	}
}

func (t *Tracker) chaseShard(sh *shard) {
	now, self := t.wheel.Now(), t.incarnation.Load()
	kept := sh.peers.unclosed[:0]
	for _, w := range sh.peers.unclosed {
		u := sh.known(w.ref.User)
		if u == nil {
			continue
		}
		s, f := u.session(w.ref.Session), u.folded.Session(w.ref.Session)
		if s == nil || f == nil {
			continue
		}
		further := f.Epoch.Compare(w.epoch)
		went := !s.foreign || s.epoch != w.epoch || further != 0
		if went && (further < 0 || !w.wasTold(u)) || !went && f.Phase != presence.FoldOpen && !w.outlasts(s, f) {
			continue // the log has what became of it
		}
		waited, key := now-w.since, w.ref.Session[:]
		mine := t.peers.Owner(key) == self || waited >= heirAfter && (w.told || t.peers.Heir(key) == self) || waited >= anyAfter || f.Phase != presence.FoldOpen
		if went && further == 0 && f.Phase == presence.FoldOpen {
			mine = false // the log is read late here: until it has gone on, an end would count
		}
		if mine && s.pending == nil && (w.tried == 0 || now-w.tried >= claimAgain) {
			w.tried = now
			if went {
				t.sayWasTold(sh, s, &w)
			} else {
				t.settleLost(sh, s, w.seen)
			}
		}
		kept = append(kept, w)
	}
	clear(sh.peers.unclosed[len(kept):])
	if sh.peers.unclosed = kept; len(kept) == 0 {
		sh.peers.unclosed = nil
	}
}

// outlasts reports whether the log has the end of w's session, but with an earlier
// last seen than this node knows of: who wrote it knew less, and it must not go back.
func (w *unclosed) outlasts(s *session, f *presence.FoldedSession) bool {
	u := s.user
	return f.Phase == presence.FoldClosed && s.phase == presence.PhaseClosed &&
		(w.seen > u.folded.LastSeen || !f.Hidden && w.seen > u.folded.LastSeenShown)
}

// wasTold reports whether this node told of w's end, and when its user was last seen,
// though the session went on, and the log knows of an earlier last seen only: it must
// not go back for who asks another node.
func (w *unclosed) wasTold(u *user) bool {
	return min(w.seen, u.seen) > u.folded.LastSeen || min(w.seen, u.shown) > u.folded.LastSeenShown
}

// sayWasTold writes that to the log, where the end itself is void. The lock is held.
func (t *Tracker) sayWasTold(sh *shard, s *session, w *unclosed) {
	rec := s.record(presence.RecordClosed, presence.ReasonNodeLost, t.now())
	u := s.user
	rec.Epoch, rec.LastSeen = w.epoch, min(w.seen, u.seen)
	if rec.LastSeen <= u.folded.LastSeen { // that is known, and what others see of it is not
		rec.LastSeen = min(w.seen, u.shown)
	}
	rec.Invisible = u.shown < rec.LastSeen
	t.claim(sh, rec, func(error) func() { return nil })
}

// settleLost claims the end of a lost session, or, when a server set it and
// nobody has to come back for it, the session itself. The lock is held.
func (t *Tracker) settleLost(sh *shard, s *session, seen presence.Time) {
	if s.phase == presence.PhaseClosed {
		rec := s.record(presence.RecordClosed, s.truth.Reason, t.now())
		rec.LastSeen, rec.Invisible = max(seen, s.truth.Since), s.user.folded.Session(s.id).Hidden
		t.claim(sh, rec, func(error) func() { return nil })
		return
	}
	t.claimMoved(sh, s)
}

// unclosed is a session of a lost node that closed here, or must be adopted,
// and of which the log does not tell yet.
type unclosed struct {
	ref   Ref
	epoch presence.Epoch
	since time.Duration // wheel time
	tried time.Duration // wheel time of our last claim; 0: none
	seen  presence.Time // last seen, as this node would claim it
	told  bool          // its node told of the end
}
