package bench

import (
	"errors"
	"time"
)

var errTooLong = errors.New("the login takes too long")

// The watchers that stop reading: enough of them, with enough to be told, that
// what they cost stands out of the noise of the server's memory.
const (
	stuckUsersEach = 5 // one for so many users…
	stuckMost      = 1000
	stuckWatchEach = 16 // …who watches the n-th part of all
	stuckWatchMost = 300
)

// stuckWatchers is how many there are.
func (r *run) stuckWatchers() int {
	if !r.cfg.reports(PhaseStuck) {
		return 0
	}
	return min(max(r.cfg.Users/stuckUsersEach, 1), stuckMost)
}

// stuck loads the server twice: without those watchers, and when they have come,
// read their welcome and nothing more. What one costs is all of it: its session,
// its subscriptions, and what waits for it. What the kernel holds for its socket
// is kept small and is not counted.
func (r *run) stuck(t *target) (Figures, error) {
	before, err := r.open(t, PhaseStuck, steadyRate)
	if err != nil {
		return Figures{}, err
	}
	without, err := r.settle(t)
	if err != nil {
		return Figures{}, err
	}
	devices, err := r.watchers(t)
	if err != nil {
		return Figures{}, err
	}
	f, err := r.open(t, PhaseStuck, steadyRate)
	if err != nil {
		return f, err
	}
	with, err := r.settle(t)
	if err != nil {
		return f, err
	}
	for _, d := range devices {
		d.close()
	}
	f.RSSPerStuck = max(float64(with-without)/float64(len(devices)), 0)
	f.P99Before = before.P99
	f.CPUPerMillion = 0 // of deliveries that nobody counts
	return f, nil
}

// watchers logs them in, one after the other.
func (r *run) watchers(t *target) ([]*device, error) {
	many := min(max(len(t.graph)/stuckWatchEach, 1), stuckWatchMost)
	devices := make([]*device, r.stuckWatchers())
	for i := range devices {
		d := &device{user: int32(len(t.graph) + i), small: true, target: t, fd: -1}
		for j := range many {
			d.friends = append(d.friends, int32((i*many/2+j)%len(t.graph)))
		}
		devices[i] = d
		if err := r.begin(d); err != nil {
			return nil, err
		}
		for limit := r.loop.now() + int64(loginLimit); d.step != stepSnapshot && d.step != stepReady; {
			if r.loop.now() > limit {
				return nil, d.wrap(errTooLong)
			}
			if err := r.loop.wait(r.loop.now() + int64(time.Millisecond)); err != nil {
				return nil, err
			}
		}
		if err := r.loop.ignore(d); err != nil {
			return nil, d.wrap(err)
		}
	}
	return devices, r.quiet(t)
}
