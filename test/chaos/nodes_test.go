package chaos

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fault is what happens to a fleet in a round.
type fault string

const (
	killOne fault = "kill -9 of a node"
	roll    fault = "SIGTERM and start, node by node"
)

// doorsLimit is R1 of several nodes at the doors, hookWithin at the webhook.
const (
	doorsLimit = 10 * time.Second
	hookWithin = 15 * time.Second
	// rollGrace is restart_grace of nodes here.
	rollGrace = 10 * time.Second
)

// TestNodes plays faults on nodes whose engines form the cluster, and
// holds R1, R3, R4, R5, R6, R9 and R12 against what everybody saw.
func TestNodes(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("PORCHLIGHT_CHAOS_NODES"))
	if err != nil || count < 3 {
		t.Skip("runs with PORCHLIGHT_CHAOS_NODES=3, or more")
	}
	playNodes(t, setting{count: count}, []fault{killOne, roll})
}

// playNodes plays faults in turn until there were enough rounds.
func playNodes(t *testing.T, set setting, faults []fault) {
	t.Helper()
	set.settings = fmt.Sprintf("restart_grace: %v", rollGrace)
	w := newCrowd(t, set, seedOf(t))
	for i := range max(len(faults), nodeRounds(t)) {
		name := faults[i%len(faults)]
		where := fmt.Sprintf("round %d (%s)", i+1, name)
		began := time.Now()
		err := w.play(name)
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
		w.count(func(f *nodeFigures) { f.rounds[string(name)]++ })
		bad := w.judge(t, where)
		t.Logf("%s took %v", where, time.Since(began).Round(100*time.Millisecond))
		if err != nil || bad && w.figures.violations > 5*mostBlame {
			break
		}
	}
	w.checkHook()
	for _, n := range w.fleet.nodes {
		complaints, err := n.complaints()
		if err != nil {
			t.Error(err)
		}
		for _, c := range complaints {
			if strings.Contains(c, "engine: ") {
				continue // it tells of every connection that another node's end cut
			}
			w.blame("node complained: %s", c)
		}
	}
	w.judge(t, "at the end")
	w.stories(t.Logf)
	w.print(t)
}

// nodeRounds is PORCHLIGHT_CHAOS_ROUNDS, or none beyond one of each fault.
func nodeRounds(t *testing.T) int {
	t.Helper()
	if n := rounds(t); n > 10 {
		return n
	}
	return 1
}

// play is one round: load, fault, calm, checks.
func (w *crowd) play(name fault) error {
	if err := w.busy(func() error {
		pause(w.ctx.Done(), 2*time.Second)
		var err error
		switch name {
		case killOne:
			err = w.playKill()
		case roll:
			err = w.playRoll()
		}
		pause(w.ctx.Done(), time.Second)
		return err
	}); err != nil {
		return err
	}
	return w.checkCalm()
}

// playKill kills a node, waits until no ghost of it may be seen, and starts it.
func (w *crowd) playKill() error {
	i := w.random.IntN(len(w.fleet.nodes))
	w.history.out(false)
	at := w.fleet.kill(i)
	w.history.over()
	w.watchDoors(i, at)
	if err := w.fleet.start(i); err != nil {
		return err
	}
	w.watchHook(i, at)
	return nil
}

// playRoll asks one node after the other to stop, and starts it again.
func (w *crowd) playRoll() error {
	for i, n := range w.fleet.nodes {
		w.history.out(true)
		w.fleet.set(i, true)
		began := time.Now()
		if err := n.term(); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		w.history.over()
		w.count(func(f *nodeFigures) { f.worstStop = max(f.worstStop, time.Since(began)) })
		if err := w.fleet.start(i); err != nil {
			return err
		}
		pause(w.ctx.Done(), time.Second)
	}
	return nil
}

// TestProveNodes: what only several nodes are held against can fail.
func TestProveNodes(t *testing.T) {
	t.Parallel()
	seen := after(10 * time.Second)
	query := view{"bob": {lastSeen: seen}}
	for early, want := range map[time.Duration]string{0: "", 2 * time.Second: "", 3 * time.Second: "last seen", -time.Second: "last seen"} {
		expect(t, differ(corrected(view{"bob": {lastSeen: seen.Add(-early)}}, query), query), want)
	}
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
