package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// fleet is one run: its nodes.
type fleet struct {
	cfg   NodesConfig
	bar   *bar
	nodes []*member
}

// NodesRun measures each phase that cfg asks for on nodes of its own, which it
// starts on loopback and which form a cluster, and reports each measure. It returns
// the first error; everything it started has ended by then.
func NodesRun(ctx context.Context, cfg NodesConfig) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	b := newBar(cfg.Progress)
	defer b.end()
	for _, p := range NodePhases() {
		if slices.Contains(cfg.Phases, p) {
			if err := nodesPhase(ctx, cfg, b, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// nodesPhase is one phase with its nodes.
func nodesPhase(ctx context.Context, cfg NodesConfig, b *bar, phase string) (err error) {
	f := &fleet{cfg: cfg, bar: b}
	b.begin("starting nodes", 0)
	dir := filepath.Join(cfg.Dir, phase)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if f.nodes, err = muster(cfg, dir); err != nil {
		return err
	}
	defer f.stop()
	if err := f.start(ctx); err != nil {
		return err
	}
	switch phase {
	case PhaseAcross:
		return f.across(ctx)
	case PhaseReplicate:
		return f.replicate(ctx)
	}
	return f.million(ctx)
}

// start starts all nodes, which wait for each other.
func (f *fleet) start(ctx context.Context) error {
	return f.all(func(_ int, m *member) error { return m.start(ctx) })
}

// stop ends them.
func (f *fleet) stop() {
	f.bar.begin("stopping nodes", 0)
	_ = f.all(func(_ int, m *member) error { m.stop(); return nil })
}

// all does something at all nodes at once.
func (f *fleet) all(do func(i int, m *member) error) error {
	errs := make([]error, len(f.nodes))
	var doing sync.WaitGroup
	for i, m := range f.nodes {
		doing.Go(func() { errs[i] = do(i, m) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// order gives each node its order at once.
func (f *fleet) order(ctx context.Context, orders ...Order) ([]Standing, error) {
	answers := make([]Standing, len(f.nodes))
	err := f.all(func(i int, m *member) (err error) {
		answers[i], err = m.order(ctx, orders[i%len(orders)])
		return err
	})
	return answers, err
}

// load is CPU time at one moment.
type load struct {
	at                  time.Time
	nodes, own, machine time.Duration
}

func (f *fleet) load() (l load) {
	l.at, l.own = time.Now(), ownCPU()
	l.machine, _ = machineCPU() // what cannot be read is left out
	for _, m := range f.nodes {
		if used, err := m.proc().cpu(); err == nil {
			l.nodes += used
		}
	}
	return l
}

// since fills in the cores that were busy since before.
func (f *fleet) since(before load, row *NodesRow) {
	now := f.load()
	cores := func(d time.Duration) float64 { return round(max(d.Seconds()/now.at.Sub(before.at).Seconds(), 0)) }
	nodes, own := now.nodes-before.nodes, now.own-before.own
	row.CPU, row.LoadCPU, row.OtherCPU = cores(nodes), cores(own), cores(now.machine-before.machine-nodes-own)
}

func (f *fleet) report(row NodesRow) {
	f.bar.end()
	row.Nodes = len(f.nodes)
	f.cfg.Report(row)
}
