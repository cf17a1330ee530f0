package roster

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// outage is what is known of an app's source.
type outage struct {
	failures int       // in a row, of anybody's list
	logged   time.Time // when the log last said so
	answered uint64    // lists it gave
	failed   uint64    // times it did not
}

const (
	// downAfter is how many failures in a row, of whomever's lists, mean that the
	// source is down: one user's bad list does not.
	downAfter = 3
	// logEvery is the shortest time between two lines of the log on one source.
	logEvery = time.Minute
)

// isDown says whether an app's source does not answer at the moment.
func (r *Roster) isDown(app presence.AppID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.outages[app].failures >= downAfter
}

// report counts what a source answered, and logs when it fails and when it is
// back.
func (r *Roster) report(app presence.AppID, err error) {
	r.mu.Lock()
	was := r.outages[app]
	now := was
	if err == nil {
		now.failures = 0
		now.answered++
	} else {
		now.failures++
		now.failed++
	}
	say := err != nil && (was.logged.IsZero() || time.Since(was.logged) >= logEvery)
	if say {
		now.logged = time.Now()
	}
	r.outages[app] = now
	r.mu.Unlock()
	switch {
	case say:
		r.log.Warn("the source of friend lists does not answer as it should: who subscribes to friends whose list is not known is refused", "app", app, "in_a_row", now.failures, "error", err)
	case err == nil && was.failures >= downAfter:
		r.log.Info("the source of friend lists answers again", "app", app)
	}
}

// Counts are numbers of a roster at one moment.
type Counts struct {
	Lists   int // that are in memory
	Idle    int // bytes of those of them that no session needs, about
	Waiting int // sessions whose subscription to friends waits for the list
	Blocked int // users whom somebody blocks
	Sources map[presence.AppID]SourceCounts
}

// SourceCounts are numbers of one app's source since the start; an app whose
// source was never asked has none.
type SourceCounts struct {
	Answered, Failed uint64
	Down             bool
}

// Counts counts.
func (r *Roster) Counts() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := Counts{Idle: r.bytes, Blocked: len(r.veils), Sources: make(map[presence.AppID]SourceCounts, len(r.outages))}
	for _, p := range r.pages {
		if p.list != nil {
			c.Lists++
		}
		c.Waiting += len(p.waiting)
	}
	for app, o := range r.outages {
		c.Sources[app] = SourceCounts{Answered: o.answered, Failed: o.failed, Down: o.failures >= downAfter}
	}
	return c
}
