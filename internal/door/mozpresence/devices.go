package mozpresence

import (
	"sync"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// devices finds the session of a device that comes back: the interface has no
// token of a session, only a device's id. A session that is not in it, because
// another node made it, is replaced by a new one.
type devices struct {
	tracker *tracker.Tracker

	mu   sync.Mutex // guards all below
	of   map[place]tracker.Ref
	many int // how many there may be before the dead are looked for
}

// place is a device of a user.
type place struct {
	user presence.User
	id   string
}

// fewDevices are so few that none is looked for.
const fewDevices = 1000

// find returns the session of a device, if there may be one.
func (d *devices) find(p place) (tracker.Ref, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ref, ok := d.of[p]
	return ref, ok
}

// keep notes the session of a device.
func (d *devices) keep(p place, ref tracker.Ref) {
	if p.id == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[place]tracker.Ref{}
	}
	d.of[p] = ref
	if len(d.of) <= max(d.many, fewDevices) {
		return
	}
	for at, ref := range d.of {
		if !d.tracker.Alive(ref) {
			delete(d.of, at)
		}
	}
	d.many = 2 * len(d.of)
}

// forget takes the session of a device out that is over.
func (d *devices) forget(p place, ref tracker.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of[p] == ref {
		delete(d.of, p)
	}
}
