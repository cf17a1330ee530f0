package tracker

import (
	"context"
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
