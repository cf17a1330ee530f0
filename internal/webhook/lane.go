package webhook

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// laneRoom is the least number of events that a lane keeps in memory; it
	// keeps two batches if that is more.
	laneRoom = 256
	// patience is how long a reader waits for a full lane that does not fail, before
	// it looks whether others suffer from that.
	patience = 20 * time.Millisecond
)

// holdMore is added to a hold: the times of changes are in milliseconds, and what
// comes within the last one of it counts.
const holdMore = time.Millisecond

// queued is an event in a lane.
type queued struct {
	Event
	read time.Time
	hold time.Duration // from when it was read
}

// lane delivers the events of its users one batch after the other.
type lane struct {
	run  *run
	n    int
	room int

	// wake and roomy are signals that are kept until somebody looks: there is
	// something in the queue, there is room in it.
	wake, roomy chan struct{}

	mu    sync.Mutex // guards what follows
	queue []queued
	// from is the pass that fills the queue; nil while the lane is behind for
	// itself: it could not keep up and nobody was to wait for it.
	from *pass
	// taken is through where all that the lane is to deliver is in the queue or
	// was; done is through where it was delivered or given up.
	taken, done Position
	busy        bool      // a batch is on its way
	oldest      time.Time // when the oldest event of that batch happened
	count       int       // events of that batch
	failed      int       // failed attempts of that batch
}

func newLane(r *run, n int, at Position) *lane {
	return &lane{
		run: r, n: n, room: max(laneRoom, 2*r.policy.Batch.Events), taken: at, done: at,
		wake: make(chan struct{}, 1), roomy: make(chan struct{}, 1),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds an event that pass p read. It waits for room, as long as nobody else
// suffers from that; then the lane goes its own way, and reads this event again.
func (l *lane) put(ctx context.Context, p *pass, e queued) error {
	for {
		l.mu.Lock()
		if l.from != p || !l.taken.Before(e.Position) {
			l.mu.Unlock()
			return nil // not p's lane, or not new to it
		}
		if len(l.queue) < l.room {
			if !l.busy && len(l.queue) == 0 {
				l.done = newer(l.done, l.taken) // the cursor of an idle lane does not go back for what comes
			}
			l.queue, l.taken = append(l.queue, e), e.Position
			l.mu.Unlock()
			signal(l.wake)
			return nil
		}
		failing := l.failed > 0
		l.mu.Unlock()
		if failing && p.suffers(l) {
			l.leave(p)
			continue
		}
		wait := time.NewTimer(patience)
		select {
		case <-l.roomy:
		case <-wait.C:
			if p.suffers(l) {
				l.leave(p)
			}
		case <-ctx.Done():
		}
		wait.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// leave makes the lane read for itself, once it has room.
func (l *lane) leave(p *pass) {
	l.mu.Lock()
	if l.from == p {
		l.from = nil
	}
	behind := l.behind()
	l.mu.Unlock()
	if behind {
		l.run.recovered(l)
	}
}

// behind says that the lane wants to be read for: nobody does, and it has room.
// The caller holds mu.
func (l *lane) behind() bool { return l.from == nil && len(l.queue) <= l.room/2 }

// passed says that p has read through there.
func (l *lane) passed(p *pass, through Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == p {
		l.taken = newer(l.taken, through)
	}
}

// idle says that the lane has nothing to do.
func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.busy && len(l.queue) == 0
}

func (l *lane) failing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed > 0
}

// serve delivers until ctx ends.
func (l *lane) serve(ctx context.Context) {
	for {
		batch, through := l.next(ctx)
		if ctx.Err() != nil {
			return
		}
		given, buried := true, false
		if len(batch) > 0 {
			given, buried = l.run.deliver(ctx, l, batch)
		}
		if !given {
			return
		}
		l.settled(through)
		l.run.keeper.poke()
		// After a crash what was buried must not come as if it were new, behind what
		// followed it.
		if buried && !l.run.keeper.wait(ctx, l.n, through) {
			return
		}
	}
}

// next waits for a batch and takes it out of the queue. It may be empty: then
// what there was need not be told.
func (l *lane) next(ctx context.Context) (batch []Event, through Position) {
	for {
		l.mu.Lock()
		batch, through, wait := l.ready(time.Now())
		behind := l.behind()
		l.mu.Unlock()
		if behind {
			l.run.recovered(l)
		}
		if through != (Position{}) {
			signal(l.roomy)
			return batch, through
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, Position{}
		}
	}
}

// longWait is how long a lane with nothing to do sleeps.
const longWait = time.Hour

// ready takes the next batch out of the queue, or says how long to wait for it.
// The caller holds mu.
func (l *lane) ready(now time.Time) (batch []Event, through Position, wait time.Duration) {
	void := voided(l.run.holder, l.queue)
	n, told := 0, 0
	for n < len(l.queue) && told < l.run.policy.Batch.Events {
		q := &l.queue[n]
		if !void[n] {
			if wait = q.read.Add(q.hold + holdMore).Sub(now); q.hold > 0 && wait > 0 {
				break
			}
			told++
		}
		n++
	}
	if n == 0 {
		if len(l.queue) == 0 {
			wait = longWait
		}
		return nil, Position{}, wait
	}
	full := told == l.run.policy.Batch.Events
	if linger := l.queue[0].read.Add(l.run.policy.Batch.Linger).Sub(now); told > 0 && !full && linger > 0 {
		return nil, Position{}, linger
	}
	batch = make([]Event, 0, told)
	for i := range l.queue[:n] {
		if !void[i] {
			batch = append(batch, l.queue[i].Event)
		}
	}
	through = l.queue[n-1].Position
	l.queue = slices.Delete(l.queue, 0, n)
	l.busy, l.failed, l.count = true, 0, len(batch)
	if len(batch) > 0 {
		l.oldest = batch[0].Time.Time()
	}
	return batch, through, 0
}

// voided says which events are not told because of what came shortly after.
func voided(h Holder, queue []queued) map[int]bool {
	if h == nil {
		return nil
	}
	var void map[int]bool
	for i := range queue {
		if queue[i].hold <= 0 {
			continue
		}
		for j := i + 1; j < len(queue); j++ {
			later := &queue[j]
			if later.User != queue[i].User {
				continue
			}
			if later.Time.Sub(queue[i].Time) > queue[i].hold {
				break
			}
			if h.Voids(&queue[i].Event, &later.Event) {
				if void == nil {
					void = map[int]bool{}
				}
				void[i] = true
				break
			}
		}
	}
	return void
}

// settled says that the batch was delivered or given up.
func (l *lane) settled(through Position) {
	l.mu.Lock()
	l.done, l.busy, l.failed, l.count = through, false, 0, 0
	l.mu.Unlock()
}

// cursor is through where nothing need be delivered again.
func (l *lane) cursor() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy && len(l.queue) == 0 {
		return newer(l.done, l.taken)
	}
	return l.done
}

// waits counts the events that wait, those on their way with them, and says
// when the oldest happened.
func (l *lane) waits() (events int, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.busy:
		oldest = l.oldest
	case len(l.queue) > 0:
		oldest = l.queue[0].Time.Time()
	}
	return len(l.queue) + l.count, oldest
}

// laneOf places a user: the same at every start.
func laneOf(user presence.UserID, lanes int) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(user) {
		h = (h ^ uint32(user[i])) * 16777619
	}
	h ^= h >> 15 // its low bits alone are uneven for short ids
	return int(h % uint32(lanes))
}
