package live

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Frames of one connection in a second: beyond refuseFrames they are answered
// with RATE_LIMITED and nothing is done, beyond endFrames the connection ends. A long
// frame counts once for each frameSize that it has begun, for reading it costs
// as much as many.
const (
	refuseFrames = 200
	endFrames    = 1000
	frameSize    = 4 << 10
)

// place is an address as it is counted: an IPv4 address, or the first 64 bits of
// an IPv6 one. 0 is not counted.
type place uint64

// placeOf reads "ip:port" or an address. Loopback is not counted: behind a proxy
// that does not say where its clients are it would stand for all of them.
func placeOf(addr string) place {
	var ip netip.Addr
	if at, err := netip.ParseAddrPort(addr); err == nil {
		ip = at.Addr()
	} else if ip, err = netip.ParseAddr(addr); err != nil {
		return 0 // a listener in memory
	}
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return 0
	}
	var p place
	if ip.Is4() {
		b := ip.As4()
		for _, one := range b {
			p = p<<8 | place(one)
		}
		return p | 0xffff<<32 // reserved as a prefix of IPv6 (RFC 4291)
	}
	b := ip.As16()
	for _, one := range b[:8] {
		p = p<<8 | place(one)
	}
	return p
}

// addresses counts connections by where they come from.
type addresses struct {
	mu    sync.Mutex // guards count
	count map[place]int
}

// enter counts one more unless there are most already.
func (a *addresses) enter(p place, most int) bool {
	if p == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[p] >= most {
		return false
	}
	if a.count == nil {
		a.count = map[place]int{}
	}
	a.count[p]++
	return true
}

// leave is the opposite.
func (a *addresses) leave(p place) {
	if p == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[p]--; a.count[p] <= 0 {
		delete(a.count, p)
	}
}

// arrivals are the hellos that are being done of users whose connections are
// bounded. Each counts as a connection from the moment in which it was found that
// there is room for it, for several may come at once.
type arrivals struct {
	mu sync.Mutex // guards of
	of map[presence.User][]arrival
}

type arrival struct {
	conn    *conn
	session presence.SessionID // that it takes up; zero: a new one
}

// enter counts one more connection of a user unless there are most already; n is
// how many there are. The connection that carried the same session before does not
// count.
func (a *arrivals) enter(user presence.User, one arrival, most int) (n int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	coming := a.of[user]
	for _, o := range coming {
		if !o.of(one.session) {
			n++
		}
	}
	one.conn.door.cfg.Tracker.Links(user, func(session presence.SessionID, link tracker.Link) {
		counted := func(o arrival) bool { return o.of(session) || link == tracker.Link(o.conn) }
		if !one.of(session) && !slices.ContainsFunc(coming, counted) {
			n++
		}
	})
	if n >= most {
		return n, false
	}
	if a.of == nil {
		a.of = map[presence.User][]arrival{}
	}
	a.of[user] = append(coming, one)
	return n, true
}

// of reports whether it takes up that session.
func (o arrival) of(session presence.SessionID) bool {
	return o.session == session && session != presence.SessionID{}
}

// leave is called when a hello is done, well or not. It is harmless where enter
// was not.
func (a *arrivals) leave(user presence.User, c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := slices.DeleteFunc(a.of[user], func(o arrival) bool { return o.conn == c })
	if len(left) > 0 {
		a.of[user] = left
	} else {
		delete(a.of, user)
	}
}

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

// pace counts the frames of a connection, by their length, within a second of the
// wheel.
type pace struct {
	second uint32
	count  uint32
}

// admit counts one of so many bytes: ok, too many for now, or so many that it
// must end.
func (p *pace) admit(now time.Duration, size int) (ok, end bool) {
	second := uint32(now / time.Second)
	if second != p.second {
		p.second, p.count = second, 0
	}
	p.count += 1 + uint32(size/frameSize)
	return p.count <= refuseFrames, p.count > endFrames
}
