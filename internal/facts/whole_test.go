package facts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What a follower was lent of the ring stays as it is when the ring goes on.
func TestRingLendsWhatStays(t *testing.T) {
	t.Parallel()
	tl := &tail{most: 4, first: 1, next: 1, grown: make(chan struct{})}
	var lent []told
	for n := uint64(1); n < 32; n++ {
		had := len(lent)
		tl.add(n, []*Event{{Position: Position{Sequence: n}, Fact: presence.Fact{User: user("bob")}}})
		if got := chosen(lent, &Params{App: "demo"}, Position{}); len(got) != had {
			t.Fatalf("got %d events of %d that were lent, once message %d was added", len(got), had, n)
		}
		var err error
		if lent, _, _, err = tl.take(End(tl.first - 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// The facts of one record come in one call, also to a follower who is behind:
// what an opening replaced stands just before it.
func TestRecordsComeWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{Ring: 1})
		defer g.close()
		for i := range handful - 5 {
			r := g.opened("bob", byte(i), 1)
			r.Session[1], r.Public[1] = byte(i>>8), byte(i>>8)
			g.append(t, r)
		}
		g.append(t, g.opened("carol", 1, 1), g.opened("carol", 2, 1), g.opened("carol", 3, 1))
		single := g.opened("carol", 4, 1)
		single.Policy = presence.Single
		g.append(t, single)
		g.append(t, g.closed("carol", 4, 1))
		ends := 0
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := g.r.Follow(ctx, Params{App: "demo"}, func(events []*Event, through Position) error {
			for i, e := range events {
				if e.Kind == presence.RecordOpened && len(e.Replaces) > 0 {
					if i < len(e.Replaces) {
						t.Errorf("%d facts of its record came with an opening that replaced %d sessions", i, len(e.Replaces))
					}
					ends++
				}
			}
			if through.Compare(End(uint64(g.sent))) >= 0 {
				return errDone
			}
			return nil
		})
		if err != errDone || ends != 1 {
			t.Errorf("got %d openings that replaced others, %v", ends, err)
		}
	})
}

// Whoever asks for snapshots again and again makes no base for each: they would
// push those out that others begin at.
func TestSnapshotsMakeFewBases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		ctx := context.Background()
		snapshot := func() {
			for i := range fresh + 1 {
				g.append(t, g.opened("alice", 1, uint32(i+1)))
			}
			if err := g.Advance(ctx, g.last(), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := g.r.Snapshot(ctx, "demo", nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			snapshot()
		}
		if got := ages(t, g); len(got) != 1 {
			t.Errorf("got %d bases of three snapshots in the same minute, want one", len(got))
		}
		<-time.After(keeperLooks)
		snapshot()
		if got := ages(t, g); len(got) != 2 {
			t.Errorf("a minute later: got %d bases, want another", len(got))
		}
	})
}

// What an erasure's own drops tell says which session closed, and nothing of
// whoever had it.
func TestErasureTellsNothingOfWhom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		r := g.opened("alice", 1, 1)
		r.Device = presence.Device{Platform: "ios", Product: "chat", Locale: "de", ID: "phone", Version: "3", Addr: "203.0.113.9:50431", Door: "live"}
		r.Status = &presence.Status{Text: presence.Value{Kind: presence.KindText, Text: "at the doctor's"}}
		g.append(t, r)
		dropped := g.closed("alice", 1, 1)
		dropped.Reason = presence.ReasonDropped
		g.append(t, dropped)
		g.append(t, presence.Record{Kind: presence.RecordErased, User: user("alice"), Time: g.now + 1})
		told, _ := g.collect(t, Params{App: "demo"}, 2)
		history, err := g.r.History(context.Background(), HistoryParams{User: user("alice")})
		if err != nil || len(told) != 2 || len(history.Events) != 2 {
			t.Fatalf("got %v and %v, %v, want closed and erased", saidAll(told), saidAll(history.Events), err)
		}
		for _, e := range append(told[:1:1], history.Events[1]) {
			s := &e.Session
			if s.Public != r.Public || s.Device != (presence.Device{Platform: "ios", Door: "live"}) || s.Status != nil {
				t.Errorf("it is told that %+v closed, with status %v", s, s.Status)
			}
		}
	})
}

// A page of a history holds no more than a page, however much happened.
func TestHistoryHoldsAPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(Config{})
		defer g.close()
		for i := range 500 {
			g.append(t, g.opened("alice", 1, uint32(i+1)), g.closed("alice", 1, uint32(i+1)))
		}
		all, _ := g.collect(t, Params{App: "demo"}, 1000)
		p := HistoryParams{User: user("alice"), Before: all[800].Position, Limit: 20}
		stretches, err := g.r.stretches(context.Background(), p.Before)
		if err != nil || len(stretches) != 1 {
			t.Fatalf("got %v, %v, want one stretch", stretches, err)
		}
		held, err := g.r.stretch(context.Background(), stretches[0], &p)
		if err != nil || len(held) != p.Limit+1 || held[p.Limit].Position != all[799].Position {
			t.Errorf("got %d events, %v, want the last %d before %v", len(held), err, p.Limit+1, p.Before)
		}
	})
}
