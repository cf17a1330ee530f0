package tracker

import (
	"context"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestAServersOldWordIsNotTaken: what a node reads as it goes on after it stood still
// overwrites nothing that the server has said at another node since.
func TestAServersOldWordIsNotTaken(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		put := func(n *node, show presence.Show) error {
			_, err := n.tr.PutPresence(context.Background(), PutParams{User: bob, Name: "bot", Status: &presence.Status{Show: show}, TTL: time.Hour})
			return err
		}
		if err := put(b, presence.Busy); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		a.stood.Store(true)
		wantKind(t, "PutPresence", put(a, presence.Away), fault.NodeUnavailable)
		_, err := a.tr.RemovePresence(context.Background(), bob, "bot")
		wantKind(t, "RemovePresence", err, fault.NodeUnavailable)
		_, err = a.tr.Drop(context.Background(), bob, nil)
		wantKind(t, "Drop", err, fault.NodeUnavailable)
		_, err = a.tr.Erase(context.Background(), bob)
		wantKind(t, "Erase", err, fault.NodeUnavailable)
		wantKind(t, "Takes", a.tr.Takes(), fault.NodeUnavailable)
		wait(time.Second)
		if got := b.looks(bob); got != "[busy] [busy]" {
			t.Errorf("others see %s", got)
		}
		a.stood.Store(false)
		if err := put(a, presence.Away); err != nil || a.tr.Takes() != nil || b.tr.Takes() != nil {
			t.Errorf("PutPresence at a node that is here: %v", err)
		}
		wait(time.Second)
		if got := b.looks(bob); got != "[away] [away]" {
			t.Errorf("others see %s", got)
		}
	})
}
