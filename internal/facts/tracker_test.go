package facts

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// deaf is a listener and a watch list that nobody uses.
type deaf struct{}

func (deaf) Changed(*presence.Presence)                           {}
func (deaf) Gone(presence.SessionID)                              {}
func (deaf) Watches(presence.SessionID) ([]presence.UserID, bool) { return nil, false }

// node is a tracker on a store, until stop.
func node(t *testing.T, mem *storetest.Memory) (tr *tracker.Tracker, stop func()) {
	t.Helper()
	incarnation, err := mem.Next(context.Background(), "incarnation")
	if err != nil {
		t.Fatal(err)
	}
	w := wheel.New(nil)
	w.Start()
	tr = tracker.New(tracker.Config{
		Policies: map[presence.AppID]tracker.Policy{"demo": {}}, Log: mem, Checkpoints: mem,
		Incarnation: incarnation, Wheel: w, Logger: slog.New(slog.DiscardHandler),
	})
	tr.Listen(deaf{}, deaf{})
	if err := tr.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	tr.Ready()
	return tr, func() {
		tr.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining} })
		if err := tr.Stop(context.Background()); err != nil {
			t.Errorf("Stop of the tracker: %v", err)
		}
		w.Stop()
	}
}

// busy opens, changes and closes presences of a few users from many sides for
// about so long.
func busy(tr *tracker.Tracker, side int, rnd *rand.Rand, long time.Duration) {
	for until := time.Now().Add(long); time.Now().Before(until); {
		u := user("user-" + strconv.Itoa(rnd.IntN(40)))
		name := strconv.Itoa(side % 3)
		switch rnd.IntN(4) {
		case 0:
			_, _ = tr.RemovePresence(context.Background(), u, name)
		default:
			_, _ = tr.PutPresence(context.Background(), tracker.PutParams{
				User: u, Name: name, Device: presence.Device{Platform: "web"}, TTL: time.Hour,
				Status: &presence.Status{Show: presence.Show(rnd.IntN(2)), Invisible: rnd.IntN(4) == 0},
			})
		}
		<-time.After(time.Duration(1+rnd.IntN(200)) * time.Millisecond)
	}
}

// Bases that are made while real trackers write their checkpoints and restart
// tell the same as the log from its beginning.
func TestBasesOfARealTracker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := storetest.NewMemory()
		for run := range 2 {
			tr, stop := node(t, mem)
			var sides sync.WaitGroup
			for side := range 8 {
				sides.Go(func() { busy(tr, side, rand.New(rand.NewPCG(uint64(run), uint64(side))), 2*time.Minute) })
			}
			for range 20 {
				<-time.After(time.Duration(1+rand.IntN(12_000)) * time.Millisecond)
				_, _ = mem.SaveBase(context.Background()) // the first may come before any checkpoint
			}
			sides.Wait()
			stop()
		}
		g := &rig{Memory: mem}
		g.open(Config{Ring: 1})
		defer g.close()
		all := everything(t, g)
		bases, err := mem.Bases(context.Background())
		if err != nil || len(bases) < 15 || len(all) < 1000 {
			t.Fatalf("got %d bases and %d events, %v, want many", len(bases), len(all), err)
		}
		for i := 0; i < len(bases); i += 2 { // each takes a while
			b := bases[i]
			first, _ := slices.BinarySearchFunc(all, End(b.Position), func(e *Event, p Position) int { return e.Position.Compare(p) })
			for _, after := range []Position{End(b.Position), all[min(first+rand.IntN(50), len(all)-1)].Position} {
				n, _ := slices.BinarySearchFunc(all, after, func(e *Event, p Position) int { return e.Position.Compare(p) })
				if n < len(all) && all[n].Position == after {
					n++
				}
				want := all[n:min(n+200, len(all))]
				got, _, _, err := g.r.page(t.Context(), request{t, &Params{App: "demo", After: after}, after, max(len(want), 1), false})
				if diff := cmp.Diff(saidAll(want), saidAll(got)); diff != "" || err != nil {
					t.Fatalf("base %+v, behind %v: %v (-want +got):\n%s", b, after, err, diff)
				}
			}
		}
	})
}

// everything folds the log from its beginning, without any base.
func everything(t *testing.T, g *rig) (events []*Event) {
	t.Helper()
	p := &pass{r: g.r, fold: newFold(), next: 1}
	if _, err := g.Replay(t.Context(), 0, func(sequence uint64, records []presence.Record) error {
		more, err := p.message(sequence, records)
		events = append(events, more...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return events
}
