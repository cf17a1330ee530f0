package tracker

import (
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// tally counts what an app has in the table, so that nobody need walk it.
type tally struct {
	app    presence.AppID
	phases [presence.PhaseClosed]atomic.Int64 // sessions that are created, live, lost
	online atomic.Int64                       // users who are available as others see them
}

// tallies are the apps' tallies, made when an app's first user comes.
type tallies struct {
	mu sync.RWMutex // guards of
	of map[presence.AppID]*tally
}

func (t *tallies) app(id presence.AppID) *tally {
	t.mu.RLock()
	one := t.of[id]
	t.mu.RUnlock()
	if one != nil {
		return one
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if one = t.of[id]; one == nil {
		one = &tally{app: id}
		t.of[id] = one
	}
	return one
}

// enter moves s to another phase. Its lock is held.
func (s *session) enter(p presence.Phase) {
	s.uncount()
	s.phase = p
	s.count()
}

// count and uncount add a session of the table to its app's tally, and take it
// out again.
func (s *session) count() {
	if s.phase != presence.PhaseClosed && !s.foreign {
		s.user.tally.phases[s.phase].Add(1)
	}
}

func (s *session) uncount() {
	if s.phase != presence.PhaseClosed && !s.foreign {
		s.user.tally.phases[s.phase].Add(-1)
	}
}

// tallyAvailable counts the user as others see him now. The lock is held.
func (u *user) tallyAvailable(available bool) {
	if available == u.available {
		return
	}
	u.available = available
	if available {
		u.tally.online.Add(1)
	} else {
		u.tally.online.Add(-1)
	}
}

// Count is what an app has on this node.
type Count struct {
	Users               int // available, as others see them
	Created, Live, Lost int // sessions
}

// Counts returns the numbers of every app that ever had a policy.
func (t *Tracker) Counts() map[presence.AppID]Count {
	t.tallies.mu.RLock()
	defer t.tallies.mu.RUnlock()
	all := make(map[presence.AppID]Count, len(t.tallies.of))
	for app, one := range t.tallies.of {
		all[app] = one.read()
	}
	return all
}

// Count returns the numbers of an app; they cost nothing.
func (t *Tracker) Count(app presence.AppID) Count { return t.tallies.app(app).read() }

func (c *tally) read() Count {
	phase := func(p presence.Phase) int { return int(c.phases[p].Load()) }
	return Count{
		Users:   int(c.online.Load()),
		Created: phase(presence.PhaseCreated), Live: phase(presence.PhaseLive), Lost: phase(presence.PhaseLost),
	}
}

// counts is what happened since the start.
type counts struct {
	openings atomic.Uint64
	closings [32]atomic.Uint64 // by reason
}

// Stats is what happened on this node since its start.
type Stats struct {
	Openings uint64                     // sessions that opened, or opened anew
	Closings map[presence.Reason]uint64 // sessions that closed
	Updates  uint64                     // statuses that became current
	Log      store.Stats                // the records on their way to the log
}

// Stats walks all shards: for metrics, not for a hot path.
func (t *Tracker) Stats() Stats {
	s := Stats{Openings: t.counts.openings.Load(), Closings: map[presence.Reason]uint64{}, Log: t.committer.Stats()}
	for reason := range t.counts.closings {
		if n := t.counts.closings[reason].Load(); n > 0 {
			s.Closings[presence.Reason(reason)] = n
		}
	}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		s.Updates += sh.updates
		sh.mu.Unlock()
	}
	return s
}
