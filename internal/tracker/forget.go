package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What is kept of nodes that are gone goes, too, when nobody can ask for it.

// forget drops what is kept of nodes that are gone for good, and what they noted,
// if that falls to this one.
func (v *saver) forget(ctx context.Context) error {
	p := v.t.peers
	window := v.t.cfg.RestartGrace + v.t.longestWindow() + keepLists
	var gone []uint64
	p.mu.Lock()
	for key, l := range p.lists {
		if v.t.wheel.Now()-l.at > keepLists {
			delete(p.lists, key)
		}
	}
	for _, o := range p.origins {
		if o.over != 0 && v.t.wheel.Now()-o.over > window {
			gone = append(gone, o.incarnation)
		}
	}
	p.mu.Unlock()
	for _, incarnation := range gone {
		if v.t.hasOf(incarnation) {
			continue
		}
		if p.Notes != nil && p.Owner(presence.AppendNumber(nil, incarnation)) == v.t.incarnation.Load() {
			if err := p.Notes.ForgetNotes(ctx, incarnation); err != nil {
				return err
			}
		}
		p.mu.Lock()
		if o := p.origins[incarnation]; o != nil && o.over != 0 {
			p.catch(o) // it counts as silent no more
			delete(p.origins, incarnation)
		}
		p.mu.Unlock()
	}
	return nil
}

// hasOf reports whether any session in the table is a node's.
func (t *Tracker) hasOf(incarnation uint64) bool {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n := sh.peers.digests[incarnation]
		sh.mu.Unlock()
		if n != 0 {
			return true
		}
	}
	return false
}

func (t *Tracker) longestWindow() (d time.Duration) {
	for _, a := range *t.policies.Load() {
		d = max(d, a.ResumeWindow)
	}
	return d
}
