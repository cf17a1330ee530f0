package tracker

import (
	"context"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestARefusedOpeningAfterTheEnd: what is stored after its caller was refused, and the
// session has opened and ended at another node, is void: nobody has it open, not even
// for a moment, and no webhook is told of it. One that is so by the clocks' mistake may
// ask again.
func TestARefusedOpeningAfterTheEnd(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		owner, at, slow := c.all[0], c.all[1], c.all[2]
		ref, w := owner.open(presence.Device{})
		wait(20 * time.Second)
		owner.tr.LinkLost(ref, w)
		wait(10 * time.Second)
		slow.store.slow.Store(true)
		_, err := slow.connect(ref, nil)
		wantKind(t, "Connect at the node that cannot write", err, fault.LogUnavailable)
		wait(5 * time.Second)
		if _, err := at.connect(ref, nil); err != nil {
			t.Fatalf("Connect at another: %v", err)
		}
		wait(time.Second)
		if _, err := at.tr.Close(context.Background(), ref, presence.ReasonLogout); err != nil {
			t.Fatalf("Close: %v", err)
		}
		wait(time.Second)
		before := owner.ear.heard()
		slow.store.slow.Store(false)
		wait(10 * time.Second)
		if n := len(c.mem.Records()); n != 5 {
			t.Errorf("the log has %d records, want opened, closed, opened, closed and the late one", n)
		}
		if _, facts := at.folded(bob); len(facts) != 4 || facts[3].Reason != presence.ReasonLogout {
			t.Errorf("the log says %d things of the session: %+v", len(facts), facts)
		}
		for _, n := range c.all {
			if got := n.looks(bob); got != "[] []" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
		if n := owner.ear.heard() - before; n != 0 {
			t.Errorf("%d changes were shown after its end", n)
		}
	})
}

// TestAnOpeningThatIsVoidByTheClock: beside a node whose clock is ahead, and where the
// session was meanwhile, who waits is told to ask again, not that it is gone.
func TestAnOpeningThatIsVoidByTheClock(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		owner, ahead, slow := c.all[0], c.all[1], c.all[2]
		ref, w := owner.open(presence.Device{})
		wait(20 * time.Second)
		owner.tr.LinkLost(ref, w)
		wait(10 * time.Second)
		slow.store.slow.Store(true)
		answer := make(chan error, 1)
		go func() {
			_, err := slow.connect(ref, nil)
			answer <- err
		}()
		wait(time.Second)
		f, _ := owner.folded(bob)
		s := f.Session(ref.Session)
		opened := presence.Record{
			Kind: presence.RecordOpened, User: bob, Session: ref.Session, Public: s.Public, Revision: 1,
			Epoch: s.Epoch.Next(ahead.number()), Time: presence.At(time.Now().Add(time.Minute)), Reason: presence.ReasonOpened,
		}
		closed := opened
		closed.Kind, closed.Reason = presence.RecordClosed, presence.ReasonLinkLost
		if _, err := c.mem.Append(context.Background(), "ahead", []presence.Record{opened, closed}); err != nil {
			t.Fatal(err)
		}
		slow.store.slow.Store(false)
		wantKind(t, "Connect", <-answer, fault.NodeUnavailable)
	})
}
