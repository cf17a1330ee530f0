package mailbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// meeting is several nodes on one store; loses reports whether a word is lost.
func meeting(t *testing.T, count int, text int64, loses func() bool) []*rig {
	store := storetest.NewMemory()
	nodes := make([]*rig, count)
	for i := range nodes {
		nodes[i] = &rig{t: t, store: store}
		m, err := mailbox.New(mailbox.Config{
			Store: store, TextBytes: text, Mine: func() bool { return i == 0 },
			Tell: func(sequence uint64, raw []byte) {
				for j, other := range nodes {
					if j != i && !loses() {
						other.Stored(sequence, slices.Clone(raw))
					}
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i].Mailboxes = m
	}
	for _, n := range nodes {
		if err := n.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func never() bool { return false }

// What is put at one node is told by all connections, wherever they are, and leaves
// its queue everywhere when one of them has written it.
func TestTakersAtOtherNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := meeting(t, 3, 0, never)
		b, c := nodes[1].attach(alice), nodes[2].attach(alice)
		nodes[0].put(many("p", 3), 1, 2, 3)
		synctest.Wait()
		for i, l := range []*line{b, c} {
			if got := l.take(t); len(got) != 3 {
				t.Errorf("connection %d was told %v, want 3 messages", i, got)
			}
		}
		b.Wrote()
		<-time.After(2 * time.Second)
		for _, n := range nodes {
			n.size("one has written", 0)
		}
		c.Wrote()
		nodes[2].put(many("p", 2), 1, 2)
		synctest.Wait()
		if got := c.take(t); len(got) != 2 {
			t.Errorf("after others had written: told %v, want 2 messages", got)
		}
		c.Close()
		b.Close()
		for _, n := range nodes {
			n.stop()
		}
	})
}

// A connection whose messages others have written before it had room for them is
// told that it is too slow.
func TestOutrunByAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := meeting(t, 2, 0, never)
		slow, quick := nodes[0].attach(alice), nodes[1].attach(alice)
		for round := range 6 {
			items := many(fmt.Sprint(round), 100)
			if _, err := nodes[0].Put(context.Background(), items); err != nil {
				t.Fatal(err)
			}
			for synctest.Wait(); ; synctest.Wait() {
				if list, _, err := quick.Take(nil, 50); err != nil || len(list) == 0 {
					break
				}
				quick.Wrote()
			}
			<-time.After(2 * time.Second)
		}
		if _, _, err := slow.Take(nil, 1); err != mailbox.ErrSlow {
			t.Errorf("got %v, want ErrSlow", err)
		}
		slow.Close()
		quick.Close()
		nodes[0].stop()
		nodes[1].stop()
	})
}

// A node that was not told that messages were written anew, and what stood in front
// of that was cut, gives them all the same to who comes.
func TestMovedUnheard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var deaf atomic.Bool
		nodes := meeting(t, 2, 1, deaf.Load)
		nodes[0].store.LimitMail(40_000)
		nodes[0].put(many("p", 3), 1, 2, 3)
		synctest.Wait()
		deaf.Store(true)
		crowd(t, nodes[0])
		l := nodes[1].attach(alice)
		<-time.After(time.Second)
		if got := l.take(t); len(got) != 3 {
			t.Errorf("told %v, want 3 messages", got)
		}
		l.Close()
		for _, n := range nodes {
			n.stop()
		}
	})
}

// crowd makes a node write anew what lives.
func crowd(t *testing.T, r *rig) {
	t.Helper()
	for r.Stats().Moved == 0 {
		others := many("q", 50)
		for i := range others {
			others[i].User = of("bob")
		}
		if _, err := r.Put(context.Background(), others); err != nil {
			t.Fatal(err)
		}
		if err := r.Purge(context.Background(), of("bob"), "q"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
}

// A message whose time is over at one node, and not yet in the queue of another,
// holds none of the others up there.
func TestStaleAtOneNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var deaf atomic.Bool
		nodes := meeting(t, 2, 1, deaf.Load)
		nodes[0].store.LimitMail(40_000)
		items := many("p", 3)
		items[1].TTL = time.Second
		nodes[0].put(items, 1, 2, 3)
		<-time.After(900 * time.Millisecond)
		deaf.Store(true)
		nodes[1].put(many("p", 1), 4)
		deaf.Store(false)
		<-time.After(600 * time.Millisecond)
		crowd(t, nodes[0]) // it reads that late: the second has left there
		l := nodes[1].attach(alice)
		if got := l.take(t); len(got) != 3 {
			t.Errorf("told %v, want 3 messages", got)
		}
		l.Close()
		for _, n := range nodes {
			n.stop()
		}
	})
}

// Whatever happens at whichever node, with words between them lost: sizes are those
// of the model, at once where it is put and at all nodes soon, and one node cuts.
func TestSeveralNodes(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			loses := func() bool { return false }
			if rapid.Bool().Draw(rt, "loses") {
				n := 0
				loses = func() bool { n++; return n%3 != 0 }
			}
			text := rapid.SampledFrom([]int64{1, 2000, 1 << 20}).Draw(rt, "text")
			nodes := meeting(t, 3, text, loses)
			nodes[0].store.LimitMail(rapid.SampledFrom([]int64{40_000, 64 << 20}).Draw(rt, "limit"))
			w := &walk{rt: rt, model: model{queues: map[queueName][]modelled{}}}
			for range rapid.IntRange(1, 25).Draw(rt, "steps") {
				w.rig = nodes[rapid.IntRange(0, 2).Draw(rt, "node")]
				switch rapid.IntRange(0, 6).Draw(rt, "what") {
				default:
					w.putSome(w.Mailboxes)
				case 4:
					w.drain(w.user())
				case 5:
					u := w.user()
					if err := w.Erase(context.Background(), of(u)); err != nil && fault.KindOf(err) != fault.LogUnavailable {
						t.Errorf("Erase: got %v", err)
					}
					w.model.take(u)
				case 6:
					<-time.After(rapid.SampledFrom([]time.Duration{time.Second, 12 * time.Second}).Draw(rt, "pass"))
				}
			}
			<-time.After(12 * time.Second) // all have heard, or read
			for _, n := range nodes {
				w.rig = n
				for _, u := range walkers {
					for _, p := range []string{"", "p"} {
						if got, want := n.Size(of(u), p), len(w.model.alive(queueName{u, p}, time.Now())); got != want {
							t.Errorf("queue of %s and %q: got %d messages, want %d", u, p, got, want)
						}
					}
				}
			}
			for _, n := range nodes {
				n.stop()
			}
		})
	})
}
