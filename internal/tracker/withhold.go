package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What a node that dies told nobody but its own watchers, the others deny: they say of
// its sessions that they were last seen with its last sign of life. Its watchers go to
// them, and had been told of a later end: last seen went back. So an end is shown here
// when the others have it, or the log has.

const (
	// withheldFor is for how long at most others are waited for that are heard and do
	// not answer. The log has the end sooner, as a rule.
	withheldFor = 500 * time.Millisecond
	// reachPace is the least time between two questions: where much ends, one is of
	// many.
	reachPace = 5 * time.Millisecond
	// livedFor: the others know of a node that they hear that it lived so long ago. To
	// say that a session ended before that, as of one whose grace is over, denies
	// nothing that they say when it dies.
	livedFor = 5 * time.Second
)

// ended names the end of a session at an epoch.
type ended struct {
	session presence.SessionID
	epoch   presence.Epoch
}

// ending is an end that is not shown yet.
type ending struct {
	sh *shard
	ended
}

// withhold keeps what is shown of the user of an own session, which ends now, as it is.
// What it returns is called when the others were told of the end; all under the lock.
func (t *Tracker) withhold(sh *shard, s *session, seen presence.Time) (reach func()) {
	p, e := t.peers, ending{sh, ended{s.id, s.epoch}}
	if p == nil || t.now().Sub(seen) > livedFor || s.user.picture.Load() == nil || sh.peers.withheld[e.ended] != nil {
		return func() {}
	}
	// Who comes and goes all the time would never be shown as he is.
	if u := s.user; u.withheld == 0 {
		u.standing = t.wheel.Now()
	} else if t.wheel.Now()-u.standing >= withheldFor {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ctx.Err() != nil {
		return func() {}
	}
	sh.peers.withheld[e.ended] = s.user
	s.user.withheld++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.withheld = append(p.withheld, e)
		if !p.reaching && p.ctx.Err() == nil {
			p.reaching = true
			p.joining.Go(t.reach)
		}
	}
}

// reach shows what was withheld when the others have it: all that ended while they were
// asked, together.
func (t *Tracker) reach() {
	p := t.peers
	pace := time.NewTimer(reachPace)
	defer pace.Stop()
	for {
		p.mu.Lock()
		list := p.withheld
		p.withheld, p.reaching = nil, len(list) > 0
		p.mu.Unlock()
		if len(list) == 0 {
			return
		}
		pace.Reset(reachPace)
		ctx, cancel := context.WithTimeout(p.ctx, withheldFor)
		p.Reach(ctx)
		cancel()
		for _, e := range list {
			e.sh.mu.Lock()
			after := t.release(e.sh, e.ended)
			e.sh.mu.Unlock()
			if after != nil {
				after()
			}
		}
		select {
		case <-pace.C:
		case <-p.ctx.Done():
		}
	}
}

// release shows an end that was withheld, if it was and is the last of its user's. The
// lock is held; what it returns, if anything, is called without it.
func (t *Tracker) release(sh *shard, e ended) (after func()) {
	if sh.peers == nil {
		return nil
	}
	u := sh.peers.withheld[e]
	if u == nil {
		return nil
	}
	delete(sh.peers.withheld, e)
	if u.withheld--; u.withheld > 0 {
		return nil
	}
	return t.publish(u)
}
