package tracker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = presence.AppID("demo")

var bob = presence.User{App: app, ID: "bob"}

// rig is a tracker with its world, in a bubble. It can be started again on what
// its store holds.
type rig struct {
	t     testing.TB
	cfg   Config
	mem   *storetest.Memory
	wheel *wheel.Wheel
	tr    *Tracker
	ear   *ear
	lists *lists
}

// newRig starts a tracker; change, when not nil, may alter its configuration.
func newRig(t testing.TB, change func(*Config)) *rig {
	r := &rig{t: t, mem: storetest.NewMemory(), lists: &lists{of: map[presence.SessionID][]presence.UserID{}, friends: map[presence.SessionID]bool{}}}
	r.cfg = Config{Policies: map[presence.AppID]Policy{app: {}}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&r.cfg)
	}
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	incarnation, err := r.mem.Next(context.Background(), "incarnation")
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Incarnation, cfg.Wheel = incarnation, wheel.New(nil)
	if cfg.Log == nil {
		cfg.Log = r.mem
	}
	switch c := cfg.Checkpoints.(type) {
	case nil:
		cfg.Checkpoints = r.mem
	case *counting:
		c.mem = r.mem
	}
	r.wheel, r.ear = cfg.Wheel, newEar()
	r.wheel.Start()
	r.tr = New(cfg)
	r.tr.Listen(r.ear, r.lists)
	if err := r.tr.Start(context.Background()); err != nil {
		r.t.Fatalf("Start: %v", err)
	}
	r.tr.Ready()
}

// stop ends the tracker as SIGTERM does.
func (r *rig) stop() error {
	r.tr.Drain(func() End { return End{Cause: CauseDraining} })
	err := r.tr.Stop(context.Background())
	r.wheel.Stop()
	return err
}

// crash ends the tracker as kill -9 does: what it had not stored is gone. The
// next start finds the store as it was.
func (r *rig) crash() {
	synctest.Wait()
	was := r.mem
	r.mem = was.Reopen()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	r.tr.Drain(func() End { return End{Cause: CauseDraining} })
	_ = r.tr.Stop(over) // its store is closed, so it complains
	r.wheel.Stop()
	r.lists.clear()
}

// in runs f in a bubble with a rig that is stopped after it.
func in(t *testing.T, change func(*Config), f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		defer func() {
			r.mem.Recover()
			if err := r.stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
		}()
		f(t, r)
	})
}

// wait lets fake time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// ear is a listener that keeps what it hears.
type ear struct {
	mu     sync.Mutex // guards all below
	newest map[presence.User]*presence.Presence
	calls  int
	back   bool // a picture came with an older version than one before it
	gone   map[presence.SessionID]int
	slow   func(*presence.Presence) // called first
}

func newEar() *ear {
	return &ear{newest: map[presence.User]*presence.Presence{}, gone: map[presence.SessionID]int{}}
}

func (e *ear) Changed(p *presence.Presence) {
	e.mu.Lock()
	slow := e.slow
	e.mu.Unlock()
	if slow != nil {
		slow(p)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if old := e.newest[p.User]; old != nil && int32(p.Version-old.Version) < 0 {
		e.back = true
		return
	}
	e.newest[p.User] = p
}

func (e *ear) Gone(id presence.SessionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone[id]++
}

func (e *ear) heard() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (e *ear) goneOf(id presence.SessionID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone[id]
}

// lists is the hub's end: what each session watches.
type lists struct {
	mu sync.Mutex // guards all below
	of map[presence.SessionID][]presence.UserID
	// friends are the sessions that follow theirs.
	friends map[presence.SessionID]bool
	hook    func() // called once when asked
}

func (l *lists) Watches(id presence.SessionID) ([]presence.UserID, bool) {
	l.mu.Lock()
	hook := l.hook
	l.hook = nil
	l.mu.Unlock()
	if hook != nil {
		hook()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.of[id]), l.friends[id]
}

func (l *lists) follow(id presence.SessionID, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.friends[id] = on
}

func (l *lists) set(id presence.SessionID, users ...presence.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[id] = users
}

func (l *lists) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.of)
	clear(l.friends)
}

// wire is a link that a test holds.
type wire struct {
	mu     sync.Mutex // guards all below
	last   time.Duration
	shared bool
	deaf   bool // its door waits, and reads nothing
	ends   []End
}

// Deaf implements Deaf.
func (w *wire) Deaf() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaf
}

func (w *wire) setDeaf(deaf bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = deaf
}

func (w *wire) LastRead() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *wire) Shared() bool { return w.shared }

func (w *wire) End(e End) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, e)
}

func (w *wire) read(r *rig) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = r.wheel.Now()
}

func (w *wire) ended() []End {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ends)
}

// make makes a session of bob and fails the test when it cannot.
func (r *rig) make(d presence.Device) Ref {
	r.t.Helper()
	m, err := r.tr.Make(context.Background(), MakeParams{User: bob, Device: d})
	if err != nil {
		r.t.Fatalf("Make: %v", err)
	}
	return m.Ref
}

func (r *rig) connect(ref Ref, initial *presence.Status) (*wire, error) {
	w := &wire{}
	w.read(r)
	_, err := r.tr.Connect(context.Background(), ref, ConnectParams{Link: w, Initial: initial, Addr: "192.0.2.1:1"})
	return w, err
}

// open makes and connects a session of bob.
func (r *rig) open(d presence.Device) (Ref, *wire) {
	r.t.Helper()
	ref := r.make(d)
	w, err := r.connect(ref, nil)
	if err != nil {
		r.t.Fatalf("Connect: %v", err)
	}
	synctest.Wait() // the answer may be here a moment before the listener is told
	return ref, w
}

func (r *rig) update(ref Ref, s presence.Status) (Updated, error) {
	return r.tr.Update(context.Background(), ref, func(*presence.Status) (*presence.Status, error) { return &s, nil })
}

// phase is the phase of a session in the table, or PhaseClosed+1 when it is not
// there.
func (r *rig) phase(ref Ref) presence.Phase {
	sh, s, err := r.tr.find(ref)
	if err != nil {
		return presence.PhaseClosed + 1
	}
	defer sh.mu.Unlock()
	return s.phase
}

// folded folds the whole log and returns a user's present and facts.
func (r *rig) folded(u presence.User) (f presence.Folded, facts []presence.Fact) {
	for _, rec := range r.mem.Records() {
		if rec.User == u {
			facts = f.Apply(&rec, facts)
		}
	}
	return f, facts
}

// wantKind fails the test unless err is a fault of that kind.
func wantKind(t testing.TB, what string, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// sees writes what others (or the user's own devices) see, briefly.
func sees(p *presence.Presence, own bool) (open []string) {
	for _, v := range p.Sessions {
		if f := v.Face(own); f.Open() {
			text := "online"
			if v.Status != nil {
				text = v.Status.Show.String()
			}
			open = append(open, text)
		}
	}
	return open
}

var errFull = errors.New("disk full")

var _ store.Store = (*storetest.Memory)(nil)
