package bench

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// loginsAtOnce bounds the logins under way.
	loginsAtOnce = 64
	// loginLimit bounds the whole login phase: this, and a little per user.
	loginLimit        = 30 * time.Second
	loginLimitPerUser = 10 * time.Millisecond
	// changesAtOnce bounds the changes under way while saturating: enough to
	// keep two cores busy, too few to build queues of seconds.
	changesAtOnce = 128
	// stormAtOnce is the same of the storm: 65,000 deliveries under way with 50
	// friends.
	stormAtOnce = 1300
	// topicsAtOnce is the same of topic messages, which all users hear.
	topicsAtOnce = 2
	// steadyRate is that of the steady load in deliveries per second.
	steadyRate = 20_000
	// behindFactor bounds the backlog of the open loop as a multiple of the
	// closed one's; beyond it the server plainly cannot keep up.
	behindFactor = 10
	// unloadedPause lies between two lone changes, so that both sides are idle
	// when the next one comes.
	unloadedPause = 2 * time.Millisecond
	// turnPause is how long the load looks away when the next user cannot change
	// his status yet.
	turnPause = time.Millisecond
)

// login logs everybody in and returns the figures.
func (r *run) login(t *target) (Figures, error) {
	var err error
	if t.baseRSS, err = r.settle(t); err != nil {
		return Figures{}, err
	}
	m, err := r.measure(t)
	if err != nil {
		return Figures{}, err
	}
	users := len(t.graph)
	deadline := m.began + int64(loginLimit) + int64(users)*int64(loginLimitPerUser)
	for t.ready < users {
		for len(t.devices) < users && len(t.devices)-t.ready < loginsAtOnce {
			d := &device{user: int32(len(t.devices)), friends: t.graph[len(t.devices)], target: t, fd: -1}
			t.devices = append(t.devices, d)
			if err := r.begin(d); err != nil {
				return Figures{}, err
			}
		}
		if r.loop.now() > deadline {
			return Figures{}, fmt.Errorf("bench: %s: only %d of %d users logged in within %s", t.name, t.ready, users, time.Duration(deadline-m.began))
		}
		if err := r.loop.wait(deadline); err != nil {
			return Figures{}, err
		}
		r.bar.at(int64(t.ready))
	}
	t.loggedIn = r.loop.now()
	wall := time.Duration(t.loggedIn - m.began)
	if err := r.quiet(t); err != nil {
		return Figures{}, err
	}
	f, cpu, err := m.done(PhaseLogin)
	if err != nil {
		return f, err
	}
	f.CPUPerLogin = float64(cpu) / float64(time.Millisecond) / float64(users)
	f.OpeningsPerSec = float64(users) / wall.Seconds()
	return f, nil
}

// begin starts the login of a device.
func (r *run) begin(d *device) error {
	t := d.target
	d.speaker = t.dialect.speaker(d, r.tokens[d.user])
	if err := r.loop.connect(d, t.addrOf(d.user)); err != nil {
		return d.wrap(err)
	}
	if err := d.speaker.start(); err != nil {
		return d.wrap(err)
	}
	return d.wrap(r.loop.flush(d))
}

// idle measures the memory per connected user.
func (r *run) idle(t *target) (Figures, error) {
	m, err := r.measure(t)
	if err != nil {
		return Figures{}, err
	}
	if err := r.pause(time.Duration(t.loggedIn-r.loop.now()) + r.times.idleAfter); err != nil {
		return Figures{}, err
	}
	after, err := r.settle(t)
	if err != nil {
		return Figures{}, err
	}
	f, _, err := m.done(PhaseIdle)
	f.RSSPerIdle = float64(after-t.baseRSS) / float64(len(t.graph))
	return f, err
}

// unloaded sends one change at a time.
func (r *run) unloaded(t *target) (Figures, error) {
	m, err := r.measure(t)
	if err != nil {
		return Figures{}, err
	}
	t.hist = &m.hist
	for end := m.began + int64(r.times.phase); r.loop.now() < end; {
		d, at, ok := t.due()
		if !ok || at > r.loop.now() {
			if err := r.loop.wait(max(at, r.loop.now()+int64(turnPause))); err != nil {
				return Figures{}, err
			}
			continue
		}
		if err := r.send(t, d); err != nil {
			return Figures{}, err
		}
		if err := r.drain(t); err != nil {
			return Figures{}, err
		}
		if err := r.pause(unloadedPause); err != nil {
			return Figures{}, err
		}
		r.bar.at((r.loop.now() - m.began) / int64(time.Millisecond))
	}
	f, _, err := m.done(PhaseUnloaded)
	m.delays(&f)
	return f, err
}

// saturate keeps changesAtOnce changes under way.
func (r *run) saturate(t *target) (Figures, error) {
	f, err := r.closed(t, PhaseSaturate, r.changesAtOnce())
	t.rate = f.Aside.Rate
	return f, err
}

// changesAtOnce is how many changes of the load are under way at once.
func (r *run) changesAtOnce() int {
	if r.cfg.Door == DoorTopics {
		return topicsAtOnce
	}
	return changesAtOnce
}

// storm keeps stormAtOnce changes under way, but none of a user whose last one
// may still be under way: the server may coalesce those.
func (r *run) storm(t *target) (Figures, error) {
	return r.closed(t, PhaseStorm, min(stormAtOnce, len(t.graph)/4))
}

// closed keeps so many changes under way: the next one is sent when the
// deliveries of an earlier one are complete.
func (r *run) closed(t *target, phase string, changes int) (Figures, error) {
	limit := int64(max(changes, 1)) * t.friends()
	send := func(until int64) error {
		for t.inFlight() < limit {
			d, at, ok := t.due()
			if now := r.loop.now(); !ok || at > now || now >= until {
				return r.loop.wait(max(at, now+int64(turnPause)))
			}
			if err := r.send(t, d); err != nil {
				return err
			}
		}
		return r.loop.wait(until)
	}
	return r.underLoad(t, phase, send)
}

// open sends changes at random times, rate deliveries per second on average.
func (r *run) open(t *target, phase string, rate float64) (Figures, error) {
	// Both servers get the same arrivals.
	arrivals := rand.New(rand.NewPCG(r.cfg.Seed, 0x68616c66))
	gap := float64(time.Second) * float64(t.friends()) / rate
	gap = max(gap, float64(updatePause)/float64(len(t.graph)))
	limit := behindFactor * int64(r.changesAtOnce()) * t.friends()
	next := r.loop.now()
	send := func(until int64) error {
		for next <= r.loop.now() {
			d, at, ok := t.due()
			if now := r.loop.now(); !ok || at > now || now >= until || t.inFlight() > limit {
				return r.loop.wait(max(at, now+int64(turnPause)))
			}
			if err := r.send(t, d); err != nil {
				return err
			}
			next += int64(arrivals.ExpFloat64() * gap)
		}
		return r.loop.wait(min(next, until))
	}
	f, err := r.underLoad(t, phase, send)
	f.Aside.Wanted = float64(time.Second) * float64(t.friends()) / gap
	return f, err
}

// underLoad calls send over and over: first to warm up, then measured, then it
// waits for what is still under way.
func (r *run) underLoad(t *target, phase string, send func(until int64) error) (Figures, error) {
	warm := r.loop.now() + min(int64(r.times.phase)/4, int64(time.Second))
	for r.loop.now() < warm {
		if err := r.stalled(t); err != nil {
			return Figures{}, err
		}
		if err := send(warm); err != nil {
			return Figures{}, err
		}
	}
	m, err := r.measure(t)
	if err != nil {
		return Figures{}, err
	}
	t.hist = &m.hist
	for end := m.began + int64(r.times.phase); r.loop.now() < end; {
		if err := r.stalled(t); err != nil {
			return Figures{}, err
		}
		if err := send(end); err != nil {
			return Figures{}, err
		}
		r.bar.at((r.loop.now() - m.began) / int64(time.Millisecond))
	}
	f, cpu, err := m.done(phase)
	if err != nil {
		return f, err
	}
	m.delays(&f)
	if f.Deliveries > 0 {
		f.CPUPerMillion = cpu.Seconds() * 1e6 / float64(f.Deliveries)
	}
	lost := t.missing
	err = r.drain(t)
	f.Aside.Missing = t.missing - lost
	return f, err
}

// send lets d change its status now.
func (r *run) send(t *target, d *device) error {
	t.turn.next = (t.turn.next + 1) % len(t.turn.order)
	t.sent++
	t.lastSend = r.loop.now()
	d.sentAt = t.lastSend
	if err := d.speaker.update(t.lastSend); err != nil {
		return d.wrap(err)
	}
	return d.wrap(r.loop.flush(d))
}
