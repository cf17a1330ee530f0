package bench

import (
	"context"
	"fmt"
	"time"
)

// replicate changes statuses at all nodes: at the rate that is promised, and as
// fast as it goes.
func (f *fleet) replicate(ctx context.Context) error {
	each := replicateSessions / len(f.nodes)
	f.bar.begin("opening sessions", 0)
	var opens []Order
	for i := range f.nodes {
		opens = append(opens, Order{Do: DoOpen, First: i * each, Count: each})
	}
	if _, err := f.order(ctx, opens...); err != nil {
		return err
	}
	if err := f.changes(ctx, measureReplicate, replicated/len(f.nodes)); err != nil {
		return err
	}
	return f.changes(ctx, measureMost, 0)
}

// changes has all nodes change statuses, and waits until each has what the others
// changed.
func (f *fleet) changes(ctx context.Context, measure string, rate int) error {
	f.bar.begin(measure, 0)
	before, err := f.order(ctx, Order{Do: DoStand})
	if err != nil {
		return err
	}
	load := f.load()
	made, err := f.order(ctx, Order{Do: DoChange, Rate: rate, Seconds: f.cfg.Seconds})
	if err != nil {
		return err
	}
	row := NodesRow{Phase: PhaseReplicate, Measure: measure}
	total := 0.0
	for _, s := range made {
		total += float64(s.Made)
		row.Seconds = max(row.Seconds, s.Took/1000)
	}
	after, err := f.caughtUp(ctx, before)
	if err != nil {
		return err
	}
	f.since(load, &row)
	row.Behind = max(time.Since(load.at).Seconds()-row.Seconds, 0)
	row.Rate = total / row.Seconds
	if rate == 0 { // they may change more than they take, for a while
		row.Rate = total / (row.Seconds + row.Behind)
	}
	row.Rate, row.Behind, row.Seconds = round(row.Rate), round(row.Behind), round(row.Seconds)
	for i := range after {
		row.Gaps += after[i].Gaps - before[i].Gaps
		row.Repaired += after[i].Repaired - before[i].Repaired
	}
	f.report(row)
	return nil
}

// catchUpLimit is how long nodes may take to have all changes.
const catchUpLimit = 30 * time.Second

// caughtUp waits until every node received what the others sent since before, or
// copied it after a loss.
func (f *fleet) caughtUp(ctx context.Context, before []Standing) ([]Standing, error) {
	for limit := time.Now().Add(catchUpLimit); ; {
		now, err := f.order(ctx, Order{Do: DoStand})
		if err != nil {
			return nil, err
		}
		behind := false
		for i := range now {
			want := uint64(0)
			for j := range now {
				if j != i {
					want += now[j].Sent - before[j].Sent
				}
			}
			if got := now[i].Received - before[i].Received; got < want && now[i].Gaps == before[i].Gaps {
				behind = true
			}
		}
		if !behind {
			return now, nil
		}
		if time.Now().After(limit) {
			return nil, fmt.Errorf("bench: after %v not all nodes have what the others changed", catchUpLimit)
		}
	}
}

// million fills the nodes, and lets nodes die.
func (f *fleet) million(ctx context.Context) error {
	first, dying, last := f.nodes[0], f.nodes[1], f.nodes[len(f.nodes)-1]
	few := f.cfg.Sessions / dyingShare
	before, err := f.rested(ctx, last, settleStart)
	if err != nil {
		return err
	}
	f.bar.begin("opening sessions", 0)
	load := f.load()
	opens := make([]Order, len(f.nodes))
	for i := range opens {
		opens[i].Do = DoStand
	}
	opens[0] = Order{Do: DoOpen, Count: f.cfg.Sessions - few}
	opens[1] = Order{Do: DoOpen, First: f.cfg.Sessions, Count: few}
	if _, err := f.order(ctx, opens...); err != nil {
		return err
	}
	all := before.online + f.cfg.Sessions
	if _, err := f.order(ctx, Order{Do: DoAwait, Count: all}); err != nil {
		return err
	}
	row := NodesRow{Phase: PhaseMillion, Measure: measureOpened, Sessions: f.cfg.Sessions}
	f.since(load, &row)
	took := time.Since(load.at)
	row.Rate, row.Seconds = round(float64(f.cfg.Sessions)/took.Seconds()), round(took.Seconds())
	f.report(row)

	after, err := f.rested(ctx, last, settleNodes)
	if err != nil {
		return err
	}
	f.report(NodesRow{
		Phase: PhaseMillion, Measure: measureMemory, Sessions: f.cfg.Sessions,
		Bytes: round((after.heap - before.heap) / float64(f.cfg.Sessions)), RSS: round((after.rss - before.rss) / float64(f.cfg.Sessions)),
	})
	if err := f.fresh(ctx, last, all); err != nil {
		return err
	}
	return f.dead(ctx, dying, []*member{first, last}, few)
}

// resting is how a node is when nothing happens.
type resting struct {
	online    int
	heap, rss float64 // bytes
}

// How long a node is given to come to rest: after its start; and to write what
// waits, and the engine to let go of what it keeps of its files for ten seconds.
const (
	settleStart = 2 * time.Second
	settleNodes = 20 * time.Second
)

// rested lets a node come to rest and measures it.
func (f *fleet) rested(ctx context.Context, m *member, after time.Duration) (r resting, err error) {
	f.bar.begin("coming to rest", 0)
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	s, err := m.order(ctx, Order{Do: DoRest})
	if err != nil {
		return r, err
	}
	rss, err := m.proc().rss()
	return resting{s.Online, float64(s.Heap), float64(rss) * 1024}, err
}

// electionTime is how long the engine is given to choose new leaders, and the
// others to write what a million openings left.
const electionTime = 25 * time.Second

// fresh kills a node and, when the others have got over it, starts it again: from its process' beginning until it
// takes calls, with everything that the others have.
func (f *fleet) fresh(ctx context.Context, m *member, all int) error {
	f.bar.begin("starting a node again", 0)
	m.kill()
	select {
	case <-time.After(electionTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	load := f.load()
	if err := m.start(ctx); err != nil {
		return err
	}
	row := NodesRow{Phase: PhaseMillion, Measure: measureFresh, Sessions: f.cfg.Sessions, Seconds: round(time.Since(load.at).Seconds())}
	f.since(load, &row)
	s, err := m.order(ctx, Order{Do: DoStand})
	if err != nil {
		return err
	}
	if s.Online < all {
		return fmt.Errorf("bench: the node that was started again takes calls, and knows %d of %d sessions", s.Online, all)
	}
	f.report(row)
	return nil
}

// dead kills a node: how long its sessions take to close at the others, from the
// first to the last, and when that was after the kill.
func (f *fleet) dead(ctx context.Context, dying *member, left []*member, few int) error {
	f.bar.begin("waiting for a dead node's sessions", 0)
	s, err := left[0].order(ctx, Order{Do: DoStand})
	if err != nil {
		return err
	}
	count := s.Online - few
	dying.kill()
	type result struct {
		s   Standing
		err error
	}
	results := make(chan result, len(left))
	for _, m := range left {
		go func() {
			s, err := m.order(ctx, Order{Do: DoAwait, Count: count})
			results <- result{s, err}
		}()
	}
	row := NodesRow{Phase: PhaseMillion, Measure: measureDead, Sessions: few}
	for range left {
		r := <-results
		if r.err != nil {
			err = r.err
			continue
		}
		row.Seconds = max(row.Seconds, round((r.s.Took-r.s.First)/1000))
		row.After = max(row.After, round(r.s.Took/1000))
	}
	if err != nil {
		return err
	}
	f.report(row)
	return nil
}
