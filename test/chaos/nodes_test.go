package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// doorsLimit is R1 of several nodes at the doors, hookWithin at the webhook.
const (
	doorsLimit = 10 * time.Second
	hookWithin = 15 * time.Second
	// rollGrace is restart_grace of nodes here.
	rollGrace = 10 * time.Second
	// mostVoid is how many rounds may be void, one after the other, before a run
	// gives up.
	mostVoid = 4
)

// TestNodes plays faults on nodes whose engines form the cluster, and
// holds R1, R3–R6, R8, R9 and R12 against what everybody saw.
//
//nolint:paralleltest // beside another test each would be too slow for the other's limits
func TestNodes(t *testing.T) {
	playNodes(t, func(t *testing.T, count int) setting {
		set := setting{count: count}
		if os.Getenv("PORCHLIGHT_CHAOS_NETWORK") != "" {
			set.network = newNetwork(t, count)
		}
		return set
	})
}

// TestNodesOverServers does the same on nodes whose store is with three NATS
// servers.
//
//nolint:paralleltest // as above
func TestNodesOverServers(t *testing.T) {
	playNodes(t, func(t *testing.T, count int) setting {
		return setting{count: count, servers: natsbustest.Start(t, natsbustest.Settings{Hidden: true})}
	})
}

// playNodes plays faults on fleets of a setting.
func playNodes(t *testing.T, set func(t *testing.T, count int) setting) {
	t.Helper()
	text := os.Getenv("PORCHLIGHT_CHAOS_NODES")
	if text == "" {
		t.Skip("runs with PORCHLIGHT_CHAOS_NODES=3, or more")
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 3 {
		t.Fatalf("PORCHLIGHT_CHAOS_NODES: %q is not a number of nodes: 3 or more", text)
	}
	p := newSchedule(t)
	stepping := ""
	if os.Getenv("PORCHLIGHT_CHAOS_CLOCK") != "" {
		stepping = steppingProgram(t)
	}
	for stretch := 1; !p.over() && !t.Failed(); stretch++ {
		t.Run(fmt.Sprintf("stretch %d", stretch), func(t *testing.T) {
			s := set(t, count)
			s.stepping = stepping
			s.settings = fmt.Sprintf("restart_grace: %v", rollGrace)
			playStretch(t, newCrowd(t, s, p.seed+uint64(stretch)), p)
		})
		if p.void >= mostVoid {
			t.Logf("given up: %d rounds one after the other were void, as the machine stood still", p.void)
			break
		}
	}
	t.Logf("seed %d: %d rounds, %d more were void", p.seed, p.rounds, p.voids)
}

// playStretch plays rounds until there were enough, or one was void: then nothing
// that this crowd sees counts any more.
func playStretch(t *testing.T, w *crowd, p *schedule) {
	t.Helper()
	beat := newPulse(t)
	for !p.over() {
		f, ok := p.next(w)
		if !ok {
			t.Fatalf("PORCHLIGHT_CHAOS_FAULTS=%s: none of the faults can be played here", p.only)
		}
		where := fmt.Sprintf("round %d (%s)", p.rounds+1, f.name)
		began := time.Now()
		t.Logf("%s %s", clock(began), where)
		beat.take()
		err := w.play(f)
		gap := beat.take()
		if gap > uneasy {
			gap = max(gap, w.stoodStill(began))
		}
		if gap > standstill {
			p.again(f)
			w.excuse(t, fmt.Sprintf("%s is void: the machine stood still for %v", where, gap.Round(time.Millisecond)))
			w.undo()
			w.print(t)
			return
		}
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
		p.played()
		w.count(func(figures *nodeFigures) { figures.rounds[f.name]++ })
		bad := w.judge(t, where)
		t.Logf("%s took %v", where, time.Since(began).Round(100*time.Millisecond))
		if err != nil || bad && (p.first || w.figures.violations > 5*mostBlame) {
			break
		}
	}
	w.checkHook()
	w.judge(t, "at the end")
	w.stories(t.Logf)
	w.print(t)
}

// excuse says why a round does not count, and what was blamed in it.
func (w *world) excuse(t *testing.T, why string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%s; it is played again, and these %d are not counted", why, len(w.blamed))
	for _, b := range w.blamed[:min(len(w.blamed), 5)] {
		t.Logf("  not counted: %s", b)
	}
	w.blamed = nil
}

// play is one round: load, fault, calm, checks.
func (w *crowd) play(f fault) error {
	if err := w.busy(func() error {
		w.wait(2 * time.Second)
		err := f.play(w)
		w.wait(time.Second)
		return err
	}); err != nil {
		return err
	}
	return w.checkCalm()
}

// schedule is what is played: a random order of all that fits, again and again.
type schedule struct {
	seed    uint64
	random  *rand.Rand
	only    string    // part of the names of the faults; "": all
	first   bool      // the first violation ends it: what nodes keep of it is soon gone
	least   int       // rounds
	until   time.Time // no round begins after it, once there were enough
	queue   []fault
	rounds  int
	void    int // rounds in turn
	voids   int // rounds in all
	started bool
}

// newSchedule reads how long to play: PORCHLIGHT_CHAOS_MINUTES, or as many rounds as
// PORCHLIGHT_CHAOS_ROUNDS, or each fault once.
func newSchedule(t *testing.T) *schedule {
	t.Helper()
	p := &schedule{seed: seedOf(t), only: os.Getenv("PORCHLIGHT_CHAOS_FAULTS"), first: os.Getenv("PORCHLIGHT_CHAOS_FIRST") != ""}
	p.random = rand.New(rand.NewPCG(p.seed, 11))
	switch text := os.Getenv("PORCHLIGHT_CHAOS_MINUTES"); {
	case text != "":
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || minutes <= 0 {
			t.Fatalf("PORCHLIGHT_CHAOS_MINUTES: %q is not a number of minutes", text)
		}
		p.least, p.until = 1, time.Now().Add(time.Duration(minutes*float64(time.Minute)))
	case os.Getenv("PORCHLIGHT_CHAOS_ROUNDS") != "":
		p.least = rounds(t)
	}
	return p
}

// over reports whether there were enough rounds.
func (p *schedule) over() bool {
	if p.started && p.least == 0 { // each once
		return len(p.queue) == 0
	}
	return p.started && p.rounds >= p.least && time.Now().After(p.until)
}

// next is the next fault.
func (p *schedule) next(w *crowd) (fault, bool) {
	if len(p.queue) == 0 {
		p.queue = slices.DeleteFunc(allFaults(), func(f fault) bool { return f.fits != nil && !f.fits(w) || !p.wanted(f) })
		p.random.Shuffle(len(p.queue), func(i, j int) { p.queue[i], p.queue[j] = p.queue[j], p.queue[i] })
	}
	if len(p.queue) == 0 {
		return fault{}, false
	}
	p.started = true
	f := p.queue[0]
	p.queue = p.queue[1:]
	return f, true
}

func (p *schedule) wanted(f fault) bool {
	return slices.ContainsFunc(strings.Split(cmp.Or(p.only, f.name), ","), func(part string) bool { return strings.Contains(f.name, strings.TrimSpace(part)) })
}

func (p *schedule) played() { p.rounds, p.void = p.rounds+1, 0 }

// again puts a fault before the others, as its round was void.
func (p *schedule) again(f fault) {
	p.queue = append([]fault{f}, p.queue...)
	p.void, p.voids = p.void+1, p.voids+1
}

// TestProveNodes: what only several nodes are held against can fail.
func TestProveNodes(t *testing.T) {
	t.Parallel()
	h := hook{seen: map[string]time.Time{}}
	one := ghost{life: bobs(nil), since: killAt}
	if _, missing := h.closed([]ghost{one}); len(missing) != 1 {
		t.Errorf("nothing was told: missing %v, want bob's session", missing)
	}
	c := change{ID: "1", Kind: "closed"}
	c.Session.ID = one.life.public
	h.taken, h.seen["1"] = []change{c}, killAt.Add(-time.Second)
	if _, missing := h.closed([]ghost{one}); len(missing) != 1 {
		t.Errorf("told of an end before: missing %v, want bob's session", missing)
	}
	h.seen["1"] = killAt.Add(9 * time.Second)
	if worst, missing := h.closed([]ghost{one}); len(missing) > 0 || worst != h.seen["1"] {
		t.Errorf("told of: missing %v, worst %v", missing, worst)
	}
}
