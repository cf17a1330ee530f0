package chaos

import (
	"time"
)

// The pauses of a device between two things it does.
const leastPause, mostPause = 60 * time.Millisecond, 500 * time.Millisecond

// work is what a device does while the server is up, until stop. When the
// server goes, calls fail; what came of them stays unknown.
func (d *device) work(stop <-chan struct{}) {
	if d.quiet && d.life != nil {
		d.quiet = false
		return
	}
	for pause(stop, leastPause+time.Duration(d.random.Int64N(int64(mostPause-leastPause)))) {
		if d.life == nil {
			d.failed("opening", d.begin())
			continue
		}
		if asked, _ := d.life.bye(); asked || d.line == nil {
			continue // left as it is for after the restart
		}
		d.failed("working", d.once())
	}
}

// failed blames an error that nothing of what happens here explains.
func (d *device) failed(doing string, err error) {
	if err != nil && !away(err) {
		d.w.blame("%s of %s: %v", doing, d.user, err)
	}
}

// begin makes a session and opens it; half of them subscribe before.
func (d *device) begin() error {
	d.hidden = d.random.IntN(10) == 0
	if err := d.make(); err != nil {
		d.life = nil
		return err
	}
	early := d.random.IntN(2) == 0
	if early {
		if err := d.subscribe(d.someUsers()...); err != nil {
			d.life = nil // nobody ever saw it
			return err
		}
	}
	if err := d.connect(opens, true); err != nil || early {
		return err
	}
	return d.subscribe(d.someUsers()...)
}

// someUsers picks whom to watch.
func (d *device) someUsers() []string {
	users := make([]string, 1+d.random.IntN(4))
	for i := range users {
		users[i] = userName(d.random.IntN(userCount))
	}
	return users
}

// once does one thing.
func (d *device) once() error {
	switch n := d.random.IntN(100); {
	case n < 50:
		return d.update(false)
	case n < 62:
		return d.update(true)
	case n < 72:
		d.hidden = !d.hidden
		return d.update(d.random.IntN(2) == 0)
	case n < 80:
		return d.subscribe(d.someUsers()...)
	case n < 83:
		for u := range d.life.watches {
			return d.unsubscribe(u)
		}
		return nil
	case n < 89:
		return d.bye()
	case n < 93:
		return d.reload()
	}
	return nil
}

// reload is a page reload: the connection is cut without a word and the
// session is resumed at once. Nobody may notice.
func (d *device) reload() error {
	d.drop()
	return d.connect(resumes, false)
}
