package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// TestVisit: a visitor sees the engines without becoming one of them, and takes a
// dead one out, after which its streams have their copies elsewhere.
func TestVisit(t *testing.T) {
	t.Parallel()
	cfgs := peers(t)
	var more []natsbus.Config
	for i, addr := range natsbustest.Addresses(t, 1) {
		p := *cfgs[0].Peers
		p.Name, p.Listen = fmt.Sprintf("node-%d", 4+i), addr
		more = append(more, natsbus.Config{Dir: t.TempDir(), Peers: &p})
	}
	all := startAll(t, cfgs)
	all = append(all, startAll(t, more)...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsbustest.Up)
	defer cancel()

	p := *cfgs[0].Peers
	p.Name = natsbus.VisitorName()
	visitor := startAll(t, []natsbus.Config{{Peers: &p, Visitor: true}})[0]
	var engines []natsbus.Engine
	natsbustest.Eventually(t, "four engines", func() (err error) {
		if engines, err = visitor.Engines(ctx); err == nil && len(engines) != 4 {
			err = fmt.Errorf("got %+v", engines)
		}
		return err
	})
	for _, e := range engines {
		if e.ID != natsbus.EngineID(e.Name) || !e.Running {
			t.Errorf("got %+v, want it running, and its id %s", e, natsbus.EngineID(e.Name))
		}
	}
	for i := range 6 {
		create(ctx, t, all[0], fmt.Sprint("S", i), fmt.Sprint("s", i))
		store(ctx, t, all[0], fmt.Sprint("s", i), "kept")
	}
	if err := all[2].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	natsbustest.Eventually(t, "node-3 is removed", func() error {
		engines, err := visitor.Engines(ctx)
		if err != nil {
			return err
		}
		for _, e := range engines {
			if e.Name == "node-3" && !e.Running {
				return visitor.RemoveEngine(ctx, e.ID)
			}
		}
		return fmt.Errorf("got %+v", engines)
	})
	natsbustest.Eventually(t, "all streams have three copies, none of them at node-3", func() error {
		if engines, err := visitor.Engines(ctx); err != nil || len(engines) != 3 {
			return fmt.Errorf("engines: %+v, %v", engines, err)
		}
		for i := range 6 {
			s, err := visitor.JetStream().Stream(ctx, fmt.Sprint("S", i))
			if err != nil {
				return err
			}
			c := s.CachedInfo().Cluster
			if len(c.Replicas) != 2 {
				return fmt.Errorf("S%d: %+v", i, c)
			}
			for _, r := range c.Replicas {
				if r.Name == "node-3" || !r.Current || r.Offline {
					return fmt.Errorf("S%d: %+v", i, r)
				}
			}
			if m, err := s.GetMsg(ctx, 1); err != nil || string(m.Data) != "kept" {
				return errors.Join(err, fmt.Errorf("S%d: %v", i, m))
			}
		}
		return nil
	})
}
