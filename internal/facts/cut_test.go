package facts

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// cutting is a store whose log is cut once, while a pass is about to read a message.
type cutting struct {
	*storetest.Memory
	at  uint64
	cut func()
}

func (c *cutting) Replay(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) (uint64, error) {
	return c.Memory.Replay(ctx, from, func(sequence uint64, records []presence.Record) error {
		if sequence == c.at && c.cut != nil {
			cut := c.cut
			c.cut = nil
			cut()
		}
		first, _, err := c.Ends(ctx)
		if err != nil {
			return err
		}
		if sequence < first {
			return store.ErrGap
		}
		return f(sequence, records)
	})
}

// base makes one at the end of the log.
func (g *rig) base(t tb) {
	t.Helper()
	if err := g.Advance(context.Background(), g.last(), 0); err != nil {
		t.Fatalf("Advance: %v", err)
	}
	if _, err := g.SaveBase(context.Background()); err != nil {
		t.Fatalf("SaveBase: %v", err)
	}
}

// A log that is cut while a follower catches up takes nothing from him but what the
// gap names: what was read before is given.
func TestCutWhileCatchingUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bases []uint64
		after Position
		at    uint64 // the cut comes when this is about to be read
		first uint64 // what is left
		given int
		gap   GapError
	}{
		{"while it is told", []uint64{5, 18}, End(5), 12, 15, 6, GapError{End(11), End(18)}},
		{"at the first that is to be told", []uint64{5, 18}, End(5), 6, 9, 0, GapError{End(5), End(18)}},
		{"while what was before is folded", []uint64{5, 18}, End(8), 7, 10, 0, GapError{End(8), End(18)}},
		{"while what was before is folded, with the only base", []uint64{5}, End(15), 7, 10, 0, GapError{End(15), End(20)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := &rig{Memory: storetest.NewMemory(), now: 1_700_000_000_000}
			for i := range 20 {
				g.append(t, g.opened("alice", byte(i), 1))
				if slices.Contains(c.bases, g.last()) {
					g.base(t)
				}
			}
			if err := g.Advance(t.Context(), g.last(), 0); err != nil {
				t.Fatal(err)
			}
			r := New(Config{Ring: 1, Store: &cutting{Memory: g.Memory, at: c.at, cut: func() { g.Forget(c.first) }}})
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer r.Stop(context.Background())
			var got []*Event
			through := c.after
			err := r.Follow(t.Context(), Params{App: "demo", After: c.after}, func(events []*Event, to Position) error {
				got, through = append(got, events...), to
				return nil
			})
			var gap *GapError
			if !errors.As(err, &gap) || *gap != c.gap {
				t.Fatalf("Follow: got %v, want %v", err, &c.gap)
			}
			if len(got) != c.given || through != gap.From {
				t.Errorf("got %d events through %v, want %d, and a gap from there", len(got), through, c.given)
			}
		})
	}
}
