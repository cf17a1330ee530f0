package storetest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	powerLines = 400 // said by each child before the power goes; tracing is slow
	powerCuts  = 6   // moments tried in what each child did
)

// PowerLoss proves that what a process was told is stored stays stored when
// the power goes. A child writes under strace, which notes its writes and syncs;
// a model of the disk (see disk) then gives states that the power could have
// left at many moments, and the store must open on each with everything that
// had been acknowledged until then. One of the states is where the next child
// goes on. It needs strace and the right to use it, and skips without. The
// test's main must call Child.
func PowerLoss(t *testing.T, open Open) {
	t.Helper()
	if err := exec.Command("strace", "-f", "--seccomp-bpf", "-qqq", "-o", os.DevNull, "true").Run(); err != nil {
		t.Skipf("skipped: power loss is tried with strace 5.3 or later, which cannot run here (%v)", err)
	}
	dir, f := t.TempDir(), newFacts()
	n, states := rounds(t, 2), 0
	for i := range n {
		dir, f = powerRound(t, open, dir, f)
		if states += powerCuts; t.Failed() {
			t.Fatalf("failed in round %d of %d", i+1, n)
		}
	}
	t.Logf("%d states after the loss of power in %d rounds: everything acknowledged was there, and none of %d who were taken out of bases", states, n, len(f.reading.erased))
}

// powerRound runs one child on dir, whose facts so far are f, and tries
// powerCuts moments of what it did. It returns one state and its facts.
func powerRound(t *testing.T, open Open, dir string, f *facts) (string, *facts) {
	t.Helper()
	before, err := newDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := childCommand(t, dir, traceArgs(trace)...)
	ownGroup(cmd)
	runChild(t, cmd, newFacts(), powerLines)
	defer os.Remove(trace) // it is large

	total := 0
	if err := readTrace(trace, func(call) error { total++; return nil }); err != nil {
		t.Fatal(err)
	}
	moments := map[int]bool{total: true}
	for len(moments) < min(powerCuts, total) {
		moments[1+rand.IntN(total)] = true
	}
	p := &power{t: t, disk: before, facts: f, moments: moments, open: open}
	if err := readTrace(trace, p.feed); err != nil {
		t.Fatal(err)
	}
	return p.nextDir, p.nextFacts
}

func readTrace(name string, f func(call) error) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return parseTrace(in, f)
}

// power follows one child's trace and tries the moments.
type power struct {
	t         *testing.T
	open      Open
	disk      *disk
	facts     *facts
	moments   map[int]bool // numbers of halves of calls, after which the power goes
	seen      int
	nextDir   string
	nextFacts *facts
}

func (p *power) feed(c call) error {
	if c.name == "write" && !c.end && c.args[0] == "1" {
		// What the child says counts from the moment it begins to.
		line, err := c.text(1)
		if err != nil {
			return err
		}
		if err := p.facts.add(string(line)); err != nil {
			return err
		}
	}
	if err := p.disk.feed(c); err != nil {
		return err
	}
	if p.seen++; p.moments[p.seen] {
		p.try()
	}
	return nil
}

// try has the power go now.
func (p *power) try() {
	states := [2]string{p.t.TempDir(), p.t.TempDir()}
	state := p.disk.state(rand.New(rand.NewPCG(rand.Uint64(), 0)))
	for _, dir := range states { // twice: opening it changes it
		if err := unpack(state, dir); err != nil {
			p.t.Fatal(err)
		}
	}
	f := p.facts.clone()
	if f.verify(p.t, p.open, states[0]); p.t.Failed() {
		p.t.Fatalf("the power's loss after half call %d of the trace lost something (see above)", p.seen)
	}
	for _, dir := range []string{states[0], p.nextDir} { // they are large
		if err := os.RemoveAll(dir); err != nil {
			p.t.Error(err)
		}
	}
	p.nextDir, p.nextFacts = states[1], p.facts.clone()
}
