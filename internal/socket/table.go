package socket

import (
	"sync"

	"github.com/gobwas/ws"
)

// number names a connection in its table: the place in the low half, in the high
// half how many had that place before. A number is never used again (in four
// billion connections of a place), so a late word of the kernel about one that
// is gone cannot hit its successor, as it could with a descriptor.
type number = uint64

// table is connections by their numbers, and when to look at each.
type table struct {
	mu    sync.Mutex // guards all below
	slots []slot
	free  []uint32
}

// slot is one place. Times are here, so that a sweep touches only connections
// for which something is due.
type slot struct {
	conn       *Conn // nil: free
	due        moment
	generation uint32
}

func (t *table) add(c *Conn, due moment) number {
	t.mu.Lock()
	defer t.mu.Unlock()
	var place uint32
	if n := len(t.free); n > 0 {
		place = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		place = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	s := &t.slots[place]
	s.conn, s.due = c, due
	s.generation++
	c.number = number(s.generation)<<32 | number(place)
	return c.number
}

// find returns the connection, or nil when it is gone. The lock is held.
func (t *table) find(n number) *Conn {
	if place := uint32(n); int(place) < len(t.slots) {
		if s := &t.slots[place]; s.generation == uint32(n>>32) {
			return s.conn
		}
	}
	return nil
}

func (t *table) remove(n number) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.find(n) == nil {
		return
	}
	t.slots[uint32(n)].conn = nil
	t.free = append(t.free, uint32(n))
}

// hurry makes the next look not later than at.
func (t *table) hurry(n number, at moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.find(n) != nil {
		s := &t.slots[uint32(n)]
		s.due = min(s.due, at)
	}
}

// due appends the connections to look at, and puts each off until then.
func (t *table) due(list []*Conn, now, then moment) []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.slots {
		if s := &t.slots[i]; s.conn != nil && s.due <= now {
			s.due = then
			list = append(list, s.conn)
		}
	}
	return list
}

func (t *table) all(list []*Conn) []*Conn {
	return t.due(list, ^moment(0), 0)
}

func (t *table) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.slots) - len(t.free)
}

// tableOf is where c is.
func (l *Loop) tableOf(c *Conn) *table {
	if c.poll != nil {
		return &c.poll.table
	}
	return &l.apart
}

func (l *Loop) forget(c *Conn) { l.tableOf(c).remove(c.number) }

// lookAt makes the sweep look at c at that time.
func (l *Loop) lookAt(c *Conn, at moment) { l.tableOf(c).hurry(c.number, at) }

// sweep looks at the connections for which something is due. It runs on the
// wheel.
func (l *Loop) sweep() {
	now := max(1, momentOf(l.cfg.Wheel.Now()))
	for _, t := range l.tables() {
		for _, c := range t.due(nil, now, now+momentOf(lookEvery)) {
			if next := c.look(now); next < now+momentOf(lookEvery) {
				t.hurry(c.number, next)
			}
		}
	}
	l.cfg.Wheel.Set(&l.sweeper, sweepEvery)
}

// look ends a connection whose peer is stuck or silent, and asks a quiet one
// whether it lives. It returns when to look again at the latest.
func (c *Conn) look(now moment) moment {
	cfg := &c.loop.cfg
	next := ^moment(0)
	// over reports whether limit has passed since then, and makes it be looked at
	// when it will have.
	over := func(then, limit moment) bool {
		if then == 0 || limit == 0 {
			return false
		}
		next = min(next, then+limit)
		return now >= then+limit
	}
	read := max(1, momentOf(c.counted.LastRead()))
	switch {
	case over(c.since.Load(), momentOf(cfg.WriteLimit)):
		c.cut(ErrSlow)
	case over(read, c.silence):
		c.cut(ErrSilent)
	case over(c.begun.Load(), momentOf(cfg.MessageLimit)):
		c.begun.Store(0)
		c.refuse(&CloseError{Code: CodePolicy, Reason: "a message took too long to come"})
	case over(c.closing(), 1):
		c.cut(nil)
	case over(max(read, c.pinged), c.ping):
		c.pinged = now
		c.own(ws.OpPing, nil)
		next = min(next, now+c.ping)
	}
	return max(next, now+1)
}

// closing is when the wait for the peer's close frame ends, or 0.
func (c *Conn) closing() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != closing {
		return 0
	}
	return c.out.closeBy
}
