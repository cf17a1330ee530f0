package tracker

import (
	"context"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestWhoMayHaveComeElsewhereIsStale: while a node is not heard, whoever is not
// shown online may have come to it, and staleness tells nobody who is invisible from
// one who left.
func TestWhoMayHaveComeElsewhereIsStale(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, _ := a.open(presence.Device{})
		wait(10 * time.Millisecond)
		stale := func() presence.Time {
			since, unknown := b.tr.Presence(bob).Staleness()
			if unknown {
				t.Error("nothing is known of him")
			}
			return since
		}
		since := presence.At(time.Now())
		b.tr.Silent(d.number(), since)
		if got := stale(); got != 0 {
			t.Errorf("online at a node that is heard: stale since %v", got)
		}
		a.turn(ref, true, "secret")
		wait(10 * time.Millisecond)
		if got := stale(); got != since {
			t.Errorf("invisible: stale since %v, want %v", got, since)
		}
		if _, err := a.tr.Close(context.Background(), ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		if got := stale(); got != since {
			t.Errorf("left: stale since %v, want %v", got, since)
		}
		b.tr.Returned(d.number())
		if got := stale(); got != since {
			t.Errorf("what was told meanwhile is missing still: stale since %v, want %v", got, since)
		}
		b.tr.Caught(d.number())
		if got := stale(); got != 0 {
			t.Errorf("nothing is missing: stale since %v", got)
		}
	})
}
