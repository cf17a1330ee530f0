package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestNodesAgreeOnLastSeen(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		a.open(presence.Device{})
		wait(time.Second)
		heard := b.ear.heard() + d.ear.heard()
		c.end(a)
		release := c.mem.Hold() // the log says nothing for now
		last := presence.At(time.Now())
		wait(3 * time.Second)
		c.give(b, a, last.Add(-1500*time.Millisecond))
		wait(100 * time.Millisecond)
		c.give(d, a, last)
		wait(7 * time.Second)
		for _, n := range []*node{b, d} {
			if p := n.tr.Presence(bob); n.looks(bob) != "[] []" || p.LastSeen != last || p.LastSeenShown != last {
				t.Errorf("node %d: sees %s, last seen %v and %v, want %v", n.name, n.looks(bob), p.LastSeen.Time(), p.LastSeenShown.Time(), last.Time())
			}
		}
		release()
		wait(2 * time.Second)
		for _, n := range []*node{b, d} {
			if p := n.tr.Presence(bob); p.LastSeen != last {
				t.Errorf("node %d: the log made it last seen %v, want %v", n.name, p.LastSeen.Time(), last.Time())
			}
		}
		if f, _ := b.folded(bob); f.LastSeen != last {
			t.Errorf("the log has last seen %v, want %v", f.LastSeen.Time(), last.Time())
		}
		if got := b.ear.heard() + d.ear.heard() - heard; got != 2 {
			t.Errorf("%d changes were shown at two nodes, want one each", got)
		}
	})
}

func TestNodesThatDoNotAgreeSayTheEarliest(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		a.open(presence.Device{})
		wait(5 * time.Second)
		c.end(a)
		release := c.mem.Hold()
		defer release()
		last := presence.At(time.Now())
		wait(3 * time.Second)
		d.tr.Silent(a.number, last) // and no more
		c.give(b, a, last)
		wait(7 * time.Second)
		if p := b.tr.Presence(bob); b.looks(bob) != "[] []" || p.LastSeen != last.Add(-aliveDiffers) {
			t.Errorf("sees %s, last seen %v, want %v before %v", b.looks(bob), p.LastSeen.Time(), aliveDiffers, last.Time())
		}
		if d.looks(bob) != "[online] [online]" {
			t.Errorf("who does not know it is gone sees %s", d.looks(bob))
		}
	})
}

// TestWhoStartsAnewLearnsWhatIsGone: among rolling restarts nobody's grace begins
// again, nor does a lost node count as one that says goodbye.
func TestWhoStartsAnewLearnsWhatIsGone(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(map[bool]string{false: "left", true: "lost"}[killed], func(t *testing.T) {
			inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
				a, b, d := c.all[0], c.all[1], c.all[2]
				a.open(presence.Device{})
				wait(time.Second)
				grace := b.tr.cfg.RestartGrace
				if killed {
					grace = 9 * time.Second // 3 s until it is lost, and the grace of the app
				}
				began := time.Now()
				if killed {
					c.kill(a)
				} else {
					c.leave(a)
				}
				wait(4 * time.Second)
				c.leave(b)
				wait(time.Second)
				fresh := []*node{c.start(0), c.start(1)}
				wait(grace - time.Since(began) - 300*time.Millisecond)
				for _, n := range append(fresh, d) {
					if got := n.looks(bob); got != "[online] [online]" {
						t.Errorf("node %d sees %s within the grace", n.name, got)
					}
				}
				wait(time.Second)
				for _, n := range append(fresh, d) {
					if got := n.looks(bob); got != "[] []" {
						t.Errorf("node %d, incarnation %d, sees %s after the grace", n.name, n.number, got)
					}
				}
				wait(2 * time.Second)
				if f, facts := d.folded(bob); len(facts) != 2 || facts[1].Reason != presence.ReasonNodeLost {
					t.Errorf("the log has %+v, %+v", f, facts)
				}
			})
		})
	}
}

func FuzzGone(f *testing.F) {
	f.Add((&goneWord{incarnation: 3, alive: 17, waited: 3 * time.Second, kept: true}).append(nil))
	f.Add((&goneWord{incarnation: 1 << 40, waited: -1, guess: true}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseGone(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = list[i].append(again)
		}
		second, err := parseGone(again)
		if err != nil || len(second) != len(list) {
			t.Fatalf("read back: %v, %d of %d", err, len(second), len(list))
		}
		for i := range list {
			if list[i] != second[i] {
				t.Errorf("got %+v, want %+v", second[i], list[i])
			}
		}
	})
}
