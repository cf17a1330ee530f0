package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// many are n items with numbers as texts.
func many(publisher string, n int) []mailbox.Item {
	items := make([]mailbox.Item, n)
	for i := range items {
		items[i] = item(publisher, fmt.Sprint(i))
	}
	return items
}

func (r *rig) size(what string, want int) {
	r.t.Helper()
	synctest.Wait()
	if got := r.Size(alice, "p"); got != want {
		r.t.Errorf("%s: got %d messages in the queue, want %d", what, got, want)
	}
}

// Every connection that stands gets a message once; it leaves when all have
// written it, or one and the others had their second.
func TestTwoConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		a, b := r.attach(alice), r.attach(alice)
		r.put([]mailbox.Item{item("p", "1")}, 1)
		want(t, "one", a.take(t), "p:1")
		a.Wrote()
		r.size("the other has not written", 1)
		want(t, "the other", b.take(t), "p:1")
		b.Wrote()
		r.size("both have", 0)

		r.put([]mailbox.Item{item("p", "2")}, 1)
		want(t, "one", a.take(t), "p:2")
		a.Wrote()
		<-time.After(999 * time.Millisecond)
		r.size("within the second", 1)
		<-time.After(time.Millisecond)
		r.size("after it", 0)
		want(t, "the slow one still gets it", b.take(t), "p:2")
		b.Wrote()

		r.put([]mailbox.Item{item("p", "3")}, 1)
		want(t, "one", a.take(t), "p:3")
		<-time.After(time.Minute)
		r.size("nobody has written", 1)
		a.Wrote() // late
		r.size("one has, long after", 0)
		b.take(t)
		b.Wrote()

		r.put([]mailbox.Item{item("p", "4")}, 1)
		want(t, "one", a.take(t), "p:4")
		a.Wrote()
		b.Close() // it never took it
		r.size("the other has gone", 0)
		r.put([]mailbox.Item{item("p", "5")}, 1)
		a.Close()
		r.size("nobody is left", 1)
		a, b = r.attach(alice), r.attach(alice)
		want(t, "one that came", a.take(t), "p:5")
		want(t, "another that came", b.take(t), "p:5")
		a.Close()
		b.Wrote()
		r.size("one of them died", 0)
		b.Close()
		b.Close()
		b.Wrote()
		want(t, "one that ended", b.take(t))
		if s := r.Stats(); s.Takers != 0 || s.Messages != 0 {
			t.Errorf("Stats: got %+v, want nothing left", s)
		}
	})
}

// A connection that has no room is told so, once others have written what it has
// not got; until then what is too much for it waits in the mailbox.
func TestSlowTakers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		for _, p := range []string{"p", "q", "r"} {
			r.put(many(p, mailbox.Capacity))
		}
		slow, quick := r.attach(alice), r.attach(alice)
		if got := len(quick.take(t)); got != 3*mailbox.Capacity {
			t.Errorf("got %d messages, want all of three queues", got)
		}
		<-time.After(time.Minute)
		r.size("nobody has written", mailbox.Capacity)
		quick.Wrote()
		synctest.Wait()
		if list, _, err := slow.Take(nil, 1); !errors.Is(err, mailbox.ErrSlow) || len(list) != 0 {
			t.Errorf("what it had no room for is gone: got %d messages, %v, want ErrSlow", len(list), err)
		}
		slow.Close()
		again := r.attach(alice)
		want(t, "back", again.take(t))
		again.Close()
		r.put([]mailbox.Item{item("p", "new")}, 1)
		want(t, "the quick one goes on", quick.take(t), "p:new")
		quick.Close()
	})
}

// The order of each publisher is kept, and messages that come while older ones are
// taken come after them.
func TestOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		l := &line{}
		var got []string
		r.put(many("p", 50))
		l.Taker = r.Attach(context.Background(), alice, func() {})
		for i := range 40 {
			list, _, err := l.Take(nil, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				got = append(got, m.Publisher+m.Text)
			}
			l.Wrote()
			if i < 30 {
				r.put([]mailbox.Item{item("p", fmt.Sprint(50+i))})
			}
		}
		l.Close()
		if len(got) != 80 {
			t.Fatalf("got %d messages, want 80", len(got))
		}
		for i, s := range got {
			if s != fmt.Sprint("p", i) {
				t.Errorf("message %d: got %q", i, s)
			}
		}
	})
}

// What was put while nobody was there, and did not fit into memory, is read back.
func TestColdMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: storetest.NewMemory(), text: 1}
		r.start()
		defer r.stop()
		r.put(many("p", 30))
		r.put(many("q", 30))
		if s := r.Stats(); s.Text > 1 || s.Messages != 60 {
			t.Errorf("Stats: got %+v, want 60 messages and no text", s)
		}
		for _, when := range []string{"at once", "after a start"} {
			l := r.attach(alice)
			got := l.take(t)
			if len(got) != 60 || got[0] != "p:0" || got[59] != "q:29" {
				t.Errorf("%s: got %d messages, want all 60", when, len(got))
			}
			if _, _, reads := r.store.MailEntries(); reads == 0 {
				t.Errorf("%s: nothing was read back", when)
			}
			r.put([]mailbox.Item{item("r", "new")})
			synctest.Wait()
			want(t, when+": on arrival", l.take(t), "r:new")
			l.Close()
			if err := r.Purge(context.Background(), alice, "r"); err != nil {
				t.Errorf("Purge: got %v, want no error", err)
			}
			r.reopen()
		}
	})
}

// No more is kept for users who have nothing and nobody.
func TestNothingIsKeptOfNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		for i := range 100 {
			user := presence.User{App: "demo", ID: presence.UserID(fmt.Sprint("u", i))}
			if _, err := r.Put(context.Background(), []mailbox.Item{{User: user, Text: "x", TTL: time.Minute}}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				l := r.attach(user)
				l.take(t)
				l.Wrote()
				l.Close()
			}
		}
		<-time.After(2 * time.Minute)
		if n := r.Boxes(); n != 0 {
			t.Errorf("%d mailboxes are left, want none", n)
		}
		if entries, _, _ := r.store.MailEntries(); entries != 1 {
			t.Errorf("%d entries are left, want the last", entries)
		}
	})
}

// What one connection wrote in time is out of its queue, but a slower one that was
// given it is not told any more once it is revoked.
func TestRevokedWhileGiven(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"purge", "erase"} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.put([]mailbox.Item{item("p", "a")}, 1)
			r.put([]mailbox.Item{item("q", "b")}, 1)
			slow, quick := r.attach(alice), r.attach(alice)
			want(t, "quick", quick.take(t), "p:a", "q:b")
			quick.Wrote()
			<-time.After(2 * time.Second)
			r.size("handed over", 0)
			var err error
			left := []string{"q:b"}
			if way == "purge" {
				err = r.Purge(context.Background(), alice, "p")
			} else {
				err, left = r.Erase(context.Background(), alice), nil
			}
			if err != nil {
				t.Error(err)
			}
			want(t, "slow, after "+way, slow.take(t), left...)
			slow.Close()
			quick.Close()
		})
	}
}
