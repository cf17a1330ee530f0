package live

import (
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// waiting is the connections that have not said hello, in the order of their
// coming: one timer for all, for they all may take as long. They are chained by their
// greetings, and who says hello or goes is taken out.
type waiting struct {
	wheel *wheel.Wheel
	timer wheel.Timer

	mu          sync.Mutex // guards all below, and the places of those in it
	first, last *conn
	over        bool
}

// spot is the place of a connection among those that wait.
type spot struct {
	in          bool
	due         time.Duration
	prev, after *conn
}

func (w *waiting) init(clock *wheel.Wheel) {
	w.wheel = clock
	w.timer.Fire = w.fire
}

func (w *waiting) add(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	c.greet.spot = spot{in: true, due: w.wheel.Now() + HelloLimit, prev: w.last}
	if w.last != nil {
		w.last.greet.spot.after = c
	} else {
		w.first = c
		w.wheel.Set(&w.timer, HelloLimit)
	}
	w.last = c
}

// remove takes a connection out, if it is in. Its greeting must be there.
func (w *waiting) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := c.greet.spot
	if !at.in {
		return
	}
	c.greet.spot = spot{}
	if at.prev != nil {
		at.prev.greet.spot.after = at.after
	} else {
		w.first = at.after
	}
	if at.after != nil {
		at.after.greet.spot.prev = at.prev
	} else {
		w.last = at.prev
	}
}

// fire ends those whose time is over.
func (w *waiting) fire() {
	now := w.wheel.Now()
	var late []*conn
	w.mu.Lock()
	for c := w.first; c != nil && c.greet.spot.due <= now; c = w.first {
		late = append(late, c)
		if w.first = c.greet.spot.after; w.first != nil {
			w.first.greet.spot.prev = nil
		} else {
			w.last = nil
		}
		c.greet.spot = spot{}
	}
	if w.first != nil && !w.over {
		w.wheel.Set(&w.timer, w.first.greet.spot.due-now)
	}
	w.mu.Unlock()
	for _, c := range late {
		c.noHello()
	}
}

func (w *waiting) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.wheel.Clear(&w.timer)
}
