package tracker

import (
	"slices"
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
		seen := ahead
		same := func(what string, shown bool) {
			t.Helper()
			wait(time.Second)
			p := b.tr.Presence(bob)
			if p.LastSeenShown <= seen != shown || p.LastSeenShown > ahead.Add(time.Second) {
				t.Errorf("%s: last seen %v, after %v", what, p.LastSeenShown.Time(), seen.Time())
			}
			seen = p.LastSeenShown
			for _, n := range c.running() {
				if p := n.tr.Presence(bob); p.LastSeenShown != seen {
					t.Errorf("%s: node %d: last seen %v, another has %v", what, n.name, p.LastSeenShown.Time(), seen.Time())
				}
			}
		}
		b.turn(ref, true, "there")
		same("hidden", false)
		b.turn(ref, false, "there")
		same("shown", true)
		at, err := b.tr.Close(t.Context(), ref, presence.ReasonLeft)
		if same("closed", false); err != nil || at != seen {
			t.Errorf("closed at %v, %v, want %v", at.Time(), err, seen.Time())
		}
		_, facts := b.folded(bob)
		facts = slices.DeleteFunc(facts, func(f presence.Fact) bool { return f.Kind == presence.RecordMoved }) // nobody is told
		for i := range facts {
			if i > 0 && facts[i].Time <= facts[i-1].Time {
				t.Errorf("%v is told of %v after %v of %v", facts[i].Kind, facts[i].Time.Time(), facts[i-1].Kind, facts[i-1].Time.Time())
			}
		}
		if len(facts) != 4 {
			t.Errorf("got %d facts, want an opening, a hide, a show and a close", len(facts))
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
