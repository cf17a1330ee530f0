package mozpresence

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

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
