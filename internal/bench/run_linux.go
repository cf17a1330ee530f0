package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Run measures what cfg asks for and reports each phase as it ends. Phases that
// are not asked for but needed by others (everything needs the login, half
// needs saturate) run without a report. With null servers, each phase runs on
// all servers one after the other while the others idle, so that whatever
// else the machine does hits all alike. Where this process may not open the
// connections of all of them, one server has its whole run after the other.
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
	tokens  []string  // by user; after those of the graph come the stuck ones
	apart   bool      // one server has its whole run after the other
	targets []*target // those that run now: the server, and the null servers if there are any
	rows    [][roles]*Figures
	ended   func(*target) // told of each target at its end; nil outside tests
}

// The roles of a run's servers, in their order.
const (
	roleServer = iota
	roleNull
	roleNullEpoll
	roles
)

// newRun checks the configuration and makes the graph and the tokens.
func newRun(cfg Config) (*run, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, bar: newBar(cfg.Progress)}
	if err := r.fit(); err != nil {
		return nil, err
	}
	r.times = times{phase: time.Duration(cfg.Seconds) * time.Second, settleEvery: settleEvery, settleLimit: settleLimit, idleAfter: idleAfter}
	if cfg.Door == DoorTopics {
		r.graph = everybody(cfg.Users)
	} else if r.graph, err = newGraph(cfg.Users, cfg.Friends, cfg.Seed); err != nil {
		return nil, err
	}
	r.tokens = make([]string, cfg.Users+r.stuckWatchers())
	for i := range r.tokens {
		if r.tokens[i], err = cfg.Token(userName(i)); err != nil {
			return nil, fmt.Errorf("bench: access token of %s: %w", userName(i), err)
		}
	}
	return r, nil
}

// fit makes room for all connections, or sets the servers apart.
func (r *run) fit() error {
	servers := 1
	for _, null := range []Start{r.cfg.Null, r.cfg.NullEpoll} {
		if null != nil {
			servers++
		}
	}
	together := needFiles(r.cfg.Users*servers + r.stuckWatchers())
	if together == nil || servers == 1 {
		return together
	}
	if err := needFiles(r.cfg.Users + r.stuckWatchers()); err != nil {
		return err
	}
	if r.cfg.reports(PhaseHalf) {
		return fmt.Errorf("%w, or leave out the phase %s: it needs all servers at the same time", together, PhaseHalf)
	}
	r.apart = true
	return nil
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
	}()
	self := r.cfg.Self
	if self == nil {
		self = running(r.cfg.Addr)
	}
	all := []server{{roleServer, "server", self}, {roleNull, "null server", r.cfg.Null}, {roleNullEpoll, "null server on epoll", r.cfg.NullEpoll}}
	all = slices.DeleteFunc(all, func(s server) bool { return s.start == nil })
	r.rows = make([][roles]*Figures, len(r.steps()))
	if !r.apart {
		return r.measured(ctx, all)
	}
	for _, s := range all {
		if err := r.measured(ctx, []server{s}); err != nil {
			return err
		}
	}
	for i, s := range r.steps() {
		r.report(s, r.rows[i])
	}
	return nil
}

// server is one server of a run.
type server struct {
	role  int
	name  string // for people
	start Start
}

// measured starts servers, runs the phases on them, and stops them.
func (r *run) measured(ctx context.Context, servers []server) (err error) {
	defer func() {
		r.loop.drop() // a server may wait for its connections to end
		for _, t := range r.targets {
			err = errors.Join(err, t.stop())
			if r.ended != nil {
				r.ended(t)
			}
		}
		r.targets = nil
	}()
	if err := r.start(ctx, servers); err != nil {
		return err
	}
	if err := r.phases(); err != nil {
		return err
	}
	if r.cfg.Addr != "" && r.targets[0].role == roleServer {
		return r.leave(r.targets[0])
	}
	return nil
}

// start starts or finds the servers. All of them are up before the first login,
// so that none is measured while another one starts.
func (r *run) start(ctx context.Context, servers []server) error {
	for _, s := range servers {
		text, pid, stop, err := s.start(ctx)
		if err != nil {
			return fmt.Errorf("bench: start the %s: %w", s.name, err)
		}
		var t *target
		addr, err := loopback(text)
		if err == nil {
			t, err = newTarget(s.name, r.cfg.Door, addr, r.graph, r.cfg.Seed)
		}
		if err != nil {
			return errors.Join(err, stop())
		}
		t.role, t.proc, t.stop = s.role, process(pid), stop
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

// phase is one phase of a run.
type phase struct {
	name   string
	needed bool
	length int64 // for the bar
	do     func(*target) (Figures, error)
	alone  bool // on the server only, without the null servers
}

// steps are the phases of the door in their order.
func (r *run) steps() []phase {
	long := r.times.phase.Milliseconds()
	all := []phase{
		{name: PhaseLogin, needed: true, length: int64(r.cfg.Users), do: r.login},
		{name: PhaseIdle, do: r.idle},
		{name: PhaseUnloaded, length: long, do: r.unloaded},
		{name: PhaseSaturate, needed: r.cfg.reports(PhaseHalf), length: long, do: r.saturate},
		{name: PhaseHalf, length: long, do: func(t *target) (Figures, error) { return r.open(t, PhaseHalf, r.halfRate()) }},
		{name: PhaseSteady, length: long, do: func(t *target) (Figures, error) { return r.open(t, PhaseSteady, steadyRate) }},
		{name: PhaseStuck, length: long, do: r.stuck, alone: true},
		{name: PhaseStorm, length: long, do: r.storm},
	}
	return slices.DeleteFunc(all, func(p phase) bool { return !slices.Contains(Phases(r.cfg.Door), p.name) })
}

// phases runs all phases that are wanted or needed.
func (r *run) phases() error {
	for i, s := range r.steps() {
		if !s.needed && !r.cfg.reports(s.name) {
			continue
		}
		for _, t := range r.targets {
			if s.alone && t.role != roleServer {
				continue
			}
			r.bar.begin(s.name+", "+t.name, s.length)
			f, err := s.do(t)
			if err != nil {
				return err
			}
			r.rows[i][t.role] = &f
		}
		r.bar.end()
		if !r.apart {
			r.report(s, r.rows[i])
		}
	}
	return nil
}

// report gives the row of a phase, if it was asked for.
func (r *run) report(s phase, row [roles]*Figures) {
	if r.cfg.reports(s.name) {
		r.cfg.Report(newRow(*row[roleServer], row[roleNull], row[roleNullEpoll], r.cfg.Seed))
	}
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

// leave closes all sessions politely, so that a server which goes on running
// keeps nothing of the load. It takes a bounded time and gives up silently: the
// server then finds the links lost.
func (r *run) leave(t *target) error {
	limit := r.loop.now() + int64(quietLimit)
	for i := 0; t.left < len(t.devices) && r.loop.now() < limit; {
		for ; i < len(t.devices) && i-t.left < loginsAtOnce && !t.devices[i].busy; i++ {
			d := t.devices[i]
			d.step = stepLeft
			if err := errors.Join(d.speaker.leave(), r.loop.flush(d)); err != nil {
				return d.wrap(err)
			}
		}
		if err := r.loop.wait(limit); err != nil {
			return err
		}
	}
	return nil
}
