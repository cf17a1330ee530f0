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
		if owner, ok := b.tr.OwnerOf(ref); !ok || owner != a.number() {
			t.Errorf("OwnerOf: got %d, %v, want %d", owner, ok, a.number())
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
			if owner, ok := n.tr.OwnerOf(ref); !ok || owner != b.number() || n.looks(bob) != "[busy] [busy]" {
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
		got, err := at(b, a.number())
		if err != nil || got.Resumed || got.Unclean || !slices.Equal(got.Restored, []presence.UserID{"carol", "dave"}) {
			t.Fatalf("Connect: got %+v, %v", got, err)
		}
		wait(10 * time.Millisecond)
		for _, n := range c.all {
			if owner, _ := n.tr.OwnerOf(ref); owner != b.number() || n.looks(bob) != "[online] [online]" {
				t.Errorf("node %d: owner %d, sees %s", n.name, owner, n.looks(bob))
			}
		}
		if got := a.tr.Count(app); got.Created != 0 {
			t.Errorf("its maker still counts it: %+v", got)
		}
		lost := a.make(presence.Device{Platform: "web"})
		c.kill(a)
		wait(4 * time.Second)
		_, err = b.tr.Connect(context.Background(), lost, ConnectParams{Link: &wire{}, Maker: a.number()})
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
		if owner != other || owner != b.number() && owner != d.number() {
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
				if owner, _ := b.tr.OwnerOf(ref); owner != a.number() {
					t.Errorf("the owner is %d, want %d", owner, a.number())
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
			_, err := d.tr.Connect(context.Background(), one, ConnectParams{Link: &wire{}, Maker: a.number()})
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
		wait(6 * time.Minute)
		left := 0
		_ = c.mem.LoadNotes(context.Background(), 0, -1, func(incarnation uint64, _ []byte) error {
			if incarnation == c.all[0].number() {
				left++
			}
			return nil
		})
		if left != 0 {
			t.Errorf("%d notes of a node that is gone for six minutes are left", left)
		}
	})
}

func TestALookMakesACreatedSessionKnown(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref := a.make(presence.Device{Platform: "ios", Locale: "de"})
		if err := b.tr.Look(context.Background(), ref, a.number()); err != nil {
			t.Fatalf("Look: %v", err)
		}
		device, err := b.tr.CheckResume(context.Background(), ref)
		if err != nil || device.Locale != "de" || !b.tr.Alive(ref) {
			t.Fatalf("CheckResume: got %+v, %v", device, err)
		}
		if got := b.looks(bob) + fmt.Sprint(b.tr.Count(app)); got != "[] []{0 0 0 0}" {
			t.Errorf("it shows %s", got)
		}
		c2, err := b.tr.Connect(context.Background(), ref, ConnectParams{Link: &wire{}, Maker: a.number()})
		if err != nil || c2.Resumed {
			t.Fatalf("Connect: got %+v, %v", c2, err)
		}
		wait(10 * time.Millisecond)
		if got := c.all[2].looks(bob); got != "[online] [online]" {
			t.Errorf("a third node sees %s", got)
		}
		// One that is only looked at is forgotten again.
		other := a.make(presence.Device{Platform: "web"})
		if err := b.tr.Look(context.Background(), other, a.number()); err != nil {
			t.Fatalf("Look: %v", err)
		}
		wait(takeLimit + time.Second)
		if b.tr.Alive(other) || b.ear.goneOf(other.Session) != 1 || !a.tr.Alive(other) {
			t.Errorf("after it: alive %v, gone %d times; at its maker %v", b.tr.Alive(other), b.ear.goneOf(other.Session), a.tr.Alive(other))
		}
		c.kill(a)
		wait(time.Second)
		wantKind(t, "a look at a session whose maker is silent", b.tr.Look(context.Background(), other, a.number()), fault.NodeUnavailable)
		wait(4 * time.Second)
		wantKind(t, "a look at a session whose maker is gone", b.tr.Look(context.Background(), other, a.number()), fault.SessionGone)
	})
}
