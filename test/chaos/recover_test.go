package chaos

import (
	"time"
)

// plan is what a device does after the server went.
type plan string

const (
	back  plan = "back"  // returns with its token within the grace
	never plan = "never" // does not return
	late  plan = "late"  // returns after its session was closed
	fresh plan = "fresh" // forgot its token and opens another session at once
)

// choose picks a plan.
func (d *device) choose() plan {
	switch n := d.random.IntN(100); {
	case d.keep:
		return back
	case n < 15:
		return never
	case n < 25:
		return late
	case n < 35 && d.id != "":
		return fresh
	}
	return back
}

// restart is one return of the server, as its devices see it.
type restart struct {
	up       chan struct{} // closed when it is ready
	deadline time.Time     // no session that is back before it may be closed; set before up
	readyAt  time.Time
	cut      outage
	grace    time.Duration
}

// leave settles what a plan means before the server is back: who will not come
// in time lets go. It returns the plan as it can be carried out.
func (d *device) leave(p plan, o outage) plan {
	d.drop()
	l := d.life
	if l == nil {
		return never
	}
	asked, _ := l.bye()
	if (asked || !l.opening().done()) && p != back {
		p = never // what is not known to be open cannot come late
	}
	if p == back {
		d.w.history.note(func() { l.held = true })
		return p
	}
	d.w.history.note(func() { l.held, l.lostAt = false, o.at })
	if p == never {
		d.life = nil
	}
	return p
}

// recover returns as the plan says, once the server is on its way up again. It
// ends when the device is back, or will not be.
func (d *device) recover(p plan, r *restart) {
	if p == never || p == late {
		return
	}
	if d.random.IntN(3) > 0 { // the others dial from the first moment on
		<-r.up
		pause(d.w.ctx.Done(), time.Duration(d.random.Int64N(int64(r.grace/2))))
	}
	limit := time.Now().Add(r.grace + patience)
	for old := d.life; ; {
		err := d.comeBack(p, r, old)
		if err == nil {
			<-r.up
			if time.Now().After(r.deadline) {
				d.belated(old)
			}
			if d.line == nil {
				return // said goodbye, or was refused
			}
			if _, ended := d.line.ended(); !ended {
				if p == back {
					d.failed("the return", d.settle())
				}
				return
			}
			d.drop() // the server went once more
			p, old = back, d.life
			continue
		}
		if !away(err) {
			d.w.blame("the return (%s) of %s, session %s: %v", p, d.user, old.public, err)
			d.w.history.note(func() { old.ended, old.held = endRefused, false })
			d.life = nil
			return
		}
		if time.Now().After(limit) || !pause(d.w.ctx.Done(), 5*time.Millisecond+time.Duration(d.random.Int64N(int64(30*time.Millisecond)))) {
			d.w.blame("%s could not return: %v", d.user, err)
			return
		}
	}
}

// comeBack is one try.
func (d *device) comeBack(p plan, r *restart, old *life) error {
	if asked, _ := old.bye(); asked {
		return d.bye()
	}
	if p == fresh {
		return d.renew(old)
	}
	return d.resume(r)
}

// renew opens another session in place of the old one.
func (d *device) renew(old *life) error {
	d.hidden = false
	if d.life == old {
		if err := d.make(); err != nil {
			d.life = old
			return err
		}
	}
	young := d.life
	err := d.connect(opens, true)
	if gone(err) {
		d.life = old // the server went again and forgot it: make another
		d.w.history.note(func() { young.ended = endRefused })
		return d.renew(old)
	}
	d.w.history.note(func() {
		old.replace = young.opening()
		if err == nil {
			old.ended = endReplaced
		}
	})
	return err
}

// resume takes the session up again, half the time with a new status. A
// session whose opening may not be noted yet can be refused: then it is over.
func (d *device) resume(r *restart) error {
	l := d.life
	how := resumes
	if !l.opening().done() {
		how = opens
	}
	err := d.connect(how, d.random.IntN(2) == 0)
	if gone(err) && !l.opening().survives(d.w.outages()) {
		d.w.history.note(func() { l.ended, l.held, l.lostAt, l.losses = endRefused, false, r.cut.at, l.losses+1 })
		d.w.note(func(f *figures) { f.young++ })
		d.life = nil
		return nil
	}
	return err
}

// belated notes a return after the grace, on a machine that was slow: the
// session may have been closed, and opened anew, and nobody can tell.
func (d *device) belated(l *life) {
	d.w.history.note(func() { l.doubtful, l.losses = l.doubtful+1, l.losses+1 })
	d.w.note(func(f *figures) { f.doubtful++ })
}

// reopen takes up a session that was closed because its device came too late.
func (d *device) reopen() {
	l := d.life
	err := d.connect(opens, d.random.IntN(2) == 0)
	if gone(err) && !l.noted(d.w.outages()) {
		d.w.history.note(func() { l.ended = endRefused })
		d.life = nil
		return
	}
	if err == nil {
		err = d.settle()
	}
	if err != nil {
		d.w.blame("the late return of %s, session %s: %v", d.user, l.public, err)
		d.w.history.note(func() { l.ended, l.held = endRefused, false })
		d.life = nil
	}
}

// settle is what a device does when it resumed: it repeats its subscriptions
// when it is told to and has new ones or cares, and states a status. Some stay
// quiet until the next blow: nothing but their return is there to be noted.
func (d *device) settle() error {
	c := d.line.connected
	if !c.GetResumed() {
		d.w.blame("session %s of %s came back, but connected does not say resumed", d.life.public, d.user)
	}
	var users []string
	again := !d.keep && d.random.IntN(2) == 0
	d.w.history.note(func() {
		for u, a := range d.life.watches {
			users = append(users, u)
			if !a.survives(d.w.history.outages) {
				again = true
				delete(d.life.watches, u)
			}
		}
	})
	if again && c.GetResync() && len(users) > 0 {
		if err := d.subscribe(users...); err != nil {
			return err
		}
	}
	if d.quiet = d.keep || d.random.IntN(3) == 0; d.quiet {
		return nil
	}
	return d.update(false)
}

func (w *world) outages() (list []outage) {
	w.history.note(func() { list = append(list, w.history.outages...) })
	return list
}

// noted reports whether the session's watches must be on disk, so that it can
// be resumed.
func (l *life) noted(outages []outage) bool {
	for _, o := range l.opens {
		if o.survives(outages) {
			return true
		}
	}
	return false
}
