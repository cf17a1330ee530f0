package webhook

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	opened = presence.RecordOpened
	closed = presence.RecordClosed
)

const ms = time.Millisecond

func TestBatchAndLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patient()
		p.Batch.Events = 3
		r := newRig(t, p, oneLane)
		defer r.stop()
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		elapse(4 * ms)
		r.log.append(opened, "bob", 1)
		elapse(1 * time.Second)
		for i := range 6 { // two full batches go at once, the rest waits for more
			r.log.append(opened, "carol", byte(i))
		}
		r.log.append(closed, "alice", 1)
		elapse(time.Second)
		want := []time.Duration{10 * ms, 1004 * ms, 1004 * ms, 1014 * ms}
		if got := r.receiver.times(); !slices.Equal(got, want) {
			t.Errorf("got requests at %v, want %v: %v", got, want, r.receiver.requests())
		}
		if got := r.receiver.events(); got[0] != "alice 1 opened" || got[1] != "bob 1 opened" || got[len(got)-1] != "alice 2 closed" {
			t.Errorf("got %q, want them in order", got)
		}
	})
}

// TestBackOff: 1, 2, 4 s … to 5 minutes, for 7 days after the change, and then
// dead letters, to the millisecond. Another lane feels nothing of it.
func TestBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		defer r.stop()
		r.receiver.answers(func(q request) (int, time.Duration) {
			if strings.HasPrefix(q.events[0], "alice") {
				return 503, 0
			}
			return 200, 0
		})
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		elapse(10 * 24 * time.Hour)
		var want []time.Duration
		at := 10 * ms
		for pause := time.Second; at <= 7*24*time.Hour; pause = min(2*pause, 5*time.Minute) {
			want = append(want, at)
			at += pause
		}
		got := r.receiver.times()
		if !slices.Equal(got, want) {
			t.Fatalf("got %d attempts, the first at %v, the last at %v; want %d, %v and %v", len(got), got[:min(12, len(got))], got[len(got)-1], len(want), want[:12], want[len(want)-1])
		}
		ids := map[string]bool{}
		for i, q := range r.receiver.requests() {
			ids[q.id] = true
			if q.number != i+1 {
				t.Fatalf("attempt %d says it is number %d", i+1, q.number)
			}
		}
		if len(ids) != 1 {
			t.Errorf("got %d ids of one delivery, want 1", len(ids))
		}
		letters, _, err := r.d.Letters(t.Context(), "demo", "main", "", 10)
		if err != nil || len(letters) != 1 || letters[0].Event.User.ID != "alice" || letters[0].Why != "status 503" || letters[0].Attempts != len(want) {
			t.Errorf("got the letters %+v, %v, want the one of alice", letters, err)
		}
		if s := r.status(); s.Dead != 1 || s.Waiting != 0 || s.Doing != "live" {
			t.Errorf("got %+v, want it live with one dead letter", s)
		}
		r.log.append(opened, "bob", 1)
		elapse(20 * ms)
		if got := r.receiver.events(); got[len(got)-1] != "bob 1 opened" {
			t.Errorf("got %q last, want bob", got[len(got)-1])
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		defer r.stop()
		r.receiver.mu.Lock()
		r.receiver.header = http.Header{"Retry-After": {"7"}}
		r.receiver.mu.Unlock()
		r.receiver.answers(func(q request) (int, time.Duration) {
			if q.number < 6 {
				return 429, 0
			}
			return 200, 0
		})
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		elapse(time.Hour)
		var at []time.Duration
		for _, s := range []time.Duration{0, 7, 14, 21, 29, 45} { // 8 and 16 s are more than 7
			at = append(at, s*time.Second+10*ms)
		}
		if diff := cmp.Diff(at, r.receiver.times()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

// TestThreeAttempts is the policy of a format with 3 attempts in 5 s each, and a
// pause of a minute when nobody answers in time.
func TestThreeAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patient()
		p.Timeout = 5 * time.Second
		p.Retry = Retry{Attempts: 3, First: 500 * ms, Most: time.Second}
		p.Breaker = Breaker{Consecutive: 10, TimeoutsOnly: true, Pause: time.Minute}
		p.Batch = Batch{Events: 1}
		r := newRig(t, p, func(e *Endpoint) { e.Lanes = 4 })
		defer r.stop()
		r.receiver.answers(func(request) (int, time.Duration) { return 200, time.Hour })
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		elapse(17 * time.Second)
		want := []time.Duration{0, 5500 * ms, 11500 * ms}
		if diff := cmp.Diff(want, r.receiver.times()); diff != "" {
			t.Errorf("attempts of one user (-want +got):\n%s", diff)
		}
		if s := r.status(); s.Dead != 1 || s.LastError != "no answer within 5s" {
			t.Errorf("after 3 attempts: got %+v, want a dead letter and the time-out as the reason", s)
		}
		// Four lanes, three failures are known: seven more make ten.
		for _, user := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"} {
			r.log.append(opened, user, 9)
		}
		elapse(20 * time.Second)
		s := r.status()
		if s.Breaker != "open" || s.Doing != "paused" {
			t.Fatalf("got %+v, want a pause", s)
		}
		before := len(r.receiver.requests())
		elapse(s.Pause - time.Millisecond)
		if n := len(r.receiver.requests()); n != before {
			t.Errorf("got %d requests in the pause, want none", n-before)
		}
		r.receiver.answers(func(request) (int, time.Duration) { return 200, 100 * ms })
		elapse(time.Millisecond)
		synctest.Wait()
		if n := len(r.receiver.requests()); n != before+1 {
			t.Errorf("got %d requests at the end of the pause, want one", n-before)
		}
		if s := r.status(); s.Breaker != "half-open" {
			t.Errorf("got the breaker %s, want half-open", s.Breaker)
		}
		elapse(100 * ms)
		synctest.Wait()
		if n := len(r.receiver.requests()); n <= before+1 || r.status().Breaker != "closed" {
			t.Errorf("got %d requests and the breaker %s after it was answered, want all lanes to go on", n-before, r.status().Breaker)
		}
		elapse(time.Minute)
		if s := r.status(); s.Waiting != 0 {
			t.Errorf("got %+v, want nothing to wait", s)
		}
	})
}

// TestNoRetry is the policy of a format that gives up at once.
func TestNoRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := patient()
		p.Timeout, p.Retry, p.Batch = 2*time.Second, Retry{Attempts: 1}, Batch{Events: 1}
		r := newRig(t, p, oneLane)
		defer r.stop()
		r.receiver.answers(func(q request) (int, time.Duration) { return 200, 2001 * ms })
		synctest.Wait()
		r.log.append(opened, "alice", 1)
		r.log.append(closed, "alice", 1)
		elapse(5 * time.Second)
		if got := r.receiver.times(); !slices.Equal(got, []time.Duration{0, 2 * time.Second}) || r.status().Dead != 2 {
			t.Errorf("got attempts at %v and %d dead letters, want one each, 2 s apart, and two", got, r.status().Dead)
		}
		r.receiver.answers(func(q request) (int, time.Duration) { return 200, 1999 * ms })
		r.log.append(opened, "bob", 1)
		elapse(5 * time.Second)
		if s := r.status(); s.Dead != 2 || s.Delivered != 1 {
			t.Errorf("an answer a millisecond in time: got %+v, want it delivered", s)
		}
	})
}

// holding tells of no login that a logout follows within 100 ms.
type holding struct{ plain }

func (h *holding) Hold(e *Event) time.Duration {
	if e.Kind == presence.RecordOpened {
		return 100 * ms
	}
	return 0
}

func (h *holding) Voids(e, later *Event) bool {
	return later.Kind == presence.RecordClosed && later.Session.ID == e.Session.ID && later.Reason == presence.ReasonLogout
}

func TestHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration
		why   presence.Reason
		want  []string
		times []time.Duration
	}{
		"at the last moment": {100 * ms, presence.ReasonLogout, []string{"alice 2 closed", "bob 1 opened"}, []time.Duration{100 * ms, 106 * ms}},
		"at once":            {0, presence.ReasonLogout, []string{"alice 2 closed", "bob 1 opened"}, []time.Duration{0, 106 * ms}},
		"too late":           {102 * ms, presence.ReasonLogout, []string{"alice 1 opened", "alice 2 closed", "bob 1 opened"}, []time.Duration{101 * ms, 102 * ms, 106 * ms}},
		"no logout":          {50 * ms, presence.ReasonLeft, []string{"alice 1 opened", "alice 2 closed", "bob 1 opened"}, []time.Duration{101 * ms, 101 * ms, 106 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := patient()
				p.Batch = Batch{Events: 1}
				r := newRig(t, p, func(e *Endpoint) { e.Format = &holding{plain{policy: p}} })
				defer r.stop()
				synctest.Wait()
				r.log.append(opened, "alice", 1)
				if c.after == 0 {
					r.log.append(closed, "alice", 1, because(c.why))
				}
				elapse(5 * ms)
				r.log.append(opened, "bob", 1)
				if c.after > 0 {
					elapse(c.after - 5*ms)
					r.log.append(closed, "alice", 1, because(c.why))
				}
				elapse(time.Second)
				if diff := cmp.Diff(c.want, r.receiver.events()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.times, r.receiver.times()); diff != "" {
					t.Errorf("times (-want +got):\n%s", diff)
				}
			})
		})
	}
}
