package mailbox_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// modelled is a message as the model has it.
type modelled struct {
	order int
	id    string
	ends  time.Time // zero: never
}

type queueName struct {
	user      presence.UserID
	publisher string
}

// model is what mailboxes are by their documentation, as simple as it goes.
type model struct {
	queues map[queueName][]modelled
	puts   int
}

// alive drops what is stale.
func (m *model) alive(q queueName, now time.Time) []modelled {
	m.queues[q] = slices.DeleteFunc(m.queues[q], func(o modelled) bool { return !o.ends.IsZero() && !now.Before(o.ends) })
	return m.queues[q]
}

// put returns the queue's size.
func (m *model) put(it *mailbox.Item, now time.Time) int {
	q := queueName{it.User.ID, it.Publisher}
	list := m.alive(q, now)
	if slices.ContainsFunc(list, func(o modelled) bool { return o.id == it.ID }) {
		return len(list)
	}
	if len(list) == mailbox.Capacity {
		list = list[1:]
	}
	m.puts++
	o := modelled{order: m.puts, id: it.ID}
	if it.TTL != 0 {
		o.ends = now.Add(it.TTL)
	}
	m.queues[q] = append(list, o)
	return len(m.queues[q])
}

// take empties all queues of a user and returns the ids in order.
func (m *model) take(user presence.UserID) (ids []string) {
	var all []modelled
	for q := range m.queues {
		if q.user == user {
			all = append(all, m.alive(q, time.Now())...)
			delete(m.queues, q)
		}
	}
	slices.SortFunc(all, func(a, b modelled) int { return cmp.Compare(a.order, b.order) })
	for _, o := range all {
		ids = append(ids, o.id)
	}
	return ids
}

// Whatever is put, handed over, purged, erased, lost on the way, written by another
// node, compacted and read anew: sizes and contents are those of the model.
func TestModel(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &rig{t: t, store: storetest.NewMemory(), text: rapid.SampledFrom([]int64{1, 2000, 1 << 20}).Draw(rt, "text")}
			r.store.LimitMail(rapid.SampledFrom([]int64{20_000, 64 << 20}).Draw(rt, "limit"))
			r.start()
			w := &walk{rt: rt, rig: r, model: model{queues: map[queueName][]modelled{}}}
			steps := rapid.IntRange(1, 40).Draw(rt, "steps")
			for range steps {
				w.step()
			}
			for _, user := range walkers {
				w.drain(user)
			}
			r.stop()
		})
	})
}

var walkers = []presence.UserID{"alice", "bob"}

type walk struct {
	rt *rapid.T
	*rig
	model model
	ids   int
}

func (w *walk) user() presence.UserID { return rapid.SampledFrom(walkers).Draw(w.rt, "user") }
func (w *walk) publisher() string {
	return rapid.SampledFrom([]string{"", "p"}).Draw(w.rt, "publisher")
}
func of(id presence.UserID) presence.User { return presence.User{App: "demo", ID: id} }

func (w *walk) step() {
	ctx := context.Background()
	what := rapid.IntRange(0, 13).Draw(w.rt, "what")
	w.t.Logf("%v: step %d, %+v", time.Now().Format("15:04:05.000"), what, w.Stats())
	switch what {
	default:
		w.putSome(w.Mailboxes)
	case 6:
		<-time.After(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(w.rt, "pass"))
	case 7:
		w.drain(w.user())
	case 8:
		u, p := w.user(), w.publisher()
		if err := w.Purge(ctx, of(u), p); err != nil {
			w.t.Errorf("Purge: got %v, want no error", err)
		}
		delete(w.model.queues, queueName{u, p})
	case 9:
		u := w.user()
		if err := w.Erase(ctx, of(u)); err != nil {
			w.t.Errorf("Erase: got %v, want no error", err)
		}
		w.model.take(u)
	case 10:
		w.reopen()
	case 11:
		w.store.LoseMail(rapid.IntRange(1, 3).Draw(w.rt, "lost"), rapid.Bool().Draw(w.rt, "stored"))
	case 12: // another node puts, and is gone again
		m, err := mailbox.New(mailbox.Config{Store: w.store})
		if err == nil {
			err = m.Start(ctx)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.putSome(m)
		if err := m.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	case 13:
		<-time.After(11 * time.Second) // it cuts, moves and scrubs
	}
	for _, u := range walkers {
		for _, p := range []string{"", "p"} {
			synctest.Wait()
			w.compare(u, p)
		}
	}
}

// compare asks for a size; what another node put is not known before the next write.
func (w *walk) compare(u presence.UserID, p string) {
	if err := w.Purge(context.Background(), of("nobody"), ""); err != nil {
		w.t.Errorf("Purge: got %v, want no error", err)
	}
	if got, want := w.Size(of(u), p), len(w.model.alive(queueName{u, p}, time.Now())); got != want {
		w.t.Errorf("queue of %s and %q: got %d messages, want %d", u, p, got, want)
	}
}

func (w *walk) putSome(m *mailbox.Mailboxes) {
	items := make([]mailbox.Item, rapid.IntRange(1, 150).Draw(w.rt, "items"))
	u, p := w.user(), w.publisher()
	for i := range items {
		if rapid.IntRange(0, 30).Draw(w.rt, "other queue") == 0 {
			u, p = w.user(), w.publisher()
		}
		w.ids++
		items[i] = mailbox.Item{
			User: of(u), Publisher: p, ID: fmt.Sprint(max(1, w.ids-rapid.SampledFrom([]int{0, 0, 0, 5}).Draw(w.rt, "again"))), Text: "text",
			TTL: rapid.SampledFrom([]time.Duration{0, time.Second, mailbox.DefaultTTL}).Draw(w.rt, "ttl"),
		}
	}
	began := time.Now() // what counts, though the store may take its time
	receipts, err := m.Put(context.Background(), items)
	if fault.KindOf(err) == fault.LogUnavailable { // it is full: nothing was put
		return
	}
	if err != nil {
		w.t.Errorf("Put: got %v, want no error", err)
		return
	}
	for i := range items {
		if want := w.model.put(&items[i], began); receipts[i].Size != want || receipts[i].ID != items[i].ID {
			w.t.Errorf("item %d: got %+v, want id %s and size %d", i, receipts[i], items[i].ID, want)
		}
	}
}

// drain hands over all that a user has.
func (w *walk) drain(user presence.UserID) {
	w.compare(user, "") // catches up
	l := w.attach(of(user))
	defer l.Close()
	var ids []string
	for {
		synctest.Wait()
		list, _, err := l.Take(nil, 20)
		if err != nil {
			w.t.Errorf("Take: got %v, want no error", err)
		}
		if len(list) == 0 {
			break
		}
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		l.Wrote()
	}
	synctest.Wait()
	if want := w.model.take(user); !slices.Equal(ids, want) {
		w.t.Errorf("%s was told %v, want %v", user, ids, want)
	}
}

// Sizes are exact when many put at once: each number from 1 to 100 is given once,
// and they share entries.
func TestCountsAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[int]int{}
		release := r.store.HoldMail()
		for range mailbox.Capacity / 2 {
			wg.Go(func() {
				receipts, err := r.Put(context.Background(), []mailbox.Item{item("p", "x"), item("p", "y")})
				mu.Lock()
				defer mu.Unlock()
				for _, receipt := range receipts {
					got[receipt.Size]++
				}
				if err != nil || len(receipts) != 2 || receipts[1].Size != receipts[0].Size+1 {
					t.Errorf("Put: got %v, %v, want sizes that follow", receipts, err)
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		for n := 1; n <= mailbox.Capacity; n++ {
			if got[n] != 1 {
				t.Errorf("size %d was given %d times, want once", n, got[n])
			}
		}
		if s := r.Stats(); s.Entries > 2 {
			t.Errorf("50 calls at once took %d entries, want 2", s.Entries)
		}
	})
}

// Of what the store does not take nothing is put, and callers are told when to come
// again; what it does not answer for is found out.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		r.store.RefuseMail(errors.New("disk full"))
		var f *fault.Error
		if _, err := r.Put(context.Background(), many("p", 3)); !errors.As(err, &f) || f.Kind != fault.LogUnavailable || f.RetryAfter <= 0 {
			t.Errorf("refused: got %v, want LOG_UNAVAILABLE and when to come again", err)
		}
		r.store.Recover()
		r.put(many("p", 3), 1, 2, 3)

		l := r.attach(alice)
		l.take(t)
		r.store.RefuseMail(errors.New("disk full"))
		l.Wrote()
		synctest.Wait()
		again := r.attach(alice)
		want(t, "handed over, though that could not be noted", again.take(t))
		again.Close()
		r.size("not noted", 3)
		r.store.Recover()
		<-time.After(2 * time.Second)
		r.size("noted later", 0)
		l.Close()

		r.store.LoseMail(2, false)
		r.store.LoseMail(1, true)
		r.put(many("p", 2), 1, 2)

		release := r.store.HoldMail()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.Put(ctx, many("p", 1)); fault.KindOf(err) != fault.LogUnavailable {
			t.Errorf("no answer: got %v, want LOG_UNAVAILABLE", err)
		}
		release()
		r.size("it was stored all the same", 3)
	})
}

// A store that is nearly full takes no more, of one app first, and makes room when
// messages have left.
func TestFull(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, r *rig) {
		r.store.LimitMail(200_000)
		put := func(app presence.AppID, user int) error {
			items := many("p", 100)
			for i := range items {
				items[i].User = presence.User{App: app, ID: presence.UserID(fmt.Sprint(user))}
				items[i].TTL = time.Hour
			}
			_, err := r.Put(context.Background(), items)
			return err
		}
		n := 0
		for put("demo", n) == nil {
			n++
		}
		if n == 0 || r.Stats().Bytes > 40_000 {
			t.Errorf("%d queues of one app were taken, %d bytes, want some and at most a fifth of the stream", n, r.Stats().Bytes)
		}
		if err := put("other", 1); err != nil {
			t.Errorf("another app: got %v, want it taken", err)
		}
		for round := range 30 {
			<-time.After(time.Hour + 10*time.Second)
			if err := put("demo", round); err != nil {
				t.Fatalf("round %d, when the others are stale: got %v (%+v), want it taken", round, err, r.Stats())
			}
		}
	})
}
