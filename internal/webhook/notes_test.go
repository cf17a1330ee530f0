package webhook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// slow is a policy of small batches; a receiver that takes its time is what a
// replay needs to be caught on its way.
func slow() Policy {
	p := patient()
	p.Batch.Events = 1
	return p
}

// written appends so many openings of ten users, and says what they are called.
func written(l *fakeLog, n int) (want []string) {
	for i := range n {
		for _, e := range l.append(opened, fmt.Sprint("user", i%10), byte(i), nth(l.counter())) {
			want = append(want, fmt.Sprintf("%s %d %s", e.User.ID, e.Seq, e.Kind))
		}
	}
	return want
}

// again checks what came of a replay: all that is wanted, and what comes first of a
// user rises.
func again(t *testing.T, want, got []string) {
	t.Helper()
	seen := map[string]bool{}
	last := map[string]int{}
	for _, e := range got {
		var user, kind string
		var seq int
		if _, err := fmt.Sscan(e, &user, &seq, &kind); err != nil {
			t.Fatal(err)
		}
		if seen[e] {
			continue
		}
		if seen[e] = true; seq <= last[user] {
			t.Errorf("%s came first after %d", e, last[user])
		}
		last[user] = seq
	}
	for _, e := range want {
		if !seen[e] {
			t.Errorf("%s did not come", e)
		}
	}
}

// stretches says how many stretches of the log a replay of n events has at least.
const stretches = 3

// TestReplayOutlivesTheProcess: it goes on after the next start where it was, as the
// same one, and repeats at most what was under way.
func TestReplayOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, slow())
		synctest.Wait()
		want := written(r.log, stretches*replayStretch)
		elapse(time.Second)
		r.receiver.answers(func(q request) (int, time.Duration) { return 200, 10 * ms })
		n := len(r.receiver.requests())
		begun, err := r.d.Replay(t.Context(), "demo", "main", From{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		elapse(3 * time.Second) // one stretch and a half: sixteen lanes, ten users, 10 ms
		was := r.status().Replays[0]
		if was.Doing != "running" || was.At == was.From || !was.At.Before(was.To) {
			t.Fatalf("got %+v, want it on its way", was)
		}
		r.d.kill() // as a crash: nothing is stored any more
		r.stop()
		r.owner = Alone(2)
		r.start()
		defer r.stop()
		if s := r.status(); len(s.Replays) != 1 || s.Replays[0].ID != begun.ID || s.Replays[0].Doing != "running" || s.Replays[0].At != was.At {
			t.Errorf("at once after the start: %+v, want it as it was at %v", s.Replays, was.At)
		}
		elapse(time.Minute)
		s := r.status()
		if len(s.Replays) != 1 || s.Replays[0].ID != begun.ID || s.Replays[0].Doing != "done" || s.Replays[0].At != begun.To || s.Replays[0].Begun.Unix() != begun.Begun.Unix() {
			t.Errorf("got %+v, want the one that was begun, done", s.Replays)
		}
		_, got := split(r.receiver.requests()[n:])
		again(t, want, got)
		if more := len(got) - len(want); more < 0 || more > replayStretch {
			t.Errorf("%d events came twice, want a stretch at most", more)
		}
		r.stop()
		r.owner = Alone(3)
		r.start()
		elapse(time.Second)
		if s := r.status(); len(s.Replays) != 1 || s.Replays[0].Doing != "done" {
			t.Errorf("got %+v, want it to be known that it is done", s.Replays)
		}
	})
}

// TestReplayCostsNothing: where there is none, nothing is written for it.
func TestReplayCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		defer r.stop()
		elapse(time.Hour)
		if c, err := r.store.LoadCursors(t.Context(), notesOf("demo", "main")); err != nil || c.Revision != 0 {
			t.Errorf("got %+v, %v, want nothing", c, err)
		}
	})
}

// TestReplayGoesNowhereElse: an endpoint that has another address after the next
// start does not get what the former was to get.
func TestReplayGoesNowhereElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient())
		synctest.Wait()
		written(r.log, 3)
		elapse(time.Second)
		r.receiver.answers(func(q request) (int, time.Duration) { return 500, 0 })
		if _, err := r.d.Replay(t.Context(), "demo", "main", From{Time: 1}); err != nil {
			t.Fatal(err)
		}
		elapse(time.Second)
		r.stop()
		r.main.URL = "https://other.example/hook"
		r.owner = Alone(2)
		r.start()
		defer r.stop()
		elapse(time.Second)
		if got := r.status().Replays; len(got) != 1 || got[0].Doing != "cancelled" || got[0].Error == "" {
			t.Errorf("got %+v, want it cancelled with the reason", got)
		}
	})
}

// TestReplayWaitsForTheStore: where it cannot be stored how far it is, it waits, and
// so a crash repeats no more; where the store cannot be read it is not failed.
func TestReplayWaitsForTheStore(t *testing.T) {
	inRig(t, slow(), func(t *testing.T, r *rig) {
		want := written(r.log, stretches*replayStretch)
		elapse(time.Minute)
		r.receiver.answers(func(q request) (int, time.Duration) { return 200, ms })
		n := len(r.receiver.requests())
		begun, err := r.d.Replay(t.Context(), "demo", "main", From{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		r.store.failing(store.ErrUnknown)
		elapse(8 * time.Second)
		if _, got := split(r.receiver.requests()[n:]); len(got) > replayStretch+handfulOfLog {
			t.Errorf("%d events came while nothing could be stored, want a stretch at most", len(got))
		}
		r.store.failing(nil)
		elapse(time.Minute)
		if s := r.status(); s.Replays[0].Doing != "done" || s.Replays[0].ID != begun.ID {
			t.Errorf("got %+v, want it done", s.Replays)
		}
		_, got := split(r.receiver.requests()[n:])
		again(t, want, got)
		if len(got) != len(want) {
			t.Errorf("%d events came, want each once: %d", len(got), len(want))
		}
	})
}

// handfulOfLog is how many events fakeLog gives at once.
const handfulOfLog = 100

func (s *fakeStore) failing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = func() error { return err }
}

// TestReplayWhileNobodyServes: what it was is told, and it can be cancelled, by who
// can only read the store; who had it, and comes back, heeds that.
func TestReplayWhileNobodyServes(t *testing.T) {
	among(t, slow(), func(t *testing.T, m *members) {
		ctx := t.Context()
		written(m.log, replayStretch)
		elapse(time.Minute)
		m.receiver.answers(func(request) (int, time.Duration) { return 500, 0 })
		var begun [2]Replay
		for i := range begun {
			var err error
			m.with(func() { m.passes, m.cut[0] = false, false })
			elapse(time.Second)
			if begun[i], err = m.nodes[1].Replay(ctx, "demo", "main", From{Time: 1}); err != nil {
				t.Fatal(err)
			}
			m.with(func() { m.cut[0], m.passes = true, true })
			if i == 1 {
				m.with(func() { m.server = 1 })
			}
			for _, o := range m.nodes[1:] {
				got, err := o.Endpoint(ctx, "demo", "main")
				if i == 0 { // the one that serves it is not heard
					if !unavailable(err) {
						t.Errorf("%s says %+v, %v, want NODE_UNAVAILABLE", o.Self(), got, err)
					}
					continue
				}
				if err != nil || len(got.Replays) != i+1 || got.Replays[i].ID != begun[i].ID || got.Replays[i].Doing != "running" || got.Replays[i].At != begun[i].From {
					t.Errorf("%s says %+v, %v, want it running where it began", o.Self(), got.Replays, err)
				}
			}
			if got, err := m.nodes[2].CancelReplay(ctx, "demo", "main", begun[i].ID); err != nil || got.Doing != "cancelled" {
				t.Errorf("got %+v, %v, want it cancelled", got, err)
			}
		}
		m.with(func() { m.passes, m.term = false, 9 })
		m.receiver.answers(nil)
		n := len(m.receiver.requests())
		elapse(10 * time.Minute)
		if _, got := split(m.receiver.requests()[n:]); len(got) > 0 {
			t.Errorf("%d events came after it was cancelled", len(got))
		}
		for i, o := range m.nodes[1:] {
			if got, err := o.Endpoint(ctx, "demo", "main"); err != nil || len(got.Replays) != 2 || got.Replays[i].Doing != "cancelled" {
				t.Errorf("%s says %+v, %v, want both cancelled", o.Self(), got.Replays, err)
			}
		}
	})
}

// TestReplayOfAnOutdone: who lost the endpoint without knowing it can neither begin
// a replay that nobody would run, nor end one that runs elsewhere.
func TestReplayOfAnOutdone(t *testing.T) {
	among(t, slow(), func(t *testing.T, m *members) {
		ctx := t.Context()
		written(m.log, 10)
		elapse(time.Second)
		// A later term takes over, as far as the store knows.
		c, err := m.store.LoadCursors(ctx, notesOf("demo", "main"))
		if err != nil {
			t.Fatal(err)
		}
		c.Term = 7
		if _, err := m.store.SaveCursors(ctx, c); err != nil {
			t.Fatal(err)
		}
		if _, err := m.nodes[0].d.Replay(ctx, "demo", "main", From{Time: 1}); !unavailable(err) {
			t.Errorf("got %v, want NODE_UNAVAILABLE", err)
		}
		elapse(time.Second)
		if _, got := split(m.receiver.requests()); len(got) > 0 {
			t.Errorf("%d events came of a replay that was refused", len(got))
		}
	})
}

// FuzzReplayOf: whatever is stored, reading it breaks nothing.
func FuzzReplayOf(f *testing.F) {
	good := &replay{}
	good.ID, good.Doing = "rp_x", doingReplay
	c, err := good.cursor()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Position, c.State)
	f.Add("1.2.3", []byte(`{"ID":1}`))
	f.Add("", []byte(strings.Repeat("[", 9)))
	f.Fuzz(func(t *testing.T, position string, state []byte) {
		r, err := replayOf(store.Cursor{Position: position, State: state})
		if err != nil {
			return
		}
		c, err := r.cursor()
		if err != nil {
			return // a year that JSON has no words for
		}
		same, err := replayOf(c)
		if err != nil || same.now() != r.now() && !slices.Contains([]string{same.Error}, r.Error) {
			t.Errorf("%+v reads as %+v, %v", r.now(), same, err)
		}
	})
}
