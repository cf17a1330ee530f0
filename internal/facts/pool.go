package facts

import (
	"context"
	"sync"
	"time"
)

const (
	// mostPasses is how many passes there may be at once, since each holds the
	// fold of the users it tells of. Who wants another waits his turn, which is a
	// page long, not until somebody has caught up.
	mostPasses = 4

	// parkFor is how long a pass waits for whoever wants its next page.
	parkFor = time.Minute
)

// pool lends passes out for a page and parks them in between. A parked pass
// gives way when another is needed: then its owner begins anew where he was.
type pool struct {
	mu     sync.Mutex // over all below
	parked []*parked  // the one parked longest first
	busy   int
	freed  chan struct{} // closed when one comes back; nil when nobody waits
}

// parking is who will want which page next.
type parking struct {
	of any // comparable
	at Position
}

type parked struct {
	parking
	pass  *pass
	timer *time.Timer
}

// take takes the pass that is parked there, or nil and the right to make one.
func (po *pool) take(ctx context.Context, at parking) (*pass, error) {
	for {
		po.mu.Lock()
		if po.busy < mostPasses {
			po.busy++
			p := po.find(at)
			if p == nil && po.busy+len(po.parked) > mostPasses {
				po.remove(0)
			}
			po.mu.Unlock()
			return p, nil
		}
		if po.freed == nil {
			po.freed = make(chan struct{})
		}
		freed := po.freed
		po.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// find takes a parked pass out; mu is held.
func (po *pool) find(at parking) *pass {
	for i, p := range po.parked {
		if p.parking == at {
			return po.remove(i)
		}
	}
	return nil
}

// remove takes the i-th parked pass out; mu is held.
func (po *pool) remove(i int) *pass {
	p := po.parked[i]
	p.timer.Stop()
	po.parked = append(po.parked[:i:i], po.parked[i+1:]...)
	return p.pass
}

// done gives a pass back, to wait for its next page; one that failed is
// dropped.
func (po *pool) done(p *pass, at parking, err error) {
	po.mu.Lock()
	defer po.mu.Unlock()
	po.busy--
	if po.freed != nil {
		close(po.freed)
		po.freed = nil
	}
	if p == nil || err != nil {
		return
	}
	one := &parked{parking: at, pass: p}
	one.timer = time.AfterFunc(parkFor, func() {
		po.mu.Lock()
		defer po.mu.Unlock()
		for i := range po.parked {
			if po.parked[i] == one {
				po.remove(i)
				return
			}
		}
	})
	po.parked = append(po.parked, one)
}

// drop drops all that is parked.
func (po *pool) drop() {
	po.mu.Lock()
	defer po.mu.Unlock()
	for len(po.parked) > 0 {
		po.remove(0)
	}
}
