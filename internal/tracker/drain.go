package tracker

import (
	"context"
	"time"
)

const (
	// drainStep is the shortest pause between the ends of links of two shards.
	drainStep = 10 * time.Millisecond

	// movedWithin is how long a node that stops waits, after the last link has
	// ended, for devices to come to other nodes; movedLook is how often it looks.
	movedWithin = 2 * time.Second
	movedLook   = 20 * time.Millisecond
)

// DrainAway is Drain where other nodes take the devices: links end one after the
// other, spread over a time, and each device may come back elsewhere at once. Until
// its link ends a session goes on as ever, and while this node is there whoever
// takes one over is told all of it. It returns when the sessions have moved, or
// some time after the last link ended. Those that do not come to another node
// have the time of a restart, as after Drain.
func (t *Tracker) DrainAway(ctx context.Context, over time.Duration, end func() End) {
	t.draining.Store(true)
	began, before, told := time.Now(), t.owned(), 0
	for i := range t.shards {
		told += t.shards[i].endLinks(end)
		next := began.Add(over * time.Duration(i+1) / time.Duration(len(t.shards)))
		if d := time.Until(next); d >= drainStep {
			pauseFor(ctx, d)
		}
	}
	for last := time.Now(); ctx.Err() == nil && told > 0 && t.owned() > before-told && time.Since(last) < movedWithin; {
		pauseFor(ctx, movedLook)
	}
}

// owned is how many sessions are this node's.
func (t *Tracker) owned() (n int) {
	for _, c := range t.Counts() {
		n += c.Live + c.Lost
	}
	return n
}

func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Drain begins the end of this node: every link is told to come back, after a
// time spread over `spread` so that not all come in the same moment. Sessions
// are kept; time stands still for them; newcomers are refused.
func (t *Tracker) Drain(spread func() End) {
	t.draining.Store(true)
	t.endLinks(spread)
}

func (t *Tracker) endLinks(spread func() End) {
	for i := range t.shards {
		t.shards[i].endLinks(spread)
	}
}

// endLinks ends the links of a shard and returns how many there were.
func (sh *shard) endLinks(spread func() End) (count int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, u := range sh.users {
		for _, s := range u.sessions {
			if s.life.link != nil {
				s.life.link.End(spread())
				count++
			}
		}
	}
	return count
}
