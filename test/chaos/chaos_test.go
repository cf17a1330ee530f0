package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(echoRole); addr != "" {
		echo(addr)
		return
	}
	if text := os.Getenv(nodeRole); text != "" {
		if err := beNode(text); err != nil {
			fmt.Fprintln(os.Stderr, "porchlight:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// The size of the load.
const (
	userCount    = 90
	deviceCount  = 130
	watcherCount = 3 // over raw streams
	programCount = 2 // with the Go client

	shortRestart, longRestart = 2 * time.Second, 30 * time.Second // restart_grace
)

func userName(i int) string { return fmt.Sprintf("u%02d", i) }

// isTownUser tells the users whose sessions are in the history from those of
// the Go client.
func isTownUser(id presence.UserID) bool { return !strings.HasPrefix(string(id), "program") }

// figures are what is printed at the end.
type figures struct {
	counted
	worst
}

// counted are the figures that add up.
type counted struct {
	rounds, kills, terms            int
	lost, flaps, silent, violations int // what must be 0
	ghosts                          int // sessions that nobody came back to
	steady                          int // users there all the time over a restart
	young                           int // resumes refused because the opening was not noted yet
	doubtful, skipped               int // what the machine was too slow for
}

// worst are the longest times.
type worst struct {
	worstGhost, worstConverge, worstAge, worstSeen, worstStop time.Duration
}

// TestChaos is the rounds.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	n := newNode(t, fmt.Sprintf("restart_grace: %v", shortRestart), "")
	w := newTown(t, n, seed)
	populate(t, w)
	for i, r := range plans(t) {
		if r.grace > shortRestart {
			n.configure(t, fmt.Sprintf("restart_grace: %v", r.grace))
		}
		if !w.run(t, i+1, r) {
			break
		}
	}
	// The log is read as the last kill left it.
	w.load(leastLoad, killed)
	w.checkGeneration()
	w.checkStore(t)
	complaints, err := n.complaints()
	if err != nil {
		t.Error(err)
	}
	for _, c := range complaints {
		w.blame("the server complained: %s", c)
	}
	w.judge(t, "at the end")
	w.print(t)
}

// run runs one round and reports whether to go on.
func (w *town) run(t *testing.T, number int, p planned) bool {
	t.Helper()
	began := time.Now()
	where := fmt.Sprintf("round %d (%s, grace %v)", number, p.blow, p.grace)
	if err := w.round(p.blow, p.grace); err != nil {
		t.Errorf("%s: %v", where, err)
		w.judge(t, where)
		return false
	}
	w.note(func(f *figures) { f.rounds++ })
	w.judge(t, where)
	t.Logf("%s took %v", where, time.Since(began).Round(100*time.Millisecond))
	return w.figures.violations < 20*mostBlame
}

// seedOf is PORCHLIGHT_CHAOS_SEED, or a new one; it is printed.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("PORCHLIGHT_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("PORCHLIGHT_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("PORCHLIGHT_CHAOS_SEED=%d", seed)
	return seed
}

// rounds is how many times to kill with restart_grace 2 s.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PORCHLIGHT_CHAOS_ROUNDS")
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("PORCHLIGHT_CHAOS_ROUNDS: %q is not a number of rounds", text)
		}
		return n
	case testing.Short():
		return 1
	}
	return 10
}

// planned is one round to come.
type planned struct {
	blow  blow
	grace time.Duration // restart_grace
}

// plans are the rounds: the kills asked for, every fourth of them followed by
// another blow, and a SIGTERM after the first and every tenth. From 100 on
// three with a long grace come last: the server is up long enough there to
// write its checkpoint whole.
func plans(t *testing.T) (list []planned) {
	t.Helper()
	add := func(grace time.Duration, blows ...blow) {
		for _, b := range blows {
			list = append(list, planned{b, grace})
		}
	}
	for i := range rounds(t) {
		switch i % 8 {
		case 3:
			add(shortRestart, twice)
		case 7:
			add(shortRestart, again)
		default:
			add(shortRestart, killed)
		}
		if i%10 == 0 {
			add(shortRestart, termed)
		}
	}
	if rounds(t) >= 100 {
		add(longRestart, killed, again, killed)
	}
	return list
}

// newTown makes the devices and watchers; none is connected yet.
func newTown(t *testing.T, n *node, seed uint64) *town {
	t.Helper()
	w := &town{random: rand.New(rand.NewPCG(seed, 0)), plans: map[*device]plan{}, seenOwn: lastSeens{}, seen: lastSeens{}}
	for i := range userCount {
		w.users = append(w.users, userName(i))
	}
	all := append([]string{}, w.users...)
	for i := range watcherCount {
		all = append(all, fmt.Sprintf("watcher%d", i))
	}
	for i := range programCount {
		all = append(all, fmt.Sprintf("program%d", i))
	}
	w.world = newWorld(t, n, seed, all)
	device := func(user, id string, number int) *device {
		d, err := w.newDevice(user, id, uint64(number)+1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.drop(); d.conn.Close() })
		return d
	}
	for i := range deviceCount {
		id := ""
		if i%4 == 0 {
			id = fmt.Sprintf("phone%d", i)
		}
		w.devices = append(w.devices, device(w.users[i%userCount], id, i))
	}
	for i := range watcherCount {
		d := device(fmt.Sprintf("watcher%d", i), "", deviceCount+i)
		d.keep = true
		w.watchers = append(w.watchers, d)
	}
	return w
}

// populate starts the server, connects everybody, and waits until what they
// subscribed to must be on disk.
func populate(t *testing.T, w *town) {
	t.Helper()
	w.begin(t)
	for i := range programCount {
		w.programs = append(w.programs, newProgram(t, w.world, fmt.Sprintf("program%d", i), w.users))
	}
	for _, d := range w.watchers {
		if err := d.make(); err != nil {
			t.Fatal(err)
		}
		if err := d.subscribe(w.users...); err != nil {
			t.Fatal(err)
		}
		if err := d.connect(opens, true); err != nil {
			t.Fatal(err)
		}
	}
	w.each(w.devices, func(d *device) { d.failed("the first opening", d.begin()) })
	pause(w.ctx.Done(), 2*noteDelay)
}

// print shows the figures.
func (w *world) print(t *testing.T) {
	t.Helper()
	var openings, closings, updates int
	w.history.note(func() {
		for _, l := range w.history.lives {
			for _, o := range l.opens {
				openings += count(o)
			}
			for _, b := range l.byes {
				closings += count(b)
			}
			for _, s := range l.says {
				updates += count(s.act)
			}
		}
	})
	f := w.figures
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "  %-62s %v\n", name, value) }
	row("rounds", f.rounds)
	row("kill -9 / SIGTERM", fmt.Sprintf("%d / %d", f.kills, f.terms))
	row("acknowledged openings / closings / statuses", fmt.Sprintf("%d / %d / %d", openings, closings, updates))
	row("lost: openings, closings or statuses (R4; must be 0)", f.lost)
	row("visible flaps (R3; must be 0)", f.flaps)
	row("users there all the time over a restart, summed", f.steady)
	row("ghosts; the last one gone after ready + restart_grace (R1, 2 s)", fmt.Sprintf("%d, %v", f.ghosts, f.worstGhost.Round(time.Millisecond)))
	row("watches that did not deliver (R6; must be 0)", f.silent)
	row("worst time until watchers and queries agreed (R6, 5 s)", f.worstConverge.Round(time.Millisecond))
	row("oldest status that a kill lost (1 s)", f.worstAge.Round(time.Millisecond))
	row("worst last seen before the kill (R12, 2 s)", f.worstSeen.Round(time.Millisecond))
	row("longest stop after SIGTERM", f.worstStop.Round(time.Millisecond))
	row("sessions opened within 1 s before a kill and refused", f.young)
	row("returns too late to be judged / starts too slow to be asked", fmt.Sprintf("%d / %d", f.doubtful, f.skipped))
	row("violations", f.violations)
	t.Logf("seed %d\n%s", w.seed, b.String())
}

func count(a act) int {
	if a.done() {
		return 1
	}
	return 0
}
