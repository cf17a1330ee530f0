package webhook

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// apart finds users of as many lanes.
func apart(lanes int) []string {
	users := make([]string, lanes)
	for i, left := 0, lanes; left > 0; i++ {
		name := fmt.Sprint("user", i)
		if n := laneOf(presence.UserID(name), lanes); users[n] == "" {
			users[n] = name
			left--
		}
	}
	return users
}

// TestOneLaneStopsNobody: of sixteen lanes one fails or stalls for an hour,
// with far more events than are kept in memory, and the others are as quick as
// ever; then it catches up, in order, with nothing lost or doubled.
func TestOneLaneStopsNobody(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(request) (int, time.Duration){
		"fails":   func(request) (int, time.Duration) { return 500, 0 },
		"stalls":  func(request) (int, time.Duration) { return 200, time.Hour },
		"refuses": func(request) (int, time.Duration) { return 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := patient()
				p.Breaker = Breaker{Consecutive: 10, Pause: 30 * time.Second}
				r := &wardRig{rig: newRig(t, p), users: apart(16), answer: answer, bad: true, sent: map[string]time.Time{}}
				defer r.stop()
				r.receiver.answers(r.answers)
				synctest.Wait()
				r.write()
				// A lane that stalls is waited for once, until that is seen.
				if r.worst > 10*ms+patience {
					t.Errorf("the others waited up to %v, want 10ms, and %v once", r.worst, patience)
				}
				if s := r.status(); s.Doing != "waiting" && s.Doing != "behind" {
					t.Errorf("got %+v, want a lane that waits", s)
				}
				r.mu.Lock()
				r.bad = false
				r.mu.Unlock()
				elapse(10 * time.Minute)
				want := r.owed()
				if diff := cmp.Diff(want, r.sick); diff != "" {
					t.Errorf("the lane that failed, afterwards (-want +got):\n%s", diff)
				}
				if s := r.status(); s.Doing != "live" || s.Waiting != 0 || s.Dead != 0 {
					t.Errorf("got %+v, want it live", s)
				}
				more := r.log.append(opened, r.users[0], 250, nth(9000))
				elapse(10 * ms)
				synctest.Wait()
				if got := r.sick[len(r.sick)-1]; !strings.HasPrefix(got, r.users[0]) || len(r.sick) != len(want)+len(more) {
					t.Errorf("got %d events, %q last, want it to be live again", len(r.sick), got)
				}
			})
		})
	}
}

// wardRig is a rig of users in lanes of their own, of whom the first is sick.
type wardRig struct {
	*rig
	users  []string
	answer func(request) (int, time.Duration) // to the sick one while bad

	mu    sync.Mutex // guards what follows
	bad   bool
	worst time.Duration        // that another one waited
	sent  map[string]time.Time // by event
	sick  []string             // events that the sick one's lane delivered, in order
}

func (r *wardRig) answers(q request) (int, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(q.events[0], r.users[0]+" ") {
		if r.bad {
			return r.answer(q)
		}
		r.sick = append(r.sick, q.events...)
		return 200, 0
	}
	for _, e := range q.events {
		r.worst = max(r.worst, time.Since(r.sent[e]))
	}
	return 200, 0
}

// write writes events for an hour, half as many of those who are well.
func (r *wardRig) write() {
	for i := range 400 {
		for n, user := range r.users {
			if n > 0 && i%2 == 1 {
				continue
			}
			r.mu.Lock()
			for _, e := range r.log.append(opened, user, byte(i), nth(uint32(i))) {
				r.sent[fmt.Sprintf("%s %d %s", user, e.Seq, e.Kind)] = time.Now()
			}
			r.mu.Unlock()
		}
		elapse(time.Hour / 400)
	}
}

// owed are the sick one's events.
func (r *wardRig) owed() []string {
	want := make([]string, 0, 400)
	for _, e := range r.log.events {
		if string(e.User.ID) == r.users[0] {
			want = append(want, fmt.Sprintf("%s %d %s", r.users[0], e.Seq, e.Kind))
		}
	}
	return want
}

// TestOutage: an endpoint that is down for an hour gets everything afterwards.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patient()
		p.Breaker = Breaker{Consecutive: 10, Pause: 30 * time.Second}
		r := newRig(t, p)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(request) (int, time.Duration) { return 0, 0 })
		for i := range 20_000 {
			r.log.append(opened, fmt.Sprint("user", i%500), byte(i/500))
			if i%10 == 0 {
				elapse(1800 * ms)
			}
		}
		failed := len(r.receiver.requests())
		if failed > 600 {
			t.Errorf("got %d attempts in the hour, want the breaker to hold them back", failed)
		}
		r.receiver.answers(nil)
		elapse(31 * time.Second) // a pause of the breaker, and no lane's own on top
		s := r.status()
		if s.Doing != "live" || s.Delivered != 20_000 || s.Dead != 0 {
			t.Errorf("got %+v, want all delivered", s)
		}
		last := map[string]int{}
		var good []request
		for _, q := range r.receiver.requests()[failed:] {
			good = append(good, q)
			for _, e := range q.events {
				var user string
				var seq int
				_, _ = fmt.Sscan(e, &user, &seq)
				if seq != last[user]+1 {
					t.Fatalf("%s: got number %d after %d", user, seq, last[user])
				}
				last[user] = seq
			}
		}
		if len(good) > 1000 {
			t.Errorf("got %d requests for 20,000 events, want full batches", len(good))
		}
	})
}

func TestRefusedAndUnwritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(q request) (int, time.Duration) {
			if q.events[0] == "alice 1 opened" {
				return 400, 0
			}
			return 200, 0
		})
		for _, user := range []string{"alice", "unwritable", "bob"} {
			r.log.append(opened, user, 1)
			elapse(time.Second)
		}
		if diff := cmp.Diff([]string{"alice 1 opened", "bob 1 opened"}, r.receiver.events()); diff != "" || r.status().Dead != 2 {
			t.Errorf("got %d dead letters, want 2 (-want +got):\n%s", r.status().Dead, diff)
		}
	})
}

// TestErased: who is erased while a delivery waits is not told of, and the others
// in it are.
func TestErased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(request) (int, time.Duration) { return 503, 0 })
		r.log.append(opened, "alice", 1)
		r.log.append(opened, "bob", 1)
		elapse(10 * time.Second)
		n := len(r.receiver.requests())
		r.receiver.answers(nil)
		erase := func(user presence.UserID) {
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			r.log.erased[user] = true
		}
		erase("alice")
		elapse(time.Minute)
		got := r.receiver.requests()
		if diff := cmp.Diff([]string{"bob 1 opened"}, got[n].events); diff != "" || got[n].id == got[0].id || len(got) != n+1 {
			t.Errorf("got %+v, want bob alone, as another delivery (-want +got):\n%s", got[n:], diff)
		}
		erase("carol")
		r.log.append(opened, "carol", 1)
		elapse(time.Minute)
		if s := r.status(); s.Waiting != 0 || s.Doing != "live" || len(r.receiver.requests()) != n+1 {
			t.Errorf("got %+v, want nothing of carol told", s)
		}
	})
}

// TestDeadLettersAreStored before anything else is delivered, however long that
// takes.
func TestDeadLettersAreStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(q request) (int, time.Duration) {
			if q.events[0] == "alice 1 opened" {
				return 400, 0
			}
			return 200, 0
		})
		r.store.mu.Lock()
		r.store.fail = func() error { return store.ErrRefused }
		r.store.mu.Unlock()
		r.log.append(opened, "alice", 1)
		elapse(time.Second)
		r.log.append(opened, "bob", 1)
		elapse(time.Hour)
		if got := r.receiver.events(); len(got) != 1 {
			t.Errorf("got %q, want the lane to wait for the store", got)
		}
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		elapse(2 * time.Minute)
		if got := r.receiver.events(); len(got) != 2 || r.status().Dead != 1 {
			t.Errorf("got %q and %d dead letters, want bob and one", got, r.status().Dead)
		}
	})
}

// TestIdleLaneIsNoGap: a lane whose users were away for longer than the log
// reaches back, and one of whom cannot be told now, has missed nothing.
func TestIdleLaneIsNoGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		for i := range 50 {
			r.log.append(opened, "bob", byte(i))
			elapse(time.Second)
		}
		r.receiver.answers(func(request) (int, time.Duration) { return 503, 0 })
		r.log.append(opened, "alice", 2)
		elapse(10 * time.Second)
		r.stop()
		r.log.mu.Lock()
		r.log.first = 40
		r.log.mu.Unlock()
		r.receiver.answers(nil)
		n := len(r.receiver.requests())
		r.start()
		defer r.stop()
		elapse(time.Minute)
		if got := r.receiver.requests()[n:]; len(got) != 1 || got[0].gap != "" || got[0].events[0] != "alice 2 opened" || r.status().Gaps != 0 {
			t.Errorf("got %+v, want alice's second and no gap", got)
		}
	})
}

func TestGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		elapse(time.Second)
		r.stop()
		for i := range 30 {
			r.log.append(opened, "bob", byte(i))
		}
		r.log.mu.Lock()
		r.log.first = 20
		r.log.mu.Unlock()
		n := len(r.receiver.requests())
		r.receiver.answers(func(q request) (int, time.Duration) {
			if q.gap != "" && q.number < 3 {
				return 500, 0
			}
			return 200, 0
		})
		r.start()
		elapse(time.Minute)
		got := r.receiver.requests()[n:]
		if len(got) != 4 || got[2].gap == "" || got[0].id != got[2].id || got[3].gap != "" || got[3].events[0] != "bob 19 opened" {
			t.Errorf("got %+v, want the gap three times and then what follows it", got)
		}
		if s := r.status(); s.Gaps != 1 || s.Doing != "live" {
			t.Errorf("got %+v, want one gap and live", s)
		}
		r.stop()
		n = len(r.receiver.requests())
		r.start()
		elapse(time.Minute)
		if got := r.receiver.requests()[n:]; len(got) != 0 {
			t.Errorf("got %+v after another start, want nothing", got)
		}
		r.stop()
	})
}
