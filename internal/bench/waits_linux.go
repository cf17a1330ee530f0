package bench

import (
	"fmt"
	"math"
	"time"
)

const (
	// quietTime without any notification means that all have arrived.
	quietTime  = 300 * time.Millisecond
	quietLimit = 10 * time.Second
	// stallLimit is how long deliveries may fail to come before they are given
	// up as missing.
	stallLimit = 2 * time.Second
	// settleEvery, settleSame and settleLimit: memory counts as stable when so
	// many readings in a row differ by less than half a percent.
	settleEvery = 200 * time.Millisecond
	settleSame  = 20
	settleLimit = time.Minute
	// idleAfter the login the idle memory is measured: what a server keeps for a
	// moment is gone by then.
	idleAfter = 25 * time.Second
)

// times are the waits of a run that tests shorten.
type times struct {
	phase       time.Duration // length of a timed phase
	settleEvery time.Duration
	settleLimit time.Duration
	idleAfter   time.Duration
}

// settle waits until the memory of the server is stable and returns it in KiB.
func (r *run) settle(t *target) (int64, error) {
	if t.proc == 0 {
		return 0, nil
	}
	var last int64
	same, limit := 0, r.loop.now()+int64(r.times.settleLimit)
	for {
		now, err := t.rss()
		if err != nil {
			return 0, err
		}
		if same++; math.Abs(float64(now-last)) > float64(now)/200 {
			same, last = 0, now
		}
		if same >= settleSame || r.loop.now() > limit {
			return now, nil
		}
		if err := r.pause(r.times.settleEvery); err != nil {
			return 0, err
		}
	}
}

// stalled ends the run when a loaded server has delivered nothing for a while.
func (r *run) stalled(t *target) error {
	if t.inFlight() > 0 && r.loop.now()-max(t.readAt, t.lastSend) > int64(stallLimit)*2 {
		return fmt.Errorf("bench: %s delivers nothing although %d deliveries are under way", t.name, t.inFlight())
	}
	return nil
}

// drain waits until every change sent has reached all its watchers, and gives
// up what does not come.
func (r *run) drain(t *target) error {
	seen, limit := t.received, r.loop.now()+int64(stallLimit)
	for t.inFlight() > 0 {
		now := r.loop.now()
		if t.received != seen {
			seen, limit = t.received, now+int64(stallLimit)
		}
		if now > limit {
			t.missing += t.inFlight()
			return nil
		}
		if err := r.loop.wait(limit); err != nil {
			return err
		}
	}
	if late := -t.inFlight(); late > 0 && late <= t.missing {
		t.missing -= late // they came after they had been given up
	} else if late > 0 {
		return fmt.Errorf("bench: %s delivered %d changes more than it should", t.name, late)
	}
	return nil
}

// quiet waits until no notification has come for a while.
func (r *run) quiet(t *target) error {
	seen, since := t.notifications, r.loop.now()
	for limit := since + int64(quietLimit); ; {
		now := r.loop.now()
		if t.notifications != seen {
			seen, since = t.notifications, now
		}
		if now-since > int64(quietTime) || now > limit {
			return nil
		}
		if err := r.loop.wait(since + int64(quietTime)); err != nil {
			return err
		}
	}
}

// pause serves all devices for the given time.
func (r *run) pause(d time.Duration) error {
	for end := r.loop.now() + int64(d); r.loop.now() < end; {
		if err := r.loop.wait(end); err != nil {
			return err
		}
	}
	return nil
}
