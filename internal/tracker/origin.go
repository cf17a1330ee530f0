package tracker

import (
	"context"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What the cluster tells of other nodes (cluster.Listener), and what becomes of
// the sessions of one that is gone.

// join makes the tracker one of several nodes.
func (t *Tracker) join(c *Cluster) {
	t.peers = newPeering(c)
	t.peers.sweep.Fire = t.sweep
	for i := range t.shards {
		t.shards[i].peers = &shardPeers{digests: map[uint64]uint64{}, told: map[*session]uint64{}, packed: map[presence.User]packed{}, fire: t.fire, owing: &t.peers.owing}
	}
}

func (t *Tracker) startPeers() {
	ctx, cancel := context.WithCancel(context.Background())
	t.peers.mu.Lock()
	t.peers.ctx, t.peers.end = ctx, cancel
	t.peers.mu.Unlock()
	go t.follow(ctx)
	t.wheel.Set(&t.peers.sweep, sweepEvery)
}

func (t *Tracker) stopPeers(ctx context.Context) {
	t.wheel.Clear(&t.peers.sweep)
	t.peers.mu.Lock()
	t.peers.end()
	t.peers.mu.Unlock()
	select {
	case <-t.peers.stopped:
	case <-ctx.Done():
	}
	t.peers.joining.Wait()
}

// origin returns what is known of a node. mu is held.
func (p *peering) origin(incarnation uint64) *origin {
	o := p.origins[incarnation]
	if o == nil {
		o = &origin{incarnation: incarnation}
		p.origins[incarnation] = o
	}
	return o
}

// hear notes that a node is heard; what is known of its sessions may be stale
// still. mu is held.
func (p *peering) hear(o *origin) {
	o.over, o.met, o.kept, o.guess, o.agreed, o.scanned = 0, 0, false, false, false, false
}

// catch notes that nothing is missing of what a node told. mu is held.
func (p *peering) catch(o *origin) {
	if o.since != 0 {
		o.since = 0
		p.stale.Add(-1)
	}
}

func (p *peering) mute(o *origin, since presence.Time) {
	if o.since == 0 {
		o.since = max(since, 1)
		p.stale.Add(1)
	}
}

// Silent says that a node is not heard since a time: what is known of its
// sessions is stale from then on, and nothing is visible.
func (t *Tracker) Silent(incarnation uint64, since presence.Time) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute(p.origin(incarnation), since)
}

// Returned says that it is heard again: its sessions are live again, and stale
// until Caught.
func (t *Tracker) Returned(incarnation uint64) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hear(p.origin(incarnation))
}

// Caught says that nothing is missing any more of what it told meanwhile.
func (t *Tracker) Caught(incarnation uint64) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catch(p.origin(incarnation))
}

// Lost says that it is gone, when it last said that it lives, and since when a
// majority sees it so: its sessions have their grace from then on. That may have
// been some seconds ago; devices could come back here all the time, and whose
// could not be taken over at once is held.
func (t *Tracker) Lost(incarnation uint64, alive, since presence.Time) {
	t.gone(incarnation, alive, since, false)
	t.agree()
}

// Left says that it said goodbye: its sessions wait as for a restart.
func (t *Tracker) Left(incarnation uint64) {
	t.gone(incarnation, t.now(), t.now(), true)
	t.agree()
}

func (t *Tracker) gone(incarnation uint64, alive, since presence.Time, kept bool) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origin(incarnation)
	if o.over == 0 {
		o.over = max(t.wheel.Now()-max(0, t.now().Sub(since)), 1)
	}
	o.alive, o.kept = max(alive, o.alive), kept
}

// unheard notes owners of sessions and notes that were found here, and that nobody
// ever heard.
func (t *Tracker) unheard() {
	p := t.peers
	owners := map[uint64]bool{} // true: of sessions
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for owner := range sh.peers.digests {
			owners[owner] = true
		}
		sh.mu.Unlock()
	}
	heard, self := p.Nodes(), t.incarnation.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	for owner := range p.origins {
		// Those of notes alone count too: who knew when they went may have been
		// replaced since, and their notes would stay for ever.
		if !owners[owner] {
			owners[owner] = false
		}
	}
	for owner, has := range owners {
		if owner == self || slices.Contains(heard, owner) {
			continue
		}
		if o := p.origin(owner); o.over == 0 && o.since == 0 {
			o.over, o.kept, o.guess = max(t.wheel.Now(), 1), true, true
			if has {
				p.mute(o, o.alive)
			}
		}
	}
}

// unguess takes back what was guessed of nodes that are heard by now: of one that is
// met for the first time the cluster tells nothing. mu is held.
func (p *peering) unguess(heard []uint64) {
	for _, incarnation := range heard {
		if o := p.origins[incarnation]; o != nil && o.guess {
			p.hear(o)
			p.catch(o)
		}
	}
}

// sweep ends what waited long enough for the nodes that are gone.
func (t *Tracker) sweep() {
	p := t.peers
	defer t.wheel.Set(&p.sweep, sweepEvery)
	if p.frozen.Load() || t.draining.Load() {
		return
	}
	heard := p.Nodes()
	p.mu.Lock()
	p.unguess(heard)
	var over []origin
	for _, o := range p.origins {
		if o.over != 0 {
			if o.met == 0 {
				o.met = t.wheel.Now()
			}
			over = append(over, *o)
		}
	}
	p.mu.Unlock()
	t.share()
	t.agree()
	n := int(p.resting.Add(1) % Shards)
	t.shards[n].mu.Lock()
	t.restAll(&t.shards[n])
	t.shards[n].mu.Unlock()
	for i := range over {
		t.sweepOrigin(&over[i])
	}
	t.chase()
}

// sweepOrigin closes the sessions of a node that is gone whose grace is over.
func (t *Tracker) sweepOrigin(o *origin) {
	waited := t.wheel.Now() - o.over
	if !o.kept && waited < t.leastGrace() || o.kept && waited < t.cfg.RestartGrace {
		return
	}
	if !o.agreed && t.wheel.Now()-o.met < agreeWait {
		return // the verdict is so late that not all others have answered
	}
	if !t.scanAll(o.incarnation) {
		for i := range t.shards {
			t.sweepShard(&t.shards[i], o, waited, nil)
		}
		return
	}
	// All of them go now, most likely. They are packed, and are closed first: a look
	// at everybody who is awake, this node's own among them, can wait.
	var closed [Shards]map[presence.SessionID]bool
	_ = each(Shards, func(i int) error { closed[i] = t.sweepPacked(&t.shards[i], o, waited); return nil })
	_ = each(Shards, func(i int) error { t.sweepShard(&t.shards[i], o, waited, closed[i]); return nil })
}

// sweepPacked is sweepOrigin for those of a shard who are packed, and returns which
// sessions it closed.
func (t *Tracker) sweepPacked(sh *shard, o *origin, waited time.Duration) map[presence.SessionID]bool {
	var afters []func()
	closed := map[presence.SessionID]bool{}
	sh.mu.Lock()
	for name, p := range sh.peers.packed {
		if !p.ofOwner(o.incarnation) {
			continue
		}
		for _, s := range sh.wake(name).sessions {
			if !s.foreign || s.epoch.Incarnation != o.incarnation || !s.phase.Open() {
				continue
			}
			if after := t.orphan(sh, s, o, waited); after != nil {
				afters, closed[s.id] = append(afters, after), true
			}
		}
	}
	sh.mu.Unlock()
	for _, f := range afters {
		f()
	}
	return closed
}

// sweepShard is sweepOrigin for a shard; closed, when not nil, are those that were
// closed just now: then what had closed before is looked at as well.
func (t *Tracker) sweepShard(sh *shard, o *origin, waited time.Duration, closed map[presence.SessionID]bool) {
	var afters []func()
	sh.mu.Lock()
	if sh.peers.digests[o.incarnation] != 0 || closed != nil {
		sh.wakeOf(o.incarnation)
		for _, u := range sh.users {
			for _, s := range u.sessions {
				switch {
				case !s.foreign || s.epoch.Incarnation != o.incarnation:
				case closed != nil && s.phase == presence.PhaseClosed && !closed[s.id]:
					// The node told of its end, and may have died before the log had it.
					if f := u.folded.Session(s.id); f != nil && f.Phase == presence.FoldOpen && f.Epoch == s.epoch {
						sh.peers.wait(s, t.wheel.Now(), u.seen)
					}
				case s.phase.Open():
					if after := t.orphan(sh, s, o, waited); after != nil {
						afters = append(afters, after)
					}
				}
			}
		}
	}
	sh.mu.Unlock()
	for _, f := range afters {
		f()
	}
}

// isOver reports whether a node is lost or left.
func (t *Tracker) isOver(incarnation uint64) bool { return t.overSince(incarnation) != 0 }

// overSince is the wheel's time at which a node was lost or left; 0: it is not. One
// that began before this node, and that nobody knows any more, went before it began.
func (t *Tracker) overSince(incarnation uint64) time.Duration {
	p, heard := t.peers, t.peers.Nodes()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch o := p.origins[incarnation]; {
	case o != nil:
		return o.over
	case incarnation < t.incarnation.Load() && !slices.Contains(heard, incarnation):
		return -1
	}
	return 0
}

// leastGrace is the shortest grace of any app and platform.
func (t *Tracker) leastGrace() time.Duration {
	least := t.cfg.RestartGrace
	for _, a := range *t.policies.Load() {
		least = min(least, a.Grace)
		for i := range a.platforms {
			least = min(least, a.platforms[i].Grace)
		}
	}
	return least
}

// orphan closes a session whose node is gone, when its grace is over. The lock is
// held.
func (t *Tracker) orphan(sh *shard, s *session, o *origin, waited time.Duration) (after func()) {
	now := t.wheel.Now()
	if s.pending != nil || s.held && now < s.life.until || !o.kept && waited < t.policy(s).Grace {
		return nil
	}
	reason, seen := presence.ReasonNodeLost, max(o.alive, s.truth.Since)
	if s.life.ttl > 0 {
		reason, seen = presence.ReasonTimedOut, max(s.few().until.Add(-s.life.ttl), s.truth.Since)
	}
	if sh.peers.wait(s, now, seen); s.life.ttl > 0 && s.few().until > t.now() {
		return nil
	}
	if s.life.ttl == 0 && !o.agreed {
		seen = max(o.alive.Add(-aliveDiffers), s.truth.Since)
	}
	m := s.told()
	m.close(reason, t.now(), seen)
	t.counts.closings[reason].Add(1)
	return t.merge(sh, &m)
}

// wait puts a session on the list of those that the log must hear of.
func (p *shardPeers) wait(s *session, now time.Duration, seen presence.Time) {
	if s.life.ttl > 0 { // such a one is met at each sweep
		for i := range p.unclosed {
			if w := &p.unclosed[i]; w.ref.Session == s.id && w.epoch == s.epoch {
				return
			}
		}
	}
	p.owing.Store(true)
	p.unclosed = append(p.unclosed, unclosed{ref: Ref{s.user.name, s.id}, epoch: s.epoch, since: now, seen: seen})
}

// scanAll reports whether a node's sessions are looked at for the first time since
// it is over.
func (t *Tracker) scanAll(incarnation uint64) bool {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[incarnation]
	if o == nil || o.scanned {
		return false
	}
	o.scanned = true
	return true
}

// How long the owner of a lost session's end is given to write it before its
// heir does, and anybody; and after which a claim is made again.
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
// node, until the log has it.
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
		if len(sh.peers.unclosed) > 0 {
			t.peers.owing.Store(true)
		}
		sh.mu.Unlock()
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
		if s == nil || !s.foreign || s.epoch != w.epoch || f == nil || f.Phase != presence.FoldOpen || f.Epoch != w.epoch {
			continue // the log has what became of it
		}
		waited, key := now-w.since, w.ref.Session[:]
		mine := t.peers.Owner(key) == self || waited >= heirAfter && t.peers.Heir(key) == self || waited >= anyAfter
		if mine && s.pending == nil && (w.tried == 0 || now-w.tried >= claimAgain) {
			w.tried = now
			t.settleLost(sh, s, w.seen)
		}
		kept = append(kept, w)
	}
	clear(sh.peers.unclosed[len(kept):])
	if sh.peers.unclosed = kept; len(kept) == 0 {
		sh.peers.unclosed = nil
	}
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
	t.claimMoved(sh, s, nil)
}
