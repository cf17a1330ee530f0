package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func failed(timeout bool) try {
	return try{Verdict: Verdict{Outcome: Failed}, timeout: timeout}
}

// TestShareOpens: half of at least 20 attempts within 30 s.
func TestShareOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Breaker{Share: 50, Attempts: 20, Window: 30 * time.Second, TimeoutsOnly: true, Pause: time.Minute}, 4)
		attempt := func(lane int, r try) {
			t.Helper()
			if err := b.enter(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			b.leave(lane, r)
		}
		for i := range 30 { // answers that are failures do not count
			attempt(i%4, failed(false))
		}
		if !b.closed() {
			t.Fatal("answers opened a breaker that counts time-outs")
		}
		elapse(time.Minute)
		for i := range 19 {
			attempt(i%4, failed(i%2 == 0))
		}
		if !b.closed() {
			t.Fatal("opened by 19 attempts, want 20 at least")
		}
		attempt(0, failed(true))
		if word, left := b.state(); word != "open" || left != time.Minute {
			t.Errorf("got %s for %v, want it open for a minute", word, left)
		}
	})
}

// TestFailuresOfOneLane open nothing: what one user's events do to a receiver
// stops nobody else. With a single lane they do, and with two.
func TestFailuresOfOneLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			lanes, failing int
			opens          bool
		}{{16, 1, false}, {16, 2, true}, {1, 1, true}} {
			b := newBreaker(Breaker{Consecutive: 10, Pause: time.Minute}, c.lanes)
			for i := range 10 {
				if b.closed() == (c.opens && i == 10) {
					t.Errorf("%+v: open after %d failures", c, i)
				}
				b.leave(i%c.failing, failed(false))
			}
			if b.closed() == c.opens {
				t.Errorf("%+v: closed is %v after ten failures", c, b.closed())
			}
		}
	})
}

// TestWhoGoesFirst: when the pause is over one delivery is tried, and it is one
// of a lane that did not fail; the others go on when that is answered, and wait
// for another pause when it is not.
func TestWhoGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Breaker{Consecutive: 2, Pause: 30 * time.Second}, 8)
		b.leave(0, failed(false))
		b.leave(1, failed(false))
		began := time.Now()
		in := make(chan int, 8)
		for lane, tries := range []int{5, 3, 0, 1} {
			go func() {
				if b.enter(t.Context(), tries) == nil {
					in <- lane
				}
			}()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		go func() {
			if b.enter(gone, 0) == nil {
				in <- 99
			}
		}()
		synctest.Wait()
		cancel()
		if got, at := <-in, time.Since(began); got != 2 || at != 30*time.Second {
			t.Errorf("got lane %d after %v, want 2 after 30s", got, at)
		}
		synctest.Wait()
		if word, _ := b.state(); word != "half-open" || len(in) > 0 {
			t.Errorf("got %s and %d more, want half-open and one alone", word, len(in))
		}
		b.leave(2, failed(false))
		if got, at := <-in, time.Since(began); got != 3 || at != time.Minute {
			t.Errorf("got lane %d after %v, want 3 after another pause", got, at)
		}
		b.leave(3, try{})
		rest := []int{<-in, <-in}
		slices.Sort(rest)
		if !slices.Equal(rest, []int{0, 1}) || time.Since(began) != time.Minute || !b.closed() {
			t.Errorf("got %v after %v, want the others at once", rest, time.Since(began))
		}
		b.leave(0, try{ended: true})
		if !b.closed() {
			t.Error("an attempt that was not made opened it")
		}
	})
}

// TestNineOfTen: endpoints that fail cost the tenth nothing.
func TestNineOfTen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		defer r.stop()
		all := []Endpoint{r.main}
		for i := range 9 {
			e := r.main
			e.Name = fmt.Sprint("down", i)
			e.Format = &plain{policy: patient(), name: e.Name}
			all = append(all, e)
		}
		r.set(all...)
		synctest.Wait()
		r.receiver.answers(func(q request) (int, time.Duration) {
			switch {
			case q.to == "":
				return 200, 0
			case q.to < "down3":
				return 500, 0
			case q.to < "down6":
				return 200, time.Hour
			}
			return 0, 0
		})
		var want []time.Duration
		for i := range 3000 {
			want = append(want, time.Since(r.receiver.began)+10*ms)
			r.log.append(opened, fmt.Sprint("user", i%100), byte(i/100))
			elapse(20 * ms)
		}
		var got []time.Duration
		for _, q := range r.receiver.requests() {
			if q.to == "" {
				got = append(got, q.at)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d requests, want %d, each 10 ms after its change", len(got), len(want))
		}
	})
}

// TestStartAndStop at any time, any number of times.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		for range 3 {
			if err := r.d.Start(t.Context()); err != nil {
				t.Error(err)
			}
		}
		for range 3 {
			r.stop()
		}
		if err := r.d.Start(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := r.d.Endpoint(t.Context(), "demo", "main"); err == nil {
			t.Error("a stopped one answers")
		}
		for i := range 50 {
			r.start()
			if i%2 == 0 {
				synctest.Wait()
			}
			done := make(chan struct{}, 3)
			for range 3 {
				go func() { r.stop(); done <- struct{}{} }()
			}
			for range 3 {
				<-done
			}
		}
		d, err := New(r.d.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Errorf("stopped before it was started: %v", err)
		}
		if _, err := New(Config{}); err == nil {
			t.Error("a deliverer of nothing was made")
		}
	})
}

// FuzzLetter: a stored letter that cannot be read is an error, not more.
func FuzzLetter(f *testing.F) {
	e := Event{ID: "1", Position: facts.End(7)}
	e.User = presence.User{App: "demo", ID: "alice"}
	e.Session.Status = &presence.Status{Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "t"}}}
	b, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"ID":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := letterOf(store.Letter{Number: 3, Body: b})
		if l.ID != "3" {
			t.Errorf("got id %q, want 3", l.ID)
		}
		if err != nil {
			return
		}
		again, err := json.Marshal(l.Event)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := letterOf(store.Letter{Number: 3, Body: again}); err != nil || same.Event.ID != l.Event.ID {
			t.Errorf("got %v, %v, want it again", same, err)
		}
	})
}

// FuzzFormer: what is remembered of other numbers of lanes is read, or refused.
func FuzzFormer(f *testing.F) {
	f.Add([]byte(`[["17","18.0.1"],["3"]]`))
	f.Add([]byte(`[[]]`))
	f.Add([]byte(`[["x"]]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := &keeper{}
		if k.recall(b) != nil {
			return
		}
		kept := k.remember([]Position{{}})
		again := &keeper{}
		if err := again.recall(kept); err != nil {
			t.Errorf("%s: written as %s, and %v", b, kept, err)
		}
		for _, was := range again.former {
			was.delivered("alice", Position{})
		}
	})
}

func TestFormerIsBounded(t *testing.T) {
	t.Parallel()
	long := make(layout, MaxLanes)
	for i := range long {
		long[i] = Position{Sequence: 1 << 63, Index: 1 << 30, Ordinal: 1 << 30}
	}
	k := &keeper{former: []layout{long, long}}
	if b := k.remember(make([]Position, 1)); len(b) > store.MaxCursorState {
		t.Errorf("got %d bytes, want at most %d", len(b), store.MaxCursorState)
	}
	k.former = []layout{{facts.End(5)}}
	if b := k.remember([]Position{facts.End(5)}); b != nil {
		t.Errorf("got %s, want what no longer matters forgotten", b)
	}
	if b := k.remember([]Position{facts.End(4)}); !strings.Contains(string(b), `"5"`) {
		t.Errorf("got %s, want it remembered", b)
	}
}
