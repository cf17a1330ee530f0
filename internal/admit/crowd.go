package admit

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Place is an address as connections are counted: an IPv4 address, or the first
// 64 bits of an IPv6 one. 0 is not counted.
type Place uint64

// PlaceOf reads "ip:port" or an address. Loopback is not counted: behind a proxy
// that does not say where its clients are it would stand for all of them.
func PlaceOf(addr string) Place {
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
	var p Place
	if ip.Is4() {
		b := ip.As4()
		for _, one := range b {
			p = p<<8 | Place(one)
		}
		return p | 0xffff<<32 // reserved as a prefix of IPv6 (RFC 4291)
	}
	b := ip.As16()
	for _, one := range b[:8] {
		p = p<<8 | Place(one)
	}
	return p
}

// Addresses counts connections by where they come from. The zero value is ready.
type Addresses struct {
	mu    sync.Mutex // guards count
	count map[Place]int
}

// Enter counts one more unless there are most already.
func (a *Addresses) Enter(p Place, most int) bool {
	if p == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[p] >= most {
		return false
	}
	if a.count == nil {
		a.count = map[Place]int{}
	}
	a.count[p]++
	return true
}

// Leave is the opposite.
func (a *Addresses) Leave(p Place) {
	if p == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[p]--; a.count[p] <= 0 {
		delete(a.count, p)
	}
}

// Len is how many places are counted.
func (a *Addresses) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.count)
}

// Arrivals are connections of users that are being let in, where there is a bound
// on them. Each counts from the moment in which it was found that there is room
// for it, for several may come at once. The zero value is ready.
type Arrivals struct {
	mu sync.Mutex // guards of
	of map[presence.User][]Arrival
}

// Arrival is one of them.
type Arrival struct {
	Link    tracker.Link
	Session presence.SessionID // that it takes up; zero: a new one
}

// Enter counts one more connection of a user unless there are most already; n is
// how many there are. The connection that carried the same session before does not
// count.
func (a *Arrivals) Enter(t *tracker.Tracker, user presence.User, one Arrival, most int) (n int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	coming := a.of[user]
	for _, o := range coming {
		if !o.takes(one.Session) {
			n++
		}
	}
	t.Links(user, func(session presence.SessionID, link tracker.Link) {
		counted := func(o Arrival) bool { return o.takes(session) || link == o.Link }
		if !one.takes(session) && !slices.ContainsFunc(coming, counted) {
			n++
		}
	})
	if n >= most {
		return n, false
	}
	if a.of == nil {
		a.of = map[presence.User][]Arrival{}
	}
	a.of[user] = append(coming, one)
	return n, true
}

// takes reports whether it takes up that session.
func (o Arrival) takes(session presence.SessionID) bool {
	return o.Session == session && session != presence.SessionID{}
}

// Leave is called when one is in, or was refused. It is harmless where Enter was
// not.
func (a *Arrivals) Leave(user presence.User, link tracker.Link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := slices.DeleteFunc(a.of[user], func(o Arrival) bool { return o.Link == link })
	if len(left) > 0 {
		a.of[user] = left
	} else {
		delete(a.of, user)
	}
}

// Len is how many users have some under way.
func (a *Arrivals) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.of)
}

// Frames of one connection in a second: beyond FramesRefused they are answered
// with a refusal and nothing is done, beyond FramesEnd the connection ends. A long
// frame counts once for each frameSize that it has begun, for reading it costs
// as much as many.
const (
	FramesRefused = 200
	FramesEnd     = 1000
	frameSize     = 4 << 10
)

// Pace counts the frames of a connection, by their length, within a second of the
// wheel. The zero value is ready.
type Pace struct {
	second uint32
	count  uint32
}

// Admit counts one of so many bytes: ok, too many for now, or so many that it
// must end.
func (p *Pace) Admit(now time.Duration, size int) (ok, end bool) {
	second := uint32(now / time.Second)
	if second != p.second {
		p.second, p.count = second, 0
	}
	p.count += 1 + uint32(size/frameSize)
	return p.count <= FramesRefused, p.count > FramesEnd
}
