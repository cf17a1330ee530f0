package mailbox_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// disk is a store that takes its time for every entry.
type disk struct{ *storetest.Memory }

func (d disk) AppendMail(ctx context.Context, after uint64, entry []byte) (uint64, error) {
	<-time.After(10 * time.Millisecond)
	return d.Memory.AppendMail(ctx, after, entry)
}

// Who puts without a pause does not keep the stream from being cut.
func TestCutUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := storetest.NewMemory()
		memory.LimitMail(1 << 20)
		m, err := mailbox.New(mailbox.Config{Store: disk{memory}})
		if err == nil {
			err = m.Start(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 2000 {
					if _, err := m.Put(context.Background(), []mailbox.Item{item("p", strings.Repeat("x", 300))}); err != nil {
						t.Errorf("Put: got %v (%+v), want no error: 100 messages live", err, m.Stats())
						return
					}
				}
			})
		}
		wg.Wait()
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What comes in between two looks at the stream does not fill it so that nothing
// can be written anew: a message that waits for long stands before all that has gone.
func TestBurstLeavesRoom(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		r.store.LimitMail(200_000)
		bob := presence.User{App: "demo", ID: "bob"}
		if _, err := r.Put(context.Background(), []mailbox.Item{{User: bob, Publisher: "p", Text: "for ever"}}); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if _, err := r.Put(context.Background(), many("p", mailbox.Capacity)); err != nil {
				t.Fatalf("call %d: got %v (%+v), want no error: 101 messages live", i, err, r.Stats())
			}
		}
		if n := r.Size(bob, "p"); n != 1 {
			t.Errorf("bob has %d messages, want 1", n)
		}
	})
}

// A connection that does not take keeps the texts of its messages, not the
// entries that they were read back from.
func TestGivenTextsAreSmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: storetest.NewMemory(), text: 1}
		r.start()
		defer r.stop()
		items := make([]mailbox.Item, mailbox.MaxItems)
		for i := range items {
			items[i] = item("p", strings.Repeat("x", 500))
			if i > 0 {
				items[i].User.ID = "bob"
			}
		}
		r.put(items)
		l := r.attach(alice)
		defer l.Close()
		if n := l.Held(); n == 0 || n > 2000 {
			t.Errorf("a message of 500 characters keeps %d bytes", n)
		}
	})
}
