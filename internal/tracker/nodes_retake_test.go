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
