package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Run measures what cfg asks for and reports each phase as it ends. Phases that
// are not asked for but needed by others (everything needs the login, half
// needs saturate) run without a report. With a null server, each phase runs on
// both servers one after the other while the other one idles, so that whatever
// else the machine does hits both alike.
//
// It returns when all is measured, with the first error otherwise: a refused
// configuration, a server that refuses, falls silent or ends a session, or the
// end of ctx. Everything it started has ended by then.
//
// A server given by Addr is measured as well when its process can be found on
// this machine; otherwise rows lack its CPU time and memory. Its sessions are
// closed politely at the end.
func Run(ctx context.Context, cfg Config) error {
	r, err := newRun(cfg)
	if err != nil {
		return err
	}
	return r.do(ctx)
}

// run is one call of Run.
type run struct {
	cfg     Config
	times   times
	bar     *bar
	loop    *loop
	graph   [][]int32
	tokens  []string
	targets []*target // the server, and the null server if there is one
}

// newRun checks the configuration and makes the graph and the tokens.
func newRun(cfg Config) (*run, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	connections := cfg.Users
	if cfg.Null != nil {
		connections *= 2
	}
	if err := needFiles(connections); err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, bar: newBar(cfg.Progress), tokens: make([]string, cfg.Users)}
	r.times = times{phase: time.Duration(cfg.Seconds) * time.Second, settleEvery: settleEvery, settleLimit: settleLimit}
	if r.graph, err = newGraph(cfg.Users, cfg.Friends, cfg.Seed); err != nil {
		return nil, err
	}
	for i := range r.tokens {
		if r.tokens[i], err = cfg.Token(userName(i)); err != nil {
			return nil, fmt.Errorf("bench: access token of %s: %w", userName(i), err)
		}
	}
	return r, nil
}

// do runs everything, once.
func (r *run) do(ctx context.Context) (err error) {
	// The load is one thread: its timing gains from its staying the same one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if r.loop, err = newLoop(ctx); err != nil {
		return err
	}
	defer func() {
		r.bar.end()
		r.loop.close()
		for _, t := range r.targets {
			err = errors.Join(err, t.stop())
		}
	}()
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.phases(); err != nil {
		return err
	}
	if r.cfg.Addr != "" {
		return r.leave(r.targets[0])
	}
	return nil
}

// start starts or finds the servers. All of them are up before the first login,
// so that none is measured while another one starts.
func (r *run) start(ctx context.Context) error {
	self := r.cfg.Self
	if self == nil {
		self = running(r.cfg.Addr)
	}
	starts := []struct {
		name  string
		start Start
	}{{"server", self}, {"null server", r.cfg.Null}}
	for _, s := range starts {
		if s.start == nil {
			continue
		}
		text, pid, stop, err := s.start(ctx)
		if err != nil {
			return fmt.Errorf("bench: start the %s: %w", s.name, err)
		}
		var t *target
		addr, err := loopback(text)
		if err == nil {
			t, err = newTarget(s.name, addr, r.graph, r.cfg.Seed)
		}
		if err != nil {
			return errors.Join(err, stop())
		}
		t.proc, t.stop = process(pid), stop
		r.targets = append(r.targets, t)
	}
	return nil
}

// running stands for a server that runs already.
func running(addr string) Start {
	return func(context.Context) (string, int, func() error, error) {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return "", 0, nil, fmt.Errorf("address: %w", err)
		}
		pid, err := listening(ap)
		if err != nil {
			pid = 0 // not ours to see: measured from outside only
		}
		return addr, pid, func() error { return nil }, nil
	}
}

// phases runs all phases that are wanted or needed.
func (r *run) phases() error {
	steps := []struct {
		name   string
		needed bool
		length int64 // for the bar
		do     func(*target) (Figures, error)
	}{
		{PhaseLogin, true, int64(r.cfg.Users), r.login},
		{PhaseIdle, false, 0, r.idle},
		{PhaseUnloaded, false, r.times.phase.Milliseconds(), r.unloaded},
		{PhaseSaturate, r.cfg.reports(PhaseHalf), r.times.phase.Milliseconds(), r.saturate},
		{PhaseHalf, false, r.times.phase.Milliseconds(), func(t *target) (Figures, error) { return r.half(t, r.halfRate()) }},
	}
	for _, s := range steps {
		if !s.needed && !r.cfg.reports(s.name) {
			continue
		}
		figures := make([]*Figures, 2)
		for i, t := range r.targets {
			r.bar.begin(s.name+", "+t.name, s.length)
			f, err := s.do(t)
			if err != nil {
				return err
			}
			figures[i] = &f
		}
		r.bar.end()
		if r.cfg.reports(s.name) {
			r.cfg.Report(newRow(*figures[0], figures[1], r.cfg.Seed))
		}
	}
	return nil
}

// halfRate is half of what the slowest server delivered when saturated.
func (r *run) halfRate() float64 {
	rate := r.targets[0].rate
	for _, t := range r.targets {
		rate = min(rate, t.rate)
	}
	return max(rate/2, 1)
}

// measurement is what was true of a target when a phase began.
type measurement struct {
	r      *run
	t      *target
	began  int64
	cpu    usage
	before tally
	hist   histogram
}

// usage is CPU time used so far.
type usage struct{ server, own, machine time.Duration }

// used reads the clocks; a server that cannot be measured has used nothing.
func (t *target) used() (u usage, err error) {
	if u.server, err = t.cpu(); err != nil {
		return u, err
	}
	u.own = ownCPU()
	u.machine, err = machineCPU()
	return u, err
}

func (r *run) measure(t *target) (*measurement, error) {
	cpu, err := t.used()
	return &measurement{r: r, t: t, began: r.loop.now(), cpu: cpu, before: t.tally}, err
}

// done ends the measurement and returns what all phases report, and the CPU
// time of the server since.
func (m *measurement) done(phase string) (Figures, time.Duration, error) {
	m.t.hist = nil
	cpu, err := m.t.used()
	wall := time.Duration(m.r.loop.now() - m.began).Seconds()
	server, own := cpu.server-m.cpu.server, cpu.own-m.cpu.own
	f := Figures{
		Door: m.r.cfg.Door, Phase: phase, Users: m.r.cfg.Users, Friends: m.r.cfg.Friends,
		Deliveries: m.t.received - m.before.received,
	}
	if phase == PhaseLogin {
		f.Deliveries = m.t.notifications - m.before.notifications
	}
	f.Aside = Aside{Rate: float64(f.Deliveries) / wall, LoadCPU: own.Seconds() / wall}
	if m.t.proc != 0 {
		f.Aside.OtherCPU = max((cpu.machine-m.cpu.machine-server-own).Seconds()/wall, 0)
	}
	return f, server, err
}

// delays fills in the quantiles.
func (m *measurement) delays(f *Figures) {
	ms := func(q float64) float64 { return float64(m.hist.quantile(q)) / float64(time.Millisecond) }
	f.P50, f.P99, f.P999 = ms(0.5), ms(0.99), ms(0.999)
}

// ownCPU is the CPU time this process has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // only a note in the table depends on it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
