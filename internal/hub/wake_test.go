package hub

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A device is woken for the first thing that waits, once, until a drain found
// nothing more; and at once when it connects to something that waits.
func TestWakeContract(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.join(1, Params{User: named("bob"), Limit: 100})
	woken := 0
	want := func(n int, after string) {
		t.Helper()
		if woken != n {
			t.Fatalf("after %s: woken %d times, want %d", after, woken, n)
		}
		woken = 0
	}
	change := func() { w.tell(w.opens("alice", number(1), nil)) }
	users := []presence.UserID{"alice"}
	for i := range takeAtOnce { // more than one look at the queue takes
		users = append(users, presence.UserID(fmt.Sprint(i)))
	}
	v.Watch(users, ScopeAll)
	a, _ := v.Attach(&mirror{}, func() { woken++ }, nil)
	want(1, "connecting with a snapshot waiting")
	change()
	want(0, "a change before the drain")
	if _, more := v.Drain(a.Stream, nil, 1); !more {
		t.Fatal("drain of a part of what waits: more is false")
	}
	change()
	want(0, "a change between two drains of which the first left something")
	for more := true; more; {
		_, more = v.Drain(a.Stream, nil, 1)
	}
	want(0, "draining")
	change()
	change()
	want(1, "two changes after an empty drain")
	v.Detach(a.Stream)
	v.Drain(a.Stream, nil, 10)
	change()
	want(0, "a change without a stream")
	last := uint64(100)
	if _, err := v.Attach(&mirror{}, func() { t.Error("a refused stream was woken") }, &last); err == nil {
		t.Fatal("a number from the future was taken")
	}
	v.Attach(&mirror{}, func() { woken++ }, nil)
	want(1, "connecting again")
}

// Real goroutines change, drain, connect, watch and unwatch at once; then all is
// quiet, and no wake was lost: synctest ends in a deadlock report otherwise.
func TestNoWakeIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const devices, changers = 8, 4
		w := newWorld()
		users := []presence.UserID{"a", "b", "c", "d", "e"}
		var readers, others sync.WaitGroup
		stop := make(chan struct{})
		watchers := make([]*reader, devices)
		for i := range watchers {
			id := presence.UserID(fmt.Sprintf("watcher%d", i))
			r := &reader{device: newDevice(named(id), w.join(byte(i+1), Params{User: named(id), Limit: 10}))}
			if err := r.watch(users, ScopeAll); err != nil {
				t.Fatal(err)
			}
			watchers[i] = r
			readers.Go(func() { r.run(t, stop) })
		}
		for c := range changers {
			others.Go(func() { w.churn(users, c) })
		}
		others.Go(func() { w.guests(users) })
		others.Go(func() { w.guestsLists(users) })
		others.Wait()
		synctest.Wait() // the readers have read all that they were woken for
		for i, r := range watchers {
			if got, want := r.holds(), r.should(w); got != want {
				t.Errorf("device %d holds\n%swant\n%s", i, got, want)
			}
			if n := r.twice.Load(); n > 0 {
				t.Errorf("device %d was woken %d times too often", i, n)
			}
		}
		close(stop)
		readers.Wait()
		for i := range watchers {
			w.hub.Gone(presence.SessionID{byte(i + 1)})
		}
		if c := w.hub.Counts(); c != (Counts{Sent: c.Sent}) {
			t.Errorf("after all are gone: %+v, want nothing", c)
		}
	})
}

// rounds is how often each of those who disturb does what he does.
const rounds = 300

// churn opens one session and changes others, by the dice of one who does so.
func (w *world) churn(users []presence.UserID, dice int) {
	rnd := rand.New(rand.NewPCG(1, uint64(dice)))
	for n := range rounds {
		id := users[rnd.IntN(len(users))]
		if n == 0 {
			w.tell(w.opens(id, number(100+dice), nil))
			continue
		}
		if open := w.publics(id, (*stay).open); len(open) > 0 {
			w.tell(w.updates(id, open[0], saying(n)))
		}
	}
}

func guest(n int) presence.SessionID { return presence.SessionID{200, byte(n % 7)} }

// guests come and go, so that targets are made and dropped.
func (w *world) guests(users []presence.UserID) {
	for n := range rounds {
		id := guest(n)
		v := w.hub.Join(id, Params{User: named("guest"), Limit: 10})
		if n%3 == 0 {
			w.hub.Gone(id)
		}
		v.Watch(users[:n%5], ScopeNone)
		v.Unwatch(users[n%5])
		w.hub.Watches(id)
		w.hub.Counts()
		w.hub.Gone(id)
	}
}

// guestsLists changes the lists of guests, and what they may see.
func (w *world) guestsLists(users []presence.UserID) {
	for n := range rounds {
		u := users[n%5]
		w.veil("guest", u, n%2 == 0)
		w.hub.FriendsChanged(named("guest"), users[:n%3], []presence.UserID{u})
		if v := w.hub.Watcher(guest(n)); v != nil {
			v.WatchFriends(users[n%5:])
			v.UnwatchFriends()
			v.WatchFriendsLater()
		}
	}
}

// reader is a device with a goroutine that drains when it is woken, as a door's.
type reader struct {
	*device
	twice atomic.Int64
}

func (r *reader) run(t *testing.T, stop chan struct{}) {
	var woken chan struct{} // of the present connection
	for connections := 0; ; {
		if r.stream == 0 {
			connections++
			c := make(chan struct{}, 1)
			wake := func() {
				select {
				case c <- struct{}{}:
				default:
					r.twice.Add(1)
				}
			}
			woken = c
			if err := r.connect(wake, r.last); err != nil {
				t.Error(err)
				return
			}
		}
		select {
		case <-stop:
			return
		case <-woken:
		}
		for more := true; more; {
			var err error
			if more, err = r.drain(3); err != nil {
				t.Error(err)
				return
			}
		}
		if err := r.arrive(len(r.way)); err != nil {
			t.Error(err)
			return
		}
		if connections < 20 { // lose some connections, with nobody noticing half of them
			if connections%2 == 0 {
				r.watcher.Detach(r.stream)
			}
			r.stream = 0
		}
	}
}
