package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestTimesRiseWhereClocksDiffer: a session's times rise where it goes over to a node
// whose clock is behind, and all nodes know one last seen.
func TestTimesRiseWhereClocksDiffer(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ahead := presence.At(time.Now().Add(2 * time.Minute))
		a.tr.latest.Store(int64(ahead))
		ref, _ := a.open(presence.Device{})
		a.turn(ref, false, "here")
		wait(time.Second)
		if _, err := b.connect(ref, nil); err != nil {
			t.Fatalf("connect: %v", err)
		}
		for _, hidden := range []bool{true, false} {
			wait(time.Second)
			b.turn(ref, hidden, "there")
			wait(time.Second)
			for _, n := range c.running() {
				if p := n.tr.Presence(bob); p.LastSeenShown != ahead {
					t.Errorf("node %d: hidden %v: last seen %v, want %v", n.name, hidden, p.LastSeenShown.Time(), ahead.Time())
				}
			}
		}
		if at, err := b.tr.Close(t.Context(), ref, presence.ReasonLeft); err != nil || at != ahead {
			t.Errorf("closed at %v, %v, want %v", at.Time(), err, ahead.Time())
		}
		wait(time.Second)
		for _, n := range c.running() {
			if p := n.tr.Presence(bob); p.LastSeen != ahead || p.LastSeenShown != ahead {
				t.Errorf("node %d: last seen %v and %v, want %v", n.name, p.LastSeen.Time(), p.LastSeenShown.Time(), ahead.Time())
			}
		}
		_, facts := b.folded(bob)
		for _, f := range facts {
			if f.Time < ahead {
				t.Errorf("%v is told of %v, want no earlier than %v", f.Kind, f.Time.Time(), ahead.Time())
			}
		}
	})
}

// TestTimeStandsStillWhereTheClockIsSetBack: what a node says is dated no earlier than
// what it said before.
func TestTimeStandsStillWhereTheClockIsSetBack(t *testing.T) {
	inNodes(t, 1, nil, func(t *testing.T, c *nodes) {
		a := c.all[0]
		before := a.tr.now()
		if now := presence.At(time.Now()); before != now {
			t.Fatalf("now is %v, want %v", before.Time(), now.Time())
		}
		ahead := before.Add(time.Minute)
		a.tr.latest.Store(int64(ahead)) // as if it had been said, and the clock set back since
		wait(59 * time.Second)
		if now := a.tr.now(); now != ahead {
			t.Errorf("a clock that was set back says %v, want %v", now.Time(), ahead.Time())
		}
		wait(2 * time.Second)
		if now := a.tr.now(); now != ahead.Add(time.Second) {
			t.Errorf("a second after it caught up it says %v, want %v", now.Time(), ahead.Add(time.Second).Time())
		}
	})
}
