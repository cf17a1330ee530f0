package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice = presence.User{App: "demo", ID: "alice"}

// rig is a node's mailboxes under a fake clock.
type rig struct {
	*mailbox.Mailboxes
	t     testing.TB
	store *storetest.Memory
	text  int64
}

// inBubble runs f with mailboxes of their own.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: storetest.NewMemory()}
		r.start()
		f(t, r)
		r.stop()
	})
}

func (r *rig) start() {
	r.t.Helper()
	m, err := mailbox.New(mailbox.Config{Store: r.store, TextBytes: r.text})
	if err == nil {
		err = m.Start(context.Background())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.Mailboxes = m
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.Stop(context.Background()); err != nil {
		r.t.Errorf("Stop: got %v, want no error", err)
	}
}

// reopen starts anew on the same store.
func (r *rig) reopen() {
	r.t.Helper()
	r.stop()
	r.store = r.store.Reopen()
	r.start()
}

// item is a message for alice that lives for the default time.
func item(publisher, text string) mailbox.Item {
	return mailbox.Item{User: alice, Publisher: publisher, Text: text, TTL: mailbox.DefaultTTL}
}

// put puts items, and wants their queues' sizes.
func (r *rig) put(items []mailbox.Item, sizes ...int) {
	r.t.Helper()
	receipts, err := r.Put(context.Background(), items)
	if err != nil {
		r.t.Errorf("Put: got %v, want no error", err)
		return
	}
	for i, got := range receipts {
		if got.ID == "" || i < len(sizes) && got.Size != sizes[i] {
			r.t.Errorf("item %d of %d: got %+v, want size %d and an id", i, len(items), got, sizes[i])
		}
	}
}

// line is a connection of a test.
type line struct {
	*mailbox.Taker
	mu    sync.Mutex
	woken int
}

func (r *rig) attach(user presence.User) *line {
	l := &line{}
	l.Taker = r.Attach(context.Background(), user, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.woken++
	})
	return l
}

// take takes all there is and returns the texts, with the publisher before each.
func (l *line) take(t testing.TB) []string {
	t.Helper()
	var all []string
	for {
		list, more, err := l.Take(nil, 7)
		if err != nil {
			t.Errorf("Take: got %v, want no error", err)
		}
		for _, m := range list {
			all = append(all, m.Publisher+":"+m.Text)
		}
		if !more {
			return all
		}
	}
}

func want(t testing.TB, what string, got []string, texts ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(texts) {
		t.Errorf("%s: got %q, want %q", what, got, texts)
	}
}

func TestQueuesCountAndHandOver(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		r.put([]mailbox.Item{item("p", "1"), item("q", "2"), item("p", "3")}, 1, 1, 2)
		l := r.attach(alice)
		want(t, "on connect", l.take(t), "p:1", "q:2", "p:3")
		r.put([]mailbox.Item{item("p", "4")}, 3) // written, but nobody has said so
		l.Wrote()
		synctest.Wait()
		want(t, "on arrival", l.take(t), "p:4")
		l.Wrote()
		synctest.Wait()
		if n := r.Size(alice, "p"); n != 0 {
			t.Errorf("after the write: got %d messages, want none", n)
		}
		r.put([]mailbox.Item{item("p", "5")}, 1)
		l.Close()
		again := r.attach(alice)
		want(t, "what was not written", again.take(t), "p:5")
		again.Close()
	})
}

func TestOldestGivesWay(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		for i := range 130 {
			r.put([]mailbox.Item{item("p", fmt.Sprint(i))}, min(i+1, mailbox.Capacity))
		}
		for _, when := range []string{"at once", "after a start"} {
			l := r.attach(alice)
			got := l.take(t)
			if len(got) != mailbox.Capacity || got[0] != "p:30" || got[99] != "p:129" {
				t.Errorf("%s: got %d from %q, want 100 from p:30 to p:129", when, len(got), got[0])
			}
			l.Close()
			r.reopen()
		}
	})
}

func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		short, long, ever := item("p", "short"), item("p", "long"), item("p", "ever")
		short.TTL, long.TTL, ever.TTL = time.Second, time.Hour, 0
		r.put([]mailbox.Item{long, short, ever}, 1, 2, 3)
		<-time.After(time.Second - time.Millisecond)
		r.put([]mailbox.Item{item("p", "default")}, 4)
		<-time.After(time.Millisecond)
		r.put([]mailbox.Item{item("p", "later")}, 4) // the short one does not count
		<-time.After(mailbox.DefaultTTL)
		if n := r.Size(alice, "p"); n != 2 {
			t.Errorf("Size: got %d, want the long one and the one for ever", n)
		}
		l := r.attach(alice)
		want(t, "after the default time", l.take(t), "p:long", "p:ever")
		l.Close()
		<-time.After(time.Hour)
		r.reopen()
		l = r.attach(alice)
		want(t, "after an hour and a start", l.take(t), "p:ever")
		l.Close()
		<-time.After(10 * time.Second)
		if s := r.Stats(); s.Messages != 1 {
			t.Errorf("Stats: got %+v, want the eternal message alone", s)
		}
	})
}

func TestSameIDOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		it := item("p", "text")
		it.ID = "one"
		r.put([]mailbox.Item{it}, 1)
		r.put([]mailbox.Item{it, item("p", "other"), it}, 1, 2, 2)
		r.reopen()
		r.put([]mailbox.Item{it}, 2)
		other := it
		other.Publisher = "q"
		r.put([]mailbox.Item{other}, 1)
	})
}

func TestPurgeAndErase(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		bob := presence.User{App: "demo", ID: "bob"}
		his := mailbox.Item{User: bob, Publisher: "p", Text: "his"}
		r.put([]mailbox.Item{item("p", "1"), item("q", "2"), his})
		l := r.attach(alice) // was given both, has taken none
		if err := r.Purge(context.Background(), alice, "p"); err != nil {
			t.Errorf("Purge: got %v, want no error", err)
		}
		want(t, "one grant ended", l.take(t), "q:2")
		l.Close()
		r.put([]mailbox.Item{item("p", "3")}, 1)
		if err := r.Erase(context.Background(), alice); err != nil {
			t.Errorf("Erase: got %v, want no error", err)
		}
		<-time.After(time.Minute)
		for _, when := range []string{"same process", "after a start"} {
			l := r.attach(alice)
			want(t, when+": alice", l.take(t))
			l.Close()
			l = r.attach(bob)
			want(t, when+": bob", l.take(t), "p:his")
			l.Close()
			r.reopen()
		}
		if all := r.stored(); strings.Contains(all, "alice") || !strings.Contains(all, "his") {
			t.Errorf("the stream holds %q, want bob's message and nothing of alice", all)
		}
	})
}

// stored is all that the stream holds.
func (r *rig) stored() string {
	var all []byte
	if _, err := r.store.ReplayMail(context.Background(), 0, func(_ uint64, entry []byte) error {
		all = append(all, entry...)
		return nil
	}); err != nil {
		r.t.Error(err)
	}
	return string(all)
}

func TestBadItemsChangeNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		good := item("p", "good")
		for field, bad := range map[string]mailbox.Item{
			"user":      {Text: "x"},
			"message":   item("p", ""),
			"publisher": item(strings.Repeat("p", mailbox.MaxID+1), "x"),
			"source":    {User: alice, Text: "x", Source: strings.Repeat("s", mailbox.MaxText+1)},
			"action":    {User: alice, Text: "x", Action: strings.Repeat("ä", mailbox.MaxText+1)},
			"id":        {User: alice, Text: "x", ID: strings.Repeat("i", mailbox.MaxID+1)},
			"alias":     {User: alice, Text: "x", Alias: "\xff"},
			"ttl":       {User: alice, Text: "x", TTL: -1},
		} {
			_, err := r.Put(context.Background(), []mailbox.Item{good, bad})
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.FieldInvalid || f.Fields[0].Path != "items[1]."+field {
				t.Errorf("%s: got %v, want FIELD_INVALID of items[1].%s", field, err, field)
			}
		}
		longest := item("p", strings.Repeat("ä", mailbox.MaxText))
		longest.Action, longest.Source, longest.TTL = longest.Text, longest.Text, mailbox.LongestTTL
		r.put([]mailbox.Item{longest}, 1)
		for _, n := range []int{0, mailbox.MaxItems + 1} {
			if _, err := r.Put(context.Background(), make([]mailbox.Item, n)); fault.KindOf(err) != fault.FieldInvalid {
				t.Errorf("%d items: got %v, want FIELD_INVALID", n, err)
			}
		}
	})
}
