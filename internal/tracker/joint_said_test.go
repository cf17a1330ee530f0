package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What devices of the joint model said and were acknowledged: it holds to the end.

// saidHolds is how long a node that is not asked any more may take to note what it
// acknowledged, and who takes the session over to read that.
const saidHolds = 3500 * time.Millisecond

// sayings is what a device said.
type sayings struct {
	last   *presence.Status // acknowledged; nil: nothing, or it cannot know
	at     time.Time        // of the answer
	asking int              // answers that it waits for
	more   bool             // it said several things at once
	former *member          // where it was before it came where it is, or was last
}

// update has a device state a status, at its node or at the one where it was before.
func (m *jointModel) update(d *jointDevice, at *member, status *presence.Status) {
	w, ref := d.wire, d.ref
	d.said.more = d.said.asking > 0
	d.said.asking++
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := at.tr.Update(ctx, ref, func(*presence.Status) (*presence.Status, error) { return status, nil })
		m.answers <- answered{d: d, at: at, wire: w, err: err, what: asksUpdate, status: status}
	}()
}

// acknowledged is the answer.
func (l *sayings) acknowledged(a *answered) {
	if l.asking--; a.err != nil || l.more || l.asking > 0 {
		l.last, l.more = nil, l.asking > 0
		return
	}
	l.last, l.at = a.status, time.Now()
}

// parted is a device that lost its link, or its node: what it said just before may not
// have gone further than that.
func (l *sayings) parted(from *member) {
	l.former = from
	l.moved()
}

// moved is a device that has another link.
func (l *sayings) moved() {
	if time.Since(l.at) < saidHolds {
		l.last = nil
	}
	l.more = l.more || l.asking > 0
}

// holds says which node does not show what a device was told that it says.
func (m *jointModel) holds(d *jointDevice) {
	l := &d.said
	if l.last == nil || l.asking > 0 || d.at == nil || d.doubt || d.leaves || d.late {
		return
	}
	for _, n := range m.all {
		sh, s, err := n.tr.find(d.ref)
		if err != nil {
			continue
		}
		is := s.status
		if is == nil {
			is = &presence.Status{}
		}
		sh.mu.Unlock()
		if !is.Equal(l.last) {
			m.fail("in the end %s has %+v of %s, which said %+v at %s (%s)", n.name, is, d.ref.User.ID, l.last, l.at.Format("05.000"), m.standing(d))
		}
	}
}
