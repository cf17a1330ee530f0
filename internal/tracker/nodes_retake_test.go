package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A session that is to be opened anew while a claim of it cannot be written is so
// once, whoever asked for it meanwhile and however often.
func TestASessionIsRetakenOnce(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a := c.all[0]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		release := c.mem.Hold()
		defer release()
		hidden := make(chan error, 1)
		go func() {
			_, err := a.update(ref, presence.Status{Invisible: true})
			hidden <- err
		}()
		wait(100 * time.Millisecond)
		for range 10 { // such as by closes of others that are read
			sh, s, err := a.tr.find(ref)
			if err != nil {
				t.Fatal(err)
			}
			a.tr.retake(s)
			sh.mu.Unlock()
			wait(300 * time.Millisecond)
		}
		release()
		if err := <-hidden; err != nil {
			t.Errorf("the hide: %v", err)
		}
		wait(5 * time.Second)
		moved := 0
		_, err := c.mem.Replay(t.Context(), 0, func(_ uint64, list []presence.Record) error {
			for i := range list {
				if list[i].Kind == presence.RecordMoved {
					moved++
				}
			}
			return nil
		})
		if err != nil || moved != 1 {
			t.Errorf("it was claimed %d times, want once (%v)", moved, err)
		}
		if got := c.all[1].looks(bob); got != "[] [online]" {
			t.Errorf("the other node sees %s", got)
		}
	})
}

// A link that is lost while its session is opened anew is not the session's any more:
// the grace begins.
func TestALinkIsLostWhileItsSessionIsRetaken(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, w := a.open(presence.Device{})
		wait(time.Second)
		release := c.mem.Hold()
		sh, s, err := a.tr.find(ref)
		if err != nil {
			t.Fatal(err)
		}
		a.tr.retake(s)
		sh.mu.Unlock()
		wait(100 * time.Millisecond)
		a.tr.LinkLost(ref, w)
		release()
		wait(defaults.Grace - time.Second)
		if got := b.looks(bob); got != "[online] [online]" {
			t.Errorf("within the grace the other node sees %s", got)
		}
		wait(2 * time.Second)
		if got := b.looks(bob); got != "[] []" {
			t.Errorf("after it the other node sees %s", got)
		}
	})
}

// A node that stood still reads that the others gave its sessions up before it has
// noticed. It opens nothing anew until it knows which of them are there.
func TestNothingIsRetakenBeforeItsNodeIsHere(t *testing.T) {
	inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, w := a.open(presence.Device{})
		wait(time.Second)
		a.stood.Store(true)
		sh, s, err := b.tr.find(ref)
		if err != nil {
			t.Fatal(err)
		}
		rec := s.record(presence.RecordClosed, presence.ReasonNodeLost, b.tr.now())
		b.tr.claim(sh, rec, func(error) func() { return nil })
		sh.mu.Unlock()
		wait(100 * time.Millisecond)
		a.tr.LinkLost(ref, w)
		a.stood.Store(false)
		a.tr.Isolated()
		wait(time.Second)
		for _, rec := range c.mem.Records() {
			if rec.Kind == presence.RecordMoved {
				t.Errorf("it was claimed: %+v", rec)
			}
		}
	})
}
