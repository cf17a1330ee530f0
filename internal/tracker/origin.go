package tracker

import (
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What the cluster tells of other nodes (cluster.Listener).

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
	o.over, o.met, o.kept, o.guess, o.agreed, o.scanned, o.heeded, o.going = 0, 0, false, false, false, false, false, nil
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

// Left says that it said goodbye, when by its own clock: its sessions wait as for a
// restart.
func (t *Tracker) Left(incarnation uint64, alive presence.Time) {
	t.gone(incarnation, alive, t.now(), true)
	t.agree()
}

func (t *Tracker) gone(incarnation uint64, alive, since presence.Time, kept bool) {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origin(incarnation)
	if o.over == 0 || o.guess {
		o.over = max(t.wheel.Now()-max(0, t.now().Sub(since)), 1)
	}
	if o.guess || alive > o.alive { // what was agreed on is not this
		o.agreed, o.met = false, 0
	}
	o.alive, o.kept, o.guess = max(alive, o.alive), kept, false
	p.asking.news = true
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
			p.asking.news = true
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
