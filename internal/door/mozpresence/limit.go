package mozpresence

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Frames of one connection in a second: beyond refuseFrames they are answered with
// "slow down" and nothing is done, beyond endFrames the connection ends. A long frame
// counts once for each frameSize that it has begun.
const (
	refuseFrames = 200
	endFrames    = 1000
	frameSize    = 4 << 10
)

// pace counts the frames of a connection within a second of the wheel.
type pace struct {
	second, count uint32
}

// admit counts one of so many bytes: ok, too many for now, or so many that the
// connection must end.
func (p *pace) admit(now time.Duration, size int) (ok, end bool) {
	if second := uint32(now / time.Second); second != p.second {
		p.second, p.count = second, 0
	}
	p.count += 1 + uint32(size/frameSize)
	return p.count <= refuseFrames, p.count > endFrames
}

// callsPerSecond is how many calls of a publisher are taken in a second at a
// node; a call has up to 1,000 notifications.
const callsPerSecond = 200

// rates count the calls of publishers.
type rates struct {
	mu sync.Mutex // guards of
	of map[string]*rate.Limiter
}

// mostRates are so many that counting begins anew.
const mostRates = 10_000

// allow takes one call of a publisher whose key was right.
func (r *rates) allow(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.of[id]
	if l == nil {
		if r.of == nil || len(r.of) >= mostRates {
			r.of = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(callsPerSecond, callsPerSecond)
		r.of[id] = l
	}
	return l.AllowN(now, 1)
}
