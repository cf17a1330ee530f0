package tracker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestOneSessionIsSeenEverywhere(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, w := a.open(presence.Device{Platform: "ios", Door: "live"})
		wait(10 * time.Millisecond)
		for _, n := range c.all {
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
		if _, err := a.update(ref, presence.Status{Show: presence.Busy}); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		if b.looks(bob) != "[busy] [busy]" || d.looks(bob) != "[busy] [busy]" {
			t.Errorf("others see %s and %s", b.looks(bob), d.looks(bob))
		}
		if owner, ok := b.tr.OwnerOf(ref); !ok || owner != a.number {
			t.Errorf("OwnerOf: got %d, %v, want %d", owner, ok, a.number)
		}
		a.lists.set(ref.Session, "carol")
		heard := d.ear.heard()
		v, err := b.connect(ref, nil)
		if err != nil {
			t.Fatalf("Connect at another node: %v", err)
		}
		wait(10 * time.Millisecond)
		if got := w.ended(); len(got) != 1 || got[0].Cause != CauseReplaced {
			t.Errorf("the former link ended by %+v", got)
		}
		if a.ear.goneOf(ref.Session) != 1 {
			t.Error("the former owner's watch list was not dropped")
		}
		if d.ear.heard() != heard {
			t.Errorf("a third node was shown %d changes by a resume", d.ear.heard()-heard)
		}
		for _, n := range c.all {
			if owner, ok := n.tr.OwnerOf(ref); !ok || owner != b.number || n.looks(bob) != "[busy] [busy]" {
				t.Errorf("node %d: owner %d, sees %s", n.name, owner, n.looks(bob))
			}
		}
		if _, err := b.tr.Close(context.Background(), ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		for _, n := range c.all {
			if got := n.looks(bob); got != "[] []" {
				t.Errorf("node %d still sees %s", n.name, got)
			}
		}
		if len(v.ended()) != 1 {
			t.Errorf("the new link ended by %+v", v.ended())
		}
	})
}

func TestACreatedSessionOpensElsewhere(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref := a.make(presence.Device{Platform: "ios"})
		a.lists.set(ref.Session, "carol", "dave")
		at := func(n *node, maker uint64) (Connected, error) {
			return n.tr.Connect(context.Background(), ref, ConnectParams{Link: &wire{}, Addr: "192.0.2.1:1", Maker: maker})
		}
		got, err := at(b, a.number)
		if err != nil || got.Resumed || got.Unclean || !slices.Equal(got.Restored, []presence.UserID{"carol", "dave"}) {
			t.Fatalf("Connect: got %+v, %v", got, err)
		}
		wait(10 * time.Millisecond)
		for _, n := range c.all {
			if owner, _ := n.tr.OwnerOf(ref); owner != b.number || n.looks(bob) != "[online] [online]" {
				t.Errorf("node %d: owner %d, sees %s", n.name, owner, n.looks(bob))
			}
		}
		if got := a.tr.Count(app); got.Created != 0 {
			t.Errorf("its maker still counts it: %+v", got)
		}
		lost := a.make(presence.Device{Platform: "web"})
		c.kill(a)
		wait(4 * time.Second)
		_, err = b.tr.Connect(context.Background(), lost, ConnectParams{Link: &wire{}, Maker: a.number})
		wantKind(t, "a created session whose maker is gone", err, fault.SessionGone)
	})
}

func TestTwoRacingResumesOneWins(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, w := a.open(presence.Device{})
		wait(time.Second) // its watch list is noted
		a.tr.LinkLost(ref, w)
		c.kill(a)
		wait(4 * time.Second)
		heard := b.ear.heard() + d.ear.heard()
		release := c.mem.Hold()
		var errs [2]error
		var both sync.WaitGroup
		for i, n := range []*node{b, d} {
			both.Go(func() { _, errs[i] = n.connect(ref, nil) })
		}
		wait(8 * time.Second) // beyond the grace
		release()
		both.Wait()
		wait(10 * time.Millisecond)
		owner, _ := b.tr.OwnerOf(ref)
		other, _ := d.tr.OwnerOf(ref)
		if owner != other || owner != b.number && owner != d.number {
			t.Errorf("owners are %d and %d (%v)", owner, other, errs)
		}
		if errs[0] != nil && errs[1] != nil {
			t.Errorf("nobody won: %v", errs)
		}
		if got := b.ear.heard() + d.ear.heard(); got != heard {
			t.Errorf("%d changes were visible", got-heard)
		}
		_, facts := b.folded(bob)
		if len(facts) > 3 || facts[len(facts)-1].Kind != presence.RecordMoved {
			t.Errorf("the log has %+v", facts)
		}
	})
}

func TestALostNodesSessionsClose(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		a.open(presence.Device{})
		wait(time.Second)
		began := time.Now()
		c.kill(a)
		wait(2 * time.Second)
		if p := b.tr.Presence(bob); p.Stale == 0 || b.looks(bob) != "[online] [online]" {
			t.Errorf("a silent node's user: stale since %v, sees %s", p.Stale, b.looks(bob))
		}
		if p := b.tr.Presence(presence.User{App: app, ID: "nobody"}); p.Stale == 0 {
			t.Error("a user in no table is known not to be there although a node is silent")
		}
		wait(6500 * time.Millisecond)
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s within the grace", n.name, got)
			}
		}
		wait(time.Second)
		for _, n := range []*node{b, d} {
			p := n.tr.Presence(bob)
			if got := n.looks(bob); got != "[] []" || p.Sessions[0].True.Reason != presence.ReasonNodeLost {
				t.Errorf("node %d sees %s after %v", n.name, got, time.Since(began))
			}
			if p.LastSeen != presence.At(began) {
				t.Errorf("node %d: last seen %v, want %v", n.name, p.LastSeen.Time(), began)
			}
		}
		wait(2 * time.Second)
		f, facts := b.folded(bob)
		if len(facts) != 2 || facts[1].Reason != presence.ReasonNodeLost || f.LastSeen != presence.At(began) {
			t.Errorf("the log has %+v", facts)
		}
	})
}

// The node that died led the log, so that nobody can write for nine seconds, and
// the verdict comes late by six: its sessions close when they would have, but for
// those whose device is here already.
func TestAnElectionDelaysNoEnd(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		gone, _ := a.open(presence.Device{Platform: "ios"})
		back, _ := a.open(presence.Device{Platform: "android"})
		wait(time.Second)
		c.late = 6 * time.Second
		release := c.mem.Hold()
		began := time.Now()
		c.kill(a)
		// One device asks at once and gives up each time, before the log answers.
		ask := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := b.tr.Connect(ctx, back, ConnectParams{Link: &wire{}})
			return err
		}
		wait(time.Second)
		heard := d.ear.heard()
		wantKind(t, "without a log", ask(500*time.Millisecond), fault.LogUnavailable)
		wait(3 * time.Second)
		wantKind(t, "with a claim on its way", ask(500*time.Millisecond), fault.NodeUnavailable)
		wait(8900*time.Millisecond - time.Since(began))
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[online online] [online online]" {
				t.Errorf("node %d sees %s before the grace is over", n.name, got)
			}
		}
		wait(500 * time.Millisecond)
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s after the grace, with one device on its way back", n.name, got)
			}
		}
		release()
		wait(100 * time.Millisecond)
		if err := ask(time.Second); err != nil {
			t.Fatalf("Connect when there is a log: %v", err)
		}
		wait(30 * time.Second)
		for _, n := range []*node{b, d} {
			if owner, _ := n.tr.OwnerOf(back); owner != b.number || n.looks(bob) != "[online] [online]" {
				t.Errorf("node %d: owner %d, sees %s", n.name, owner, n.looks(bob))
			}
		}
		if got := d.ear.heard() - heard; got != 1 {
			t.Errorf("%d changes were visible, want the end of the other device only", got)
		}
		if f, _ := b.folded(bob); f.Session(gone.Session).Phase == presence.FoldOpen {
			t.Error("the log has the lost session open")
		}
	})
}

// A device that came to a survivor in vain has its grace from then, and no more.
func TestWhoAskedInVainHasItsGrace(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		began := time.Now()
		c.kill(a)
		wait(8 * time.Second)
		b.store.cut.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := b.tr.Connect(ctx, ref, ConnectParams{Link: &wire{}})
		wantKind(t, "what it watched cannot be read", err, fault.NodeUnavailable)
		b.store.cut.Store(false)
		wait(13900*time.Millisecond - time.Since(began))
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s within the grace", n.name, got)
			}
		}
		wait(500 * time.Millisecond)
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[] []" {
				t.Errorf("node %d sees %s after it", n.name, got)
			}
		}
	})
}

// A node dies while it takes a session over. The owner has waited for it beyond the
// grace; the device asks again and nobody has seen anything.
func TestATakerDies(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, w := a.open(presence.Device{})
		wait(time.Second)
		heard := a.ear.heard() + d.ear.heard()
		release := c.mem.Hold()
		a.tr.LinkLost(ref, w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.tr.Connect(ctx, ref, ConnectParams{Link: &wire{}})
		wantKind(t, "without a log", err, fault.LogUnavailable)
		c.kill(b)
		release()
		for _, n := range []*node{a, d} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := n.tr.Connect(ctx, ref, ConnectParams{Link: &wire{}}); err == nil {
				t.Fatal("two nodes could have it")
			}
		}
		wait(2 * time.Second)
		if _, err := d.connect(ref, nil); err != nil {
			t.Errorf("Connect when the owner does not wait any more: %v", err)
		}
		wait(10 * time.Second)
		if got := a.ear.heard() + d.ear.heard(); got != heard {
			t.Errorf("%d changes were visible", got-heard)
		}
	})
}

func TestAllNodesStartAnew(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a := c.all[0]
		back, _ := a.open(presence.Device{Platform: "ios"})
		a.lists.set(back.Session, "carol")
		a.tr.WatchesChanged(back)
		away, _ := a.open(presence.Device{Platform: "web"})
		for _, ref := range []Ref{back, away} {
			if _, err := a.update(ref, presence.Status{Show: presence.Busy}); err != nil {
				t.Fatal(err)
			}
		}
		wait(time.Second)
		for _, n := range slices.Clone(c.all) {
			c.kill(n)
		}
		wait(time.Minute) // longer than any grace
		var fresh []*node
		for i := range 3 {
			fresh = append(fresh, c.start(i))
		}
		wait(time.Second)
		for _, n := range fresh {
			if got := n.looks(bob); got != "[busy busy] [busy busy]" {
				t.Fatalf("node %d sees %s", n.name, got)
			}
		}
		got, err := fresh[1].tr.Connect(context.Background(), back, ConnectParams{Link: &wire{}})
		if err != nil || !got.Resumed || !got.Unclean || !slices.Equal(got.Restored, []presence.UserID{"carol"}) {
			t.Fatalf("Connect: got %+v, %v", got, err)
		}
		wait(27 * time.Second)
		if got := fresh[2].looks(bob); got != "[busy busy] [busy busy]" {
			t.Errorf("within the restart grace: %s", got)
		}
		wait(3 * time.Second)
		for _, n := range fresh {
			if got := n.looks(bob); got != "[busy] [busy]" {
				t.Errorf("node %d sees %s after it", n.name, got)
			}
		}
		f, facts := a.folded(bob)
		if last := facts[len(facts)-1]; last.Reason != presence.ReasonNodeLost || last.Session.ID != away.Session || f.LastSeen.Time().After(time.Now().Add(-80*time.Second)) {
			t.Errorf("the log ends by %+v, last seen %v", last, f.LastSeen.Time())
		}
	})
}

func TestARollingRestartShowsNothing(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		at := c.all[0]
		ref, _ := at.open(presence.Device{})
		wait(time.Second)
		for i := range 3 {
			n := c.all[i]
			heard := map[*node]int{}
			for _, o := range c.running() {
				heard[o] = o.ear.heard()
			}
			c.leave(n)
			wait(2 * time.Second)
			next := c.start(i)
			for at = n; at.dead || at == n; {
				at = c.running()[0]
			}
			if _, err := at.connect(ref, nil); err != nil {
				t.Fatalf("Connect after node %d left: %v", i, err)
			}
			wait(2 * time.Second)
			for o, calls := range heard {
				if o != n && o.ear.heard() != calls {
					t.Errorf("the restart of node %d showed %d changes at node %d", i, o.ear.heard()-calls, o.name)
				}
			}
			if next.ear.heard() != 0 || next.looks(bob) != "[online] [online]" {
				t.Errorf("the new node %d was shown %d changes, sees %s", i, next.ear.heard(), next.looks(bob))
			}
		}
	})
}

func TestAnIsolatedNodeIsStaleAndComesBack(t *testing.T) {
	for _, anew := range []bool{false, true} {
		t.Run(map[bool]string{false: "within the grace", true: "after it"}[anew], func(t *testing.T) {
			patient := func(c *Config) { c.Policies[app] = Policy{HeartbeatTimeout: time.Hour} }
			inNodes(t, 3, patient, func(t *testing.T, c *nodes) {
				a, b := c.all[0], c.all[1]
				carol := presence.User{App: app, ID: "carol"}
				ref, w := a.open(presence.Device{})
				made, err := b.tr.Make(context.Background(), MakeParams{User: carol})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.tr.Connect(context.Background(), made.Ref, ConnectParams{Link: &wire{}}); err != nil {
					t.Fatal(err)
				}
				wait(time.Second)
				heard := b.ear.heard()
				c.isolate(a)
				wait(5 * time.Second)
				if p := a.tr.Presence(carol); p.Stale == 0 || a.looks(carol) != "[online] [online]" {
					t.Errorf("the isolated node: stale since %v, sees %s", p.Stale, a.looks(carol))
				}
				if got := w.ended(); len(got) != 1 || got[0].Cause != CauseDraining || got[0].RetryAfter == 0 {
					t.Errorf("its link ended by %+v", got)
				}
				_, err = a.tr.Make(context.Background(), MakeParams{User: bob})
				wantKind(t, "Make at an isolated node", err, fault.NodeUnavailable)
				if anew {
					wait(time.Minute)
				}
				c.heal(a, anew)
				wait(time.Second)
				// The door has not hung up: the device could not connect elsewhere.
				for _, n := range c.all {
					if got := n.looks(bob); got != "[online] [online]" {
						t.Errorf("node %d sees %s", n.name, got)
					}
					if p := n.tr.Presence(carol); p.Stale != 0 {
						t.Errorf("node %d is stale since %v", n.name, p.Stale)
					}
				}
				want := 0
				if anew {
					want = 2 // closed, and open again
				}
				if got := b.ear.heard() - heard; got != want {
					t.Errorf("another node was shown %d changes, want %d", got, want)
				}
				if owner, _ := b.tr.OwnerOf(ref); owner != a.number {
					t.Errorf("the owner is %d, want %d", owner, a.number)
				}
			})
		})
	}
}

func TestServersSpeakToAnyNode(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		put := func(n *node, show presence.Show, ttl time.Duration) Put {
			t.Helper()
			p, err := n.tr.PutPresence(context.Background(), PutParams{User: bob, Name: "bot", Status: &presence.Status{Show: show}, TTL: ttl})
			if err != nil {
				t.Fatalf("PutPresence: %v", err)
			}
			wait(10 * time.Millisecond)
			return p
		}
		first := put(a, presence.Busy, time.Minute)
		again := put(b, presence.Away, time.Minute)
		if again.Opened || again.Public != first.Public || d.looks(bob) != "[away] [away]" {
			t.Errorf("a put at another node: %+v after %+v, sees %s", again, first, d.looks(bob))
		}
		wait(time.Second)
		heard := d.ear.heard()
		c.kill(a)
		wait(20 * time.Second) // nobody has to come back for it
		if d.ear.heard() != heard || d.looks(bob) != "[away] [away]" {
			t.Errorf("its node's death showed %d changes, sees %s", d.ear.heard()-heard, d.looks(bob))
		}
		put(d, presence.Busy, 30*time.Second)
		if b.looks(bob) != "[busy] [busy]" {
			t.Errorf("after a put at a survivor: %s", b.looks(bob))
		}
		was, err := b.tr.RemovePresence(context.Background(), bob, "bot")
		wait(10 * time.Millisecond)
		if !was || err != nil || d.looks(bob) != "[] []" {
			t.Errorf("RemovePresence at another node: %v, %v, sees %s", was, err, d.looks(bob))
		}
		put(b, presence.Busy, 5*time.Second)
		wait(6 * time.Second)
		if d.looks(bob) != "[] []" {
			t.Errorf("after its time: %s", d.looks(bob))
		}
	})
}

func TestDropAndEraseReachAllNodes(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, w := a.open(presence.Device{Platform: "ios"})
		b.open(presence.Device{Platform: "web"})
		created := a.make(presence.Device{Platform: "pc"})
		wait(time.Second)
		if n, err := d.tr.Drop(context.Background(), bob, nil); n != 3 || err != nil {
			t.Errorf("Drop: got %d, %v, want 3", n, err)
		}
		wait(10 * time.Millisecond)
		if got := w.ended(); len(got) != 1 || got[0].Reason != presence.ReasonDropped {
			t.Errorf("the link ended by %+v", got)
		}
		for _, one := range []Ref{ref, created} {
			_, err := d.tr.Connect(context.Background(), one, ConnectParams{Link: &wire{}, Maker: a.number})
			wantKind(t, "Connect of a dropped session", err, fault.SessionGone)
		}
		a.open(presence.Device{Platform: "ios"})
		wait(2 * time.Second)
		e, err := d.tr.Erase(context.Background(), bob)
		if e.Sessions != 1 || err != nil {
			t.Errorf("Erase: got %+v, %v", e, err)
		}
		wait(10 * time.Millisecond)
		for _, n := range c.all {
			if p := n.tr.Presence(bob); len(p.Sessions) != 0 || p.LastSeen != 0 {
				t.Errorf("node %d still has %+v", n.name, p)
			}
		}
		_ = c.mem.LoadNotes(context.Background(), 0, -1, func(_ uint64, message []byte) error {
			if _, list, _ := parseNotes(message); len(list) != 0 {
				t.Errorf("a note is left: %+v", list)
			}
			return nil
		})
	})
}

func TestSingleHoldsOverNodes(t *testing.T) {
	single := func(c *Config) { c.Policies[app] = Policy{MultiDevice: presence.Single} }
	inNodes(t, 3, single, func(t *testing.T, c *nodes) {
		var wires [3]*wire
		var refs [3]Ref
		var all sync.WaitGroup
		for i, n := range c.all {
			refs[i] = n.make(presence.Device{Platform: "ios"})
			all.Go(func() { wires[i], _ = n.connect(refs[i], nil) })
		}
		all.Wait()
		wait(10 * time.Millisecond)
		open := 0
		for i, n := range c.all {
			if len(wires[i].ended()) == 0 && n.phase(refs[i]) == presence.PhaseLive {
				open++
			}
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
		if open != 1 {
			t.Errorf("%d of three logins at once stayed", open)
		}
	})
}

func TestTheLogForgetsWhatAllHaveSaved(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		c.all[0].open(presence.Device{})
		wait(2 * time.Minute)
		through, err := c.mem.Load(context.Background(), func(int, uint64, []byte) error { return nil }, func([]byte) error { return nil })
		if through == 0 || err != nil {
			t.Errorf("the checkpoint is good through %d, %v", through, err)
		}
		c.kill(c.all[0])
		wait(10 * time.Minute)
		left := 0
		_ = c.mem.LoadNotes(context.Background(), 0, -1, func(incarnation uint64, _ []byte) error {
			if incarnation == c.all[0].number {
				left++
			}
			return nil
		})
		if left != 0 {
			t.Errorf("%d notes of a node that is gone for ten minutes are left", left)
		}
	})
}

func TestALookMakesACreatedSessionKnown(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref := a.make(presence.Device{Platform: "ios", Locale: "de"})
		if err := b.tr.Look(context.Background(), ref, a.number); err != nil {
			t.Fatalf("Look: %v", err)
		}
		device, err := b.tr.CheckResume(context.Background(), ref)
		if err != nil || device.Locale != "de" || !b.tr.Alive(ref) {
			t.Fatalf("CheckResume: got %+v, %v", device, err)
		}
		if got := b.looks(bob) + fmt.Sprint(b.tr.Count(app)); got != "[] []{0 0 0 0}" {
			t.Errorf("it shows %s", got)
		}
		c2, err := b.tr.Connect(context.Background(), ref, ConnectParams{Link: &wire{}, Maker: a.number})
		if err != nil || c2.Resumed {
			t.Fatalf("Connect: got %+v, %v", c2, err)
		}
		wait(10 * time.Millisecond)
		if got := c.all[2].looks(bob); got != "[online] [online]" {
			t.Errorf("a third node sees %s", got)
		}
		// One that is only looked at is forgotten again.
		other := a.make(presence.Device{Platform: "web"})
		if err := b.tr.Look(context.Background(), other, a.number); err != nil {
			t.Fatalf("Look: %v", err)
		}
		wait(takeLimit + time.Second)
		if b.tr.Alive(other) || b.ear.goneOf(other.Session) != 1 || !a.tr.Alive(other) {
			t.Errorf("after it: alive %v, gone %d times; at its maker %v", b.tr.Alive(other), b.ear.goneOf(other.Session), a.tr.Alive(other))
		}
		c.kill(a)
		wait(time.Second)
		wantKind(t, "a look at a session whose maker is silent", b.tr.Look(context.Background(), other, a.number), fault.NodeUnavailable)
		wait(4 * time.Second)
		wantKind(t, "a look at a session whose maker is gone", b.tr.Look(context.Background(), other, a.number), fault.SessionGone)
	})
}
