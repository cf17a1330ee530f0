package tracker

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What becomes of the sessions of a node that is gone.

// beginSweep is what the sweep's deadline does: a sweep may look at everybody, and no
// other deadline waits for that.
func (t *Tracker) beginSweep() {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() == nil {
		p.joining.Go(t.sweep)
	}
}

// sweep ends what waited long enough for the nodes that are gone. It goes on one shard
// at a time, and lets others have the processor between two. The next one begins
// sweepEvery after its end.
func (t *Tracker) sweep() {
	p := t.peers
	defer func() {
		if !p.ended() {
			t.wheel.Set(&p.sweep, sweepEvery)
		}
	}()
	if p.frozen.Load() || t.draining.Load() {
		return
	}
	heard := p.Nodes()
	p.mu.Lock()
	p.unguess(heard)
	var over []origin
	for _, o := range p.origins {
		if o.over == 0 {
			continue
		}
		if o.met == 0 {
			o.met = t.wheel.Now()
		}
		if p.informed.Load() {
			over = append(over, *o)
			o.heeded = true
		}
	}
	p.mu.Unlock()
	t.share()
	t.agree()
	n := int(p.resting.Add(1) % Shards)
	t.dropLeavers(n)
	t.shards[n].mu.Lock()
	t.restAll(&t.shards[n])
	t.shards[n].mu.Unlock()
	var looks []func()
	for i := range over {
		if !over[i].heeded {
			t.heed(&over[i])
		}
		if look := t.sweepOrigin(&over[i]); look != nil {
			looks = append(looks, look)
		}
	}
	for _, look := range looks {
		look()
	}
	t.chase()
}

// goesOn reports whether a sweep that began may go on with the sessions of o: this node
// takes part, and o was not heard meanwhile.
func (t *Tracker) goesOn(o *origin) bool {
	p := t.peers
	if p.frozen.Load() || t.draining.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.origins[o.incarnation]
	return p.ctx.Err() == nil && now != nil && now.over != 0
}

// sweepOrigin closes the sessions of a node that is gone whose grace is over. It returns
// what is left to do when all such nodes had that.
func (t *Tracker) sweepOrigin(o *origin) (look func()) {
	waited, grace := t.wheel.Now()-o.over, t.leastGrace()
	if o.kept {
		grace = t.cfg.RestartGrace
	}
	if waited < grace {
		if grace-waited <= foresight {
			t.foresee(o)
		}
		return nil
	}
	if !o.agreed && t.wheel.Now()-o.met < agreeWait {
		return nil // the verdict is so late that not all others have answered
	}
	if !t.scanAll(o.incarnation) {
		for i := range t.shards {
			if t.sweepShard(&t.shards[i], o, waited, nil) && !t.goesOn(o) {
				return nil
			}
		}
		return nil
	}
	// All of them go now, most likely. They are packed and known, and are closed first:
	// a look at everybody else, this node's own among them, can wait.
	var closed [Shards]map[presence.SessionID]bool
	whole := t.eachShard(o, func(i int) { closed[i] = t.sweepPacked(i, o, waited) })
	return func() {
		whole = whole && t.eachShard(o, func(i int) { t.sweepShard(&t.shards[i], o, waited, closed[i]) })
		if !whole {
			t.scanAgain(o)
		}
	}
}

// eachShard does something for each shard, on all processors, as long as a sweep goes on
// with o, and reports whether it was done for all. Who waits for a processor meanwhile
// has one after yieldEvery.
func (t *Tracker) eachShard(o *origin, do func(i int)) (whole bool) {
	began := time.Now()
	var yields atomic.Int64
	return each(Shards, func(i int) error {
		if !t.goesOn(o) {
			return errHalted
		}
		if n := int64(time.Since(began) / yieldEvery); n > yields.Swap(n) {
			runtime.Gosched()
		}
		do(i)
		return nil
	}) == nil
}

const yieldEvery = 2 * time.Millisecond

var errHalted = errors.New("the sweep may not go on")

// foresight is how long before the end of a grace those are looked for whose sessions
// will end, in foreseen shards a sweep: to look at a million and to make a hundred
// thousand whole takes longer than to close them.
const (
	foresight = 2 * time.Second
	foreseen  = Shards / 8
)

// foresee looks for some more of those who are packed and have sessions of a node that
// is gone, and makes them whole. If it is heard again after all, they are packed again
// by and by.
func (t *Tracker) foresee(o *origin) {
	going := o.going
	for n := len(going); n < min(len(o.going)+foreseen, Shards); n++ {
		sh := &t.shards[n]
		sh.mu.Lock()
		names := sh.packedOf(o.incarnation)
		for _, name := range names {
			sh.wake(name)
		}
		going = append(going, names)
		sh.mu.Unlock()
	}
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.origins[o.incarnation]; now != nil && now.over == o.over {
		now.going = going
	}
}

// sweepPacked is sweepOrigin for those of a shard who are packed, or were when they
// were looked for, and returns which sessions it closed. Who came since is met by
// sweepShard.
func (t *Tracker) sweepPacked(n int, o *origin, waited time.Duration) map[presence.SessionID]bool {
	var afters []func()
	closed := map[presence.SessionID]bool{}
	sh := &t.shards[n]
	sh.mu.Lock()
	var going []presence.User
	if n < len(o.going) {
		going = o.going[n]
	} else {
		going = sh.packedOf(o.incarnation)
	}
	for _, name := range going {
		u := sh.users[name]
		if u == nil && sh.peers.packed[name].ofOwner(o.incarnation) {
			u = sh.wake(name)
		}
		if u == nil {
			continue
		}
		for _, s := range u.sessions {
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
// closed just now: then what had closed before is looked at as well. It reports whether
// there was anything to look at.
func (t *Tracker) sweepShard(sh *shard, o *origin, waited time.Duration, closed map[presence.SessionID]bool) (looked bool) {
	var afters []func()
	sh.mu.Lock()
	if looked = sh.peers.digests[o.incarnation] != 0 || closed != nil; looked {
		sh.wakeOf(o.incarnation)
		for _, u := range sh.users {
			for _, s := range u.sessions {
				switch {
				case !s.foreign || s.epoch.Incarnation != o.incarnation:
				case closed != nil && s.phase == presence.PhaseClosed && !closed[s.id]:
					sh.peers.waitTold(s, t.wheel.Now()) // it was heard since
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
	return looked
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

// scanAll reports whether a node's sessions are looked at for the first time since
// it is over; what was foreseen is used up by that.
func (t *Tracker) scanAll(incarnation uint64) bool {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[incarnation]
	if o == nil || o.scanned {
		return false
	}
	o.scanned, o.going = true, nil
	return true
}

// scanAgain says that not all of them were looked at.
func (t *Tracker) scanAgain(o *origin) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.origins[o.incarnation]; now != nil {
		now.scanned = false
	}
}
