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
		d.tr.Silent(a.number(), last) // and no more
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

// TestASecondVerdictIsAgreedOnToo: what was agreed on after one counts no more when
// the next says that the node lived longer.
func TestASecondVerdictIsAgreedOnToo(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		a.open(presence.Device{})
		wait(time.Second)
		c.end(a)
		release := c.mem.Hold()
		defer release()
		last := presence.At(time.Now())
		wait(3 * time.Second)
		for _, n := range []*node{b, d} {
			c.give(n, a, last.Add(-1500*time.Millisecond))
		}
		wait(3 * time.Second)
		c.give(b, a, last)
		wait(4 * time.Second)
		for _, n := range []*node{b, d} {
			if p := n.tr.Presence(bob); n.looks(bob) != "[] []" || p.LastSeen != last {
				t.Errorf("node %d: sees %s, last seen %v, want %v", n.name, n.looks(bob), p.LastSeen.Time(), last.Time())
			}
		}
	})
}

// TestAVerdictAfterAGuess: the grace of a node that was only guessed to be gone
// begins with the verdict.
func TestAVerdictAfterAGuess(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		b, p := c.all[1], c.all[1].tr.peers
		p.mu.Lock()
		o := p.origin(77)
		o.over, o.kept, o.guess, o.agreed = max(b.wheel.Now(), 1), true, true, true
		p.mu.Unlock()
		wait(5 * time.Second)
		b.tr.Lost(77, presence.At(time.Now()), presence.At(time.Now()))
		p.mu.Lock()
		defer p.mu.Unlock()
		if since := b.wheel.Now() - o.over; since > 100*time.Millisecond || o.kept || o.guess || o.agreed {
			t.Errorf("got %+v, which began %v ago, want a verdict of now", *o, since)
		}
	})
}

// TestWhoStartsKnowsOfAGoodbye: what a node reads at its start of one that said goodbye
// before is not old, once the others have said so.
func TestWhoStartsKnowsOfAGoodbye(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		a.open(presence.Device{})
		wait(2 * time.Second)
		c.leave(a)
		fresh := c.start(3)
		wait(2 * time.Second)
		for _, n := range []*node{b, fresh} {
			if p := n.tr.Presence(bob); n.looks(bob) != "[online] [online]" || p.Stale != 0 {
				t.Errorf("node %d: sees %s, stale since %v, want him waited for", n.name, n.looks(bob), p.Stale)
			}
		}
	})
}

// TestTheTimeOfAGoodbyeIsItsSenders: who hears it later knows no later last seen.
func TestTheTimeOfAGoodbyeIsItsSenders(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		a.open(presence.Device{})
		wait(time.Second)
		c.end(a)
		release := c.mem.Hold()
		defer release()
		c.mu.Lock()
		a.left = true
		c.mu.Unlock()
		at := presence.At(time.Now())
		wait(300 * time.Millisecond)
		b.tr.Left(a.number(), at)
		wait(700 * time.Millisecond)
		d.tr.Left(a.number(), at)
		wait(b.tr.cfg.RestartGrace + time.Second)
		for _, n := range []*node{b, d} {
			if p := n.tr.Presence(bob); n.looks(bob) != "[] []" || p.LastSeen != at {
				t.Errorf("node %d: sees %s, last seen %v, want %v", n.name, n.looks(bob), p.LastSeen.Time(), at.Time())
			}
		}
	})
}

// TestWhoCannotAnswerIsAskedSeldom: a node that is heard and does not answer is not
// asked twenty times a second for as long as that lasts, and soon enough after it.
func TestWhoCannotAnswerIsAskedSeldom(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		asked, mute := 0, true
		c.mu.Lock()
		c.mute = func(method string) bool {
			if method == methodGone {
				asked++
			}
			return method == methodGone && mute
		}
		c.mu.Unlock()
		a.open(presence.Device{})
		wait(time.Second)
		c.kill(a)
		wait(time.Minute)
		c.mu.Lock()
		if asked < 20 || asked > 100 {
			t.Errorf("two nodes asked one another %d times in a minute, want 20 to 100", asked)
		}
		asked, mute = 0, false
		c.mu.Unlock()
		wait(agreeSeldom + time.Second)
		for _, n := range []*node{b, d} {
			p := n.tr.peers
			p.mu.Lock()
			if o := p.origins[a.number()]; o == nil || !o.agreed {
				t.Errorf("node %d: the other answers again, and they do not agree", n.name)
			}
			p.mu.Unlock()
		}
		wait(time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		if asked > 2 {
			t.Errorf("asked %d times after all, want once each", asked)
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
						t.Errorf("node %d, incarnation %d, sees %s after the grace", n.name, n.number(), got)
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
