package chaos

import (
	"math/rand/v2"
	"sync"
	"time"
)

// blow is how the server goes in a round.
type blow string

const (
	killed blow = "kill"          // -9 under load
	twice  blow = "kill, kill"    // -9 again while it starts and devices return
	again  blow = "kill, sigterm" // asked to stop while devices return
	termed blow = "sigterm"       // asked to stop, under load
)

// The load of a round lasts a random time between these before the blow.
const leastLoad, mostLoad = 300 * time.Millisecond, 2 * time.Second

const (
	ghostMargin = 2 * time.Second // R1, one node: beyond restart_grace
	converge    = 5 * time.Second // R6
)

// town is a world with its devices and watchers.
type town struct {
	*world
	users    []string
	devices  []*device
	watchers []*device
	programs []*program
	random   *rand.Rand
	plans    map[*device]plan
	seenOwn  lastSeens
	seen     lastSeens
}

// round is one of them: load, blow, restart, checks.
func (w *town) round(b blow, grace time.Duration) error {
	load := leastLoad + time.Duration(w.random.Int64N(int64(mostLoad-leastLoad)))
	if grace > mostLoad {
		load = mostLoad // such rounds are few
	}
	w.load(load, b)
	w.checkGeneration()
	r := &restart{up: make(chan struct{}), cut: w.outages()[len(w.outages())-1], grace: grace}
	w.each(append(w.devices, w.watchers...), func(d *device) { w.plan(d, d.leave(d.choose(), r.cut)) })
	if err := w.node.start(); err != nil {
		return err
	}
	var returns sync.WaitGroup
	returns.Go(func() { w.each(append(w.devices, w.watchers...), func(d *device) { d.recover(w.planOf(d), r) }) })
	err := w.restart(b, r)
	before, own := w.history.demands(false), view(nil)
	if err == nil {
		own, err = w.owns(w.users)
	}
	asked := time.Now()
	if err == nil {
		w.watchGhosts(r, w.ghosts())
	}
	returns.Wait()
	if err != nil {
		return err
	}
	if asked.After(r.deadline) {
		w.note(func(f *figures) { f.skipped++ }) // the machine was too slow to ask in time
	} else {
		w.checkStart(before, own)
	}
	return w.checkEnd(r)
}

// each runs f for all devices at once and waits for all.
func (w *town) each(devices []*device, f func(*device)) {
	var all sync.WaitGroup
	for _, d := range devices {
		all.Go(func() { f(d) })
	}
	all.Wait()
}

func (w *town) plan(d *device, p plan) { w.note(func(*figures) { w.plans[d] = p }) }

func (w *town) planOf(d *device) (p plan) {
	w.note(func(*figures) { p = w.plans[d] })
	return p
}

// load lets devices work for a while and then lets the server go under them.
func (w *town) load(d time.Duration, b blow) {
	stop := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() { w.each(w.devices, func(d *device) { d.work(stop) }) })
	pause(w.ctx.Done(), d)
	w.strike(b == termed)
	close(stop)
	working.Wait()
}

// restart waits until the server that was started is ready; a double blow comes
// before that, and another start.
func (w *town) restart(b blow, r *restart) error {
	defer close(r.up)
	if b == again {
		// A SIGTERM before it is up would only test the start's own end.
		if _, _, err := w.node.ready(); err != nil {
			return err
		}
	}
	if b == twice || b == again {
		pause(w.ctx.Done(), time.Duration(w.random.Int64N(int64(600*time.Millisecond))))
		w.strike(b == again)
		if err := w.node.start(); err != nil {
			return err
		}
	}
	down, up, err := w.node.ready()
	r.deadline, r.readyAt = down.Add(r.grace), up
	return err
}

// checkGeneration holds what watchers were told by the server that just went.
func (w *town) checkGeneration() {
	from, to := w.node.spawned[len(w.node.spawned)-1], time.Now()
	for _, d := range w.watchers {
		if d.line == nil {
			continue
		}
		notices := d.line.all()
		w.history.note(func() { w.flapped(checkFlaps(w.history.lives, notices, from, to)) })
		w.blameAll(lastSeens{}.checkNotices(notices))
	}
}

func (w *town) flapped(found []string) {
	w.note(func(f *figures) { f.flaps += len(found) })
	w.blameAll(found)
}

// checkStart holds what was shown right after the start, while devices
// returned: what was acknowledged is there. before is what was demanded then;
// a device may have been told only later that its session is over.
func (w *town) checkStart(before map[string]demand, own view) {
	found := checkSessions(between(before, w.history.demands(false)), own)
	w.note(func(f *figures) { f.lost += len(found) })
	w.blameAll(found)
	var age time.Duration
	w.history.note(func() {
		var all []*life
		for _, l := range w.history.lives {
			all = append(all, l)
		}
		age = lostAge(all, own, w.history.outages)
	})
	w.note(func(f *figures) { f.worstAge = max(f.worstAge, age) })
}

// steady are the users who have a session that was open, held and visible all
// the time since the blow.
func (w *town) steady(cut outage) map[string]bool {
	m := map[string]bool{}
	w.history.note(func() {
		for _, l := range w.history.lives {
			if l.steady(cut) {
				m[l.user] = true
			}
		}
	})
	return m
}
