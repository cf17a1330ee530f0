package mailbox_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestWhatAServerPutLongAgo is not put: neither what comes to a node that stood still,
// nor what waited there while it did.
func TestWhatAServerPutLongAgo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := fault.New(fault.NodeUnavailable, "it stood still")
		var stood atomic.Bool
		r := &rig{t: t, store: storetest.NewMemory()}
		m, err := mailbox.New(mailbox.Config{Store: r.store, Takes: func() error {
			if stood.Load() {
				return late
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.Mailboxes = m
		release := r.store.HoldMail()
		var answers [2]error
		for i := range answers { // the first is with the store, the second waits behind it
			go func() {
				_, answers[i] = m.Put(context.Background(), []mailbox.Item{item("p", "hello")})
			}()
			synctest.Wait()
		}
		stood.Store(true)
		if _, err := m.Put(context.Background(), []mailbox.Item{item("p", "late")}); !errors.Is(err, late) {
			t.Errorf("Put at a node that stood still: got %v, want %v", err, late)
		}
		release()
		synctest.Wait()
		if err := answers[0]; err != nil {
			t.Errorf("what was with the store: %v", err)
		}
		if err := answers[1]; !errors.Is(err, late) {
			t.Errorf("what waited: got %v, want %v", err, late)
		}
		r.size("p", 1)
		stood.Store(false)
		r.put([]mailbox.Item{item("p", "now")}, 2)
		r.stop()
	})
}
