package facts

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestFollowTellsWhatIsThereAndThenWhatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1), g.opened("bob", 2, 1))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var got []*Event
		done := make(chan error, 1)
		go func() {
			done <- g.r.Follow(ctx, Params{App: "demo"}, func(events []*Event, _ Position) error {
				got = append(got, events...)
				return nil
			})
		}()
		synctest.Wait()
		if len(got) != 2 {
			t.Fatalf("at first: got %d events, want 2", len(got))
		}
		g.append(t, g.closed("alice", 1, 1))
		synctest.Wait()
		if len(got) != 3 || got[2].Kind != presence.RecordClosed || got[2].Seq != 2 || got[2].After {
			t.Fatalf("then: got %v, want that alice closed, her second", saidAll(got))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the end: got %v, want the context's", err)
		}
		// From anywhere the rest is the same.
		want := saidAll(got)
		for i, e := range got[:2] {
			rest, _ := g.collect(t, Params{App: "demo", After: e.Position}, 2-i)
			if diff := cmp.Diff(want[i+1:], saidAll(rest)); diff != "" {
				t.Errorf("after event %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

// A follower that hangs holds nobody up, and is told all when he goes on.
func TestSlowFollowerHoldsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{Ring: 10})
		defer g.close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		goOn := make(chan struct{})
		var slow, quick []*Event
		follow := func(to *[]*Event, hang bool) {
			_ = g.r.Follow(ctx, Params{App: "demo"}, func(events []*Event, _ Position) error {
				if *to = append(*to, events...); hang {
					<-goOn
				}
				return nil
			})
		}
		go follow(&slow, true)
		go follow(&quick, false)
		g.append(t, g.opened("alice", 1, 1))
		synctest.Wait()
		for i := range 200 {
			g.append(t, g.opened("bob", byte(i), 1))
		}
		synctest.Wait()
		if len(quick) != 201 || len(slow) != 1 {
			t.Fatalf("while one hangs: got %d and %d events, want 201 and 1", len(quick), len(slow))
		}
		close(goOn)
		synctest.Wait()
		if diff := cmp.Diff(saidAll(quick), saidAll(slow)); diff != "" {
			t.Errorf("the slow one was told (-want +got):\n%s", diff)
		}
		// Both are at the tail again.
		g.append(t, g.closed("alice", 1, 1))
		synctest.Wait()
		if len(quick) != 202 || len(slow) != 202 {
			t.Errorf("then: got %d and %d events, want 202 of both", len(quick), len(slow))
		}
	})
}

// A follower so slow that the log was cut behind his back is told of the gap.
func TestSlowFollowerIsToldOfTheGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{Ring: 1})
		defer g.close()
		goOn := make(chan struct{})
		ended := make(chan error, 1)
		g.append(t, g.opened("alice", 1, 1))
		go func() {
			ended <- g.r.Follow(context.Background(), Params{App: "demo"}, func([]*Event, Position) error {
				<-goOn
				return nil
			})
		}()
		synctest.Wait()
		for i := range 50 {
			g.append(t, g.opened("bob", byte(i), 1))
		}
		if err := g.Advance(context.Background(), g.last(), 0); err != nil {
			t.Fatal(err)
		}
		base, err := g.SaveBase(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		g.Forget(g.last())
		synctest.Wait()
		close(goOn)
		var gap *GapError
		if err := <-ended; !errors.As(err, &gap) || gap.From != End(1) || gap.To != End(base.Position) {
			t.Errorf("got %v, want a gap from %v to %v", err, End(1), End(base.Position))
		}
	})
}

func TestPositionOfAnotherLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1))
		var beyond *BeyondError
		p := Position{Sequence: 7}
		if err := g.r.Follow(t.Context(), Params{App: "demo", After: p}, nil); !errors.As(err, &beyond) || beyond.End != End(1) {
			t.Errorf("Follow: got %v, want BeyondError with the end", err)
		}
		if _, err := g.r.Changes(t.Context(), ChangesParams{App: "demo", After: p}); !errors.As(err, &beyond) {
			t.Errorf("Changes: got %v, want BeyondError", err)
		}
		if _, err := g.r.Snapshot(t.Context(), "demo", &p); !errors.As(err, &beyond) {
			t.Errorf("Snapshot: got %v, want BeyondError", err)
		}
	})
}

// What was claimed before an erasure is not told once that is stored, also not
// to who was in the middle of it; that he is gone is.
func TestErasedWhileSomebodyLags(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		for i := range 3000 {
			g.append(t, g.opened("alice", 1, uint32(i+1)))
			g.append(t, g.opened("bob", 2, uint32(i+1)))
		}
		goOn := make(chan struct{})
		var got []*Event
		go func() {
			_ = g.r.Follow(t.Context(), Params{App: "demo"}, func(events []*Event, _ Position) error {
				if got == nil {
					got = append(got, events...)
					<-goOn
					return nil
				}
				got = append(got, events...)
				return nil
			})
		}()
		synctest.Wait()
		before := len(got)
		g.now += 120_000
		g.append(t, presence.Record{Kind: presence.RecordErased, User: user("alice"), Time: g.now})
		close(goOn)
		synctest.Wait()
		erased, bobs := 0, 0
		for i, e := range got {
			switch {
			case e.User.ID == "bob":
				bobs++
			case i >= before && e.Kind == presence.RecordOpened:
				t.Fatalf("told after the erasure: %s", said(e))
			case e.Kind == presence.RecordErased:
				erased++
			}
		}
		if erased != 1 || bobs < 3000 {
			t.Errorf("got %d erasures and %d facts of bob, want 1 and 3000 or more", erased, bobs)
		}
	})
}

func TestChangesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		began := time.Now()
		c, err := g.r.Changes(t.Context(), ChangesParams{App: "demo", Wait: 20 * time.Second})
		if took := time.Since(began); err != nil || len(c.Events) != 0 || c.More || took != 20*time.Second {
			t.Errorf("nothing happens: got %+v, %v after %v, want none after 20s", c, err, took)
		}
		time.AfterFunc(5*time.Second, func() { g.append(t, g.opened("alice", 1, 1)) })
		began = time.Now()
		c, err = g.r.Changes(t.Context(), ChangesParams{App: "demo", After: c.Through, Wait: 20 * time.Second})
		if took := time.Since(began); err != nil || len(c.Events) != 1 || took != 5*time.Second {
			t.Errorf("something happens: got %+v, %v after %v, want it after 5s", c, err, took)
		}
		// Another app's events end no wait.
		r := g.opened("alice", 1, 1)
		r.User.App = "other"
		time.AfterFunc(5*time.Second, func() { g.append(t, r) })
		began = time.Now()
		c, err = g.r.Changes(t.Context(), ChangesParams{App: "demo", After: c.Through, Wait: 20 * time.Second})
		if took := time.Since(began); err != nil || len(c.Events) != 0 || took != 20*time.Second || c.Through != End(2) {
			t.Errorf("another app: got %+v, %v after %v, want none after 20s, through 2", c, err, took)
		}
	})
}

// The fold is held only while somebody follows, and a while after.
func TestTailEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		g.append(t, g.opened("alice", 1, 1))
		g.collect(t, Params{App: "demo"}, 1)
		running := func() bool {
			g.r.mu.Lock()
			defer g.r.mu.Unlock()
			return g.r.tail != nil
		}
		<-time.After(defaultLinger - time.Second)
		g.collect(t, Params{App: "demo"}, 1)
		<-time.After(defaultLinger - time.Second)
		if !running() {
			t.Error("the tail ended although somebody followed lately")
		}
		<-time.After(2 * time.Second)
		if running() {
			t.Error("the tail goes on although nobody follows")
		}
		g.collect(t, Params{App: "demo"}, 1)
	})
}

func TestPositionText(t *testing.T) {
	t.Parallel()
	for _, p := range []Position{{}, {1, 0, 0}, {7, 255, 3}, End(0), End(9), {1<<64 - 1, 1<<32 - 1, 0}} {
		if got, err := ParsePosition(p.String()); got != p || err != nil {
			t.Errorf("%v: got %v, %v, want it back", p, got, err)
		}
	}
	for _, s := range []string{"", "x", "1.2", "1.2.3.4", "01", "+1", "1.2.-3", "1.4294967296.0", "18446744073709551616", "1.4294967295.4294967295", " 1"} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}
