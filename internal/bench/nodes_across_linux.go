package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

// across is PhaseAcross: the standard load with its devices at all nodes, first one
// change at a time, then 3,000 a second.
func (f *fleet) across(ctx context.Context) (err error) {
	// As Run does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := f.acrossRun()
	if err != nil {
		return err
	}
	if r.loop, err = newLoop(ctx); err != nil {
		return err
	}
	defer r.loop.close()
	t, err := f.acrossTarget(r)
	if err != nil {
		return err
	}
	r.bar.begin("login", int64(len(r.graph)))
	if _, err := r.login(t); err != nil {
		return err
	}
	for _, m := range []struct {
		measure string
		do      func() (Figures, error)
	}{
		{measureAcrossLone, func() (Figures, error) { return r.unloaded(t) }},
		{measureAcross, func() (Figures, error) { return r.open(t, PhaseAcross, acrossRate*acrossFriends) }},
	} {
		r.bar.begin(m.measure, r.times.phase.Milliseconds())
		before := f.load()
		got, err := m.do()
		if err != nil {
			return err
		}
		row := NodesRow{Phase: PhaseAcross, Measure: m.measure, Sessions: acrossUsers, P50: round(got.P50), P99: round(got.P99), P999: round(got.P999)}
		f.since(before, &row)
		row.Rate = round(got.Aside.Rate / acrossFriends)
		if got.Aside.Missing > 0 {
			return fmt.Errorf("bench: %d of %d changes did not reach their watchers at other nodes", got.Aside.Missing, got.Deliveries)
		}
		f.report(row)
	}
	return r.leave(t)
}

// acrossRun is the standard load's run without its servers.
func (f *fleet) acrossRun() (r *run, err error) {
	if err := needFiles(acrossUsers); err != nil {
		return nil, err
	}
	r = &run{cfg: Config{Door: DoorLive, Users: acrossUsers, Friends: acrossFriends, Seed: 1}, bar: f.bar, graph: ring(acrossUsers, acrossFriends, len(f.nodes))}
	r.times = times{phase: time.Duration(f.cfg.Seconds) * time.Second}
	r.tokens = make([]string, acrossUsers)
	for i := range r.tokens {
		if r.tokens[i], err = f.cfg.Token(userName(i)); err != nil {
			return nil, fmt.Errorf("bench: access token of %s: %w", userName(i), err)
		}
	}
	return r, nil
}

// acrossTarget is all nodes as one target.
func (f *fleet) acrossTarget(r *run) (*target, error) {
	addrs := make([]netip.AddrPort, len(f.nodes))
	var err error
	for i, m := range f.nodes {
		var e error
		addrs[i], e = loopback(m.addr)
		err = errors.Join(err, e)
	}
	if err != nil {
		return nil, err
	}
	t, err := newTarget("nodes", DoorLive, addrs[0], r.graph, r.cfg.Seed)
	if err != nil {
		return nil, err
	}
	t.more = addrs[1:]
	return t, nil
}

// ring returns whom each of users watches, who are at so many nodes in turn:
// the next friends of the ring who are at other nodes.
func ring(users, friends, nodes int) [][]int32 {
	g := make([][]int32, users)
	for u := range g {
		for step := 1; len(g[u]) < friends; step++ {
			if step%nodes != 0 {
				g[u] = append(g[u], int32((u+step)%users))
			}
		}
	}
	return g
}
