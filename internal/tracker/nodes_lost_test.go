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

// What becomes of the sessions of a node that is lost, or starts anew.

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

// Whose sessions end with a node is looked for before their grace is over, and what
// becomes of it until then counts; it is forgotten when the node is heard again.
func TestALostNodesUsersAreForeseen(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		foreseen := func(n *node) (names []presence.User) {
			n.tr.peers.mu.Lock()
			defer n.tr.peers.mu.Unlock()
			for _, some := range n.tr.peers.origins[a.number()].going {
				names = append(names, some...)
			}
			return names
		}
		a.open(presence.Device{Platform: "ios"})
		wait(time.Second)
		c.isolate(a)
		wait(8800 * time.Millisecond)
		for _, n := range []*node{b, d} {
			if got := foreseen(n); !slices.Equal(got, []presence.User{bob}) {
				t.Errorf("node %d foresees the end of %v, want bob's", n.name, got)
			}
		}
		c.heal(a, false)
		wait(400 * time.Millisecond)
		if got := foreseen(b); len(got) > 0 || b.looks(bob) != "[online] [online]" {
			t.Errorf("back: node %d foresees the end of %v, sees %s", b.name, got, b.looks(bob))
		}
		ref, _ := a.open(presence.Device{Platform: "android"})
		wait(time.Second)
		c.kill(a)
		wait(8800 * time.Millisecond)
		if _, err := b.back(ref); err != nil {
			t.Fatal(err)
		}
		wait(400 * time.Millisecond)
		for _, n := range []*node{b, d} {
			if got := n.looks(bob); got != "[online] [online]" {
				t.Errorf("node %d sees %s, want the session that was taken over", n.name, got)
			}
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
			if owner, _ := n.tr.OwnerOf(back); owner != b.number() || n.looks(bob) != "[online] [online]" {
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

// Devices of a dead node that all come to another one in the same moment make few reads
// of its notes, and each reads only once.
func TestACrowdThatComesBackAsksForFewNotes(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		var refs []Ref
		for i := range 300 {
			u := presence.User{App: bob.App, ID: presence.UserID(fmt.Sprint("one-", i))}
			m, err := a.tr.Make(t.Context(), MakeParams{User: u})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.connect(m.Ref, nil); err != nil {
				t.Fatal(err)
			}
			refs = append(refs, m.Ref)
		}
		wait(2 * time.Second)
		c.kill(a)
		wait(7 * time.Second)
		b.store.most.Store(0)
		b.store.dawdles.Store(true)
		var back sync.WaitGroup
		for _, ref := range refs {
			back.Go(func() {
				if _, err := b.connect(ref, nil); err != nil {
					t.Errorf("%v: %v", ref, err)
				}
			})
		}
		back.Wait()
		if most := b.store.most.Load(); most == 0 || most > listsAtOnce {
			t.Errorf("%d reads at once, want some, and at most %d", most, listsAtOnce)
		}
	})
}

// A session is logged out at another node while its own is taken for lost: when that one
// comes back with the device still connected, it ends, for everybody.
func TestALogoutWhileItsNodeIsCutOff(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, w := a.open(presence.Device{})
		wait(time.Second)
		c.isolate(a)
		wait(20 * time.Second)
		if got := b.looks(bob); got != "[] []" {
			t.Fatalf("before: b sees %s", got)
		}
		if _, err := b.tr.Close(t.Context(), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		c.heal(a, true)
		wait(20 * time.Second)
		for _, n := range []*node{a, b, d} {
			if got := n.looks(bob); got != "[] []" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
		if f, _ := b.folded(bob); f.Session(ref.Session).Phase == presence.FoldOpen {
			t.Error("the log has it open")
		}
		if len(w.ended()) == 0 {
			t.Error("its link stays")
		}
	})
}
