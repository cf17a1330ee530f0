package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// ages lists how old bases are, in whole hours.
func ages(t *testing.T, s store.Bases) (hours []int) {
	t.Helper()
	all, err := s.Bases(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		hours = append(hours, int(time.Since(b.At.Time()).Hours()))
	}
	return hours
}

// A base by the hour for a day, and by the day for 30 days: while 33 days go by
// with a record every half hour.
func TestKeeperKeepsHoursAndDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &rig{Memory: storetest.NewMemory()}
		k := NewKeeper(KeeperConfig{Store: g})
		if err := k.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		defer k.Stop(context.Background())
		<-time.After(10 * time.Minute)
		if got := ages(t, g); len(got) != 0 {
			t.Fatalf("without a checkpoint: got %d bases, want none", len(got))
		}
		n := 0
		for day := range 33 {
			for range 24 * 2 {
				n++
				g.append(t, presence.Record{Kind: presence.RecordOpened, User: user("alice"), Epoch: presence.Epoch{Counter: uint32(n)}})
				if err := g.Advance(context.Background(), g.last(), 0); err != nil {
					t.Fatal(err)
				}
				<-time.After(30 * time.Minute)
			}
			got := ages(t, g)
			var lately, before int
			for _, h := range got {
				if h < 24 {
					lately++
				} else {
					before++
				}
			}
			if lately < 23 || lately > 26 || before < min(day, 29)-1 || before > min(day, 30)+1 {
				t.Fatalf("after day %d: got %d of the last day and %d before, of ages %v", day+1, lately, before, got)
			}
			if oldest := slices.Max(got); oldest > 31*24 || day >= 30 && oldest < 29*24 {
				t.Fatalf("after day %d: the oldest is %d hours old", day+1, oldest)
			}
		}
	})
}

// copying is a store whose copies take a while.
type copying struct {
	*storetest.Memory
	takes time.Duration
}

func (c copying) SaveBase(ctx context.Context) (store.Base, error) {
	<-time.After(c.takes)
	return c.Memory.SaveBase(ctx)
}

// Where a lot happens, a start finds a base of the last minutes, at a cost that
// is bounded: few more bases are kept, and seldomer made if that takes long.
func TestKeeperKeepsMinutes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		messages      int // in five minutes
		takes, oldest time.Duration
	}{
		"busy":            {manyMessages * 5 / 4, 0, recentEvery + keeperLooks},
		"slow to copy":    {manyMessages * 5 / 4, 20 * time.Second, copyShare*20*time.Second + keeperLooks},
		"hardly anything": {manyMessages / 20, 0, baseEvery + keeperLooks},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &rig{Memory: storetest.NewMemory()}
				k := NewKeeper(KeeperConfig{Store: copying{g.Memory, c.takes}})
				k.Start(context.Background())
				defer k.Stop(context.Background())
				g.append(t, presence.Record{Kind: presence.RecordOpened, User: user("alice"), Epoch: presence.Epoch{Counter: 1}})
				var worst time.Duration
				for range int(baseEvery/recentEvery) + 2 {
					for range c.messages / 10 {
						g.append(t, presence.Record{Kind: presence.RecordHidden, User: user("alice"), Epoch: presence.Epoch{Counter: 1}})
					}
					if err := g.Advance(context.Background(), g.last(), 0); err != nil {
						t.Fatal(err)
					}
					for range 10 {
						<-time.After(recentEvery / 10)
						for range c.messages / 10 {
							g.append(t, presence.Record{Kind: presence.RecordHidden, User: user("alice"), Epoch: presence.Epoch{Counter: 1}})
						}
						if all, _ := g.Bases(context.Background()); len(all) > 0 {
							worst = max(worst, time.Since(all[len(all)-1].At.Time()))
						}
					}
				}
				if worst > c.oldest || worst < c.oldest-2*keeperLooks {
					t.Errorf("the newest base was %v old, want about %v", worst, c.oldest)
				}
				if got := ages(t, g); len(got) > 7 {
					t.Errorf("there are %d bases, of ages %v", len(got), got)
				}
			})
		})
	}
}

func (g *rig) last() uint64 {
	_, next, _ := g.Ends(context.Background())
	return next - 1
}

// The first base is there soon after the start, and nothing is made of nothing.
func TestKeeperBeginsSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1))
		if err := g.Advance(context.Background(), 1, 0); err != nil {
			t.Fatal(err)
		}
		k := NewKeeper(KeeperConfig{Store: g})
		k.Start(context.Background())
		k.Start(context.Background())
		<-time.After(firstLook + time.Second)
		if got := ages(t, g); len(got) != 1 {
			t.Errorf("soon: got %d bases, want one", len(got))
		}
		<-time.After(5 * time.Hour)
		if got := ages(t, g); len(got) != 1 {
			t.Errorf("nothing came since: got %d bases, want one", len(got))
		}
		k.Stop(context.Background())
		k.Stop(context.Background())
		k.Start(context.Background())
	})
}

// When the log is cut again and again, the newest base is never left behind.
func TestKeeperRunsAheadOfTheCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		k := NewKeeper(KeeperConfig{Store: g})
		k.Start(context.Background())
		defer k.Stop(context.Background())
		for i := range 600 {
			g.append(t, g.opened("alice", 1, uint32(i+1)))
			if err := g.Advance(context.Background(), g.last(), 0); err != nil {
				t.Fatal(err)
			}
			if g.last() > 100 {
				g.Forget(g.last() - 95) // holds 95 to 100 messages
			}
			<-time.After(20 * time.Second)
			if _, err := g.r.baseAt(context.Background(), End(g.last())); err != nil {
				t.Fatalf("after message %d: no base to begin at: %v", g.last(), err)
			}
			all, _ := g.Bases(context.Background())
			if i > 100 && (len(all) == 0 || all[len(all)-1].Position+40 < g.last()) {
				t.Fatalf("after message %d: bases %v, want one of the last 40", g.last(), all)
			}
		}
	})
}

// failing is a store whose bases cannot be saved for a while.
type failing struct {
	*storetest.Memory
	fail *atomic.Bool
}

func (f failing) SaveBase(ctx context.Context) (store.Base, error) {
	if f.fail.Load() {
		return store.Base{}, fmt.Errorf("%w: disk full", store.ErrRefused)
	}
	return f.Memory.SaveBase(ctx)
}

func TestKeeperTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1))
		if err := g.Advance(context.Background(), 1, 0); err != nil {
			t.Fatal(err)
		}
		var fail atomic.Bool
		fail.Store(true)
		k := NewKeeper(KeeperConfig{Store: failing{g.Memory, &fail}})
		k.Start(context.Background())
		defer k.Stop(context.Background())
		<-time.After(time.Hour)
		if err := k.look(context.Background()); !errors.Is(err, store.ErrRefused) {
			t.Errorf("while it fails: got %v, want the reason", err)
		}
		fail.Store(false)
		<-time.After(2 * time.Minute)
		if got := ages(t, g); len(got) != 1 {
			t.Errorf("afterwards: got %d bases, want one", len(got))
		}
	})
}

// A clock that was set back does not keep bases from being made: the newest is as far
// from now as if it were old.
func TestKeeperAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	g := newRig(Config{})
	defer g.close()
	for i := range 3 {
		g.append(t, g.opened("alice", byte(i), 1))
	}
	k := NewKeeper(KeeperConfig{Store: g.Memory})
	for ahead, want := range map[time.Duration]bool{-2 * time.Hour: true, -time.Minute: false, time.Minute: false, 2 * time.Hour: true} {
		newest := store.Base{Position: 1, From: 2, At: presence.At(time.Now().Add(ahead))}
		if due, err := k.due(t.Context(), []store.Base{newest}); due != want || err != nil {
			t.Errorf("newest base %v ahead of the clock: got due %v, %v, want %v", ahead, due, err, want)
		}
	}
}
