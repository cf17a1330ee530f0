package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// split gives what came live and what came of replays.
func split(requests []request) (live, replayed []string) {
	for _, q := range requests {
		if q.replay != "" {
			replayed = append(replayed, q.events...)
		} else {
			live = append(live, q.events...)
		}
	}
	return live, replayed
}

func TestReplay(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		var want []string
		var at []Position
		var times []presence.Time
		for i := range 30 {
			e := r.log.append(opened, "alice", byte(i))[0]
			want, at, times = append(want, fmt.Sprintf("alice %d opened", e.Seq)), append(at, e.Position), append(times, e.Time)
			elapse(time.Second)
		}
		n := len(r.receiver.requests())
		r.receiver.answers(func(request) (int, time.Duration) { return 200, 10 * ms })
		p := at[9]
		begun, err := r.d.Replay(t.Context(), "demo", "main", From{Position: &p})
		if err != nil || begun.Doing != "running" || begun.From != p {
			t.Fatalf("got %+v, %v, want it to run", begun, err)
		}
		_, err = r.d.Replay(t.Context(), "demo", "main", From{Time: times[3]})
		if fault.KindOf(err) != fault.FieldInvalid || !strings.Contains(err.Error(), begun.ID) {
			t.Errorf("a second one beside it: got %v, want it refused with the name of the first", err)
		}
		r.log.append(opened, "bob", 1) // live goes on beside it
		elapse(time.Second)
		live, replayed := split(r.receiver.requests()[n:])
		if diff := cmp.Diff(want[10:], replayed); diff != "" || !slices.Equal(live, []string{"bob 1 opened"}) {
			t.Errorf("from a position (-want +got), live %q:\n%s", live, diff)
		}
		if got := r.status().Replays; len(got) != 1 || got[0].Doing != "done" || got[0].Events != 20 || got[0].At != got[0].To || got[0].Ended.IsZero() {
			t.Errorf("got %+v, want it done with 20 events", got)
		}
		n = len(r.receiver.requests())
		if _, err := r.d.Replay(t.Context(), "demo", "main", From{Time: times[20]}); err != nil {
			t.Fatal(err)
		}
		elapse(time.Second)
		if _, replayed = split(r.receiver.requests()[n:]); !slices.Equal(replayed, append(slices.Clone(want[20:]), "bob 1 opened")) {
			t.Errorf("from a time: got %q, want it from %q on", replayed, want[20])
		}
		far := Position{Sequence: 1 << 40}
		for name, from := range map[string]From{"nothing": {}, "behind the end": {Position: &far}} {
			if _, err := r.d.Replay(t.Context(), "demo", "main", from); fault.KindOf(err) != fault.FieldInvalid {
				t.Errorf("from %s: got %v, want FIELD_INVALID", name, err)
			}
		}
		if _, err := r.d.Replay(t.Context(), "demo", "other", From{Position: &p}); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("got %v, want ErrNoEndpoint", err)
		}
	})
}

// TestReplayIsCancelled: a replay whose receiver is down waits, and live delivery
// does not; it can be cancelled, and a reload that moves its endpoint does that.
func TestReplayIsCancelled(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		for i := range 30 {
			r.log.append(opened, "alice", byte(i))
		}
		elapse(time.Second)
		r.receiver.answers(func(q request) (int, time.Duration) {
			if q.replay != "" {
				return 500, 0
			}
			return 200, 0
		})
		begun, err := r.d.Replay(t.Context(), "demo", "main", From{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		elapse(time.Minute)
		n := len(r.receiver.events())
		r.log.append(opened, "alice", 100)
		elapse(11 * ms)
		if got := r.receiver.events(); len(got) != n+1 {
			t.Errorf("got %d live events beside a replay that fails, want one", len(got)-n)
		}
		ended, err := r.d.CancelReplay(t.Context(), "demo", "main", begun.ID)
		if err != nil || ended.Doing != "cancelled" || ended.Events != 0 {
			t.Errorf("got %+v, %v, want it cancelled", ended, err)
		}
		if _, err := r.d.CancelReplay(t.Context(), "demo", "main", "rp_none"); !errors.Is(err, ErrNoReplay) {
			t.Errorf("got %v, want ErrNoReplay", err)
		}
		n = len(r.receiver.requests())
		elapse(time.Hour)
		if got := len(r.receiver.requests()); got != n {
			t.Errorf("got %d requests after it was cancelled, want none", got-n)
		}
		if _, err := r.d.Replay(t.Context(), "demo", "main", From{Time: 1}); err != nil {
			t.Fatal(err)
		}
		elapse(time.Second)
		moved := r.main
		moved.URL += "/moved"
		r.set(moved)
		synctest.Wait()
		if got := r.status().Replays[1]; got.Doing != "cancelled" || got.Error == "" {
			t.Errorf("got %+v after a reload that moved the endpoint, want it cancelled with the reason", got)
		}
	})
}

func TestResend(t *testing.T) {
	inRig(t, patient(), func(t *testing.T, r *rig) {
		r.receiver.answers(func(request) (int, time.Duration) { return 400, 0 })
		r.log.append(opened, "alice", 1)
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		r.receiver.answers(nil)
		r.log.append(closed, "alice", 1)
		elapse(time.Second)
		letters, next, err := r.d.Letters(t.Context(), "demo", "main", "", 1)
		if err != nil || len(letters) != 1 || next == "" {
			t.Fatalf("got %+v, %q, %v, want one letter and more", letters, next, err)
		}
		more, end, err := r.d.Letters(t.Context(), "demo", "main", next, 10)
		if err != nil || len(more) != 1 || end != "" {
			t.Fatalf("got %+v, %q, %v, want the other", more, end, err)
		}
		alice := letters[0]
		if alice.Event.User.ID == "bob" {
			alice = more[0]
		}
		if diff := cmp.Diff(r.log.events[0].Fact, alice.Event.Fact, cmp.AllowUnexported(presence.FoldedSession{})); diff != "" || alice.Event.ID == "" {
			t.Errorf("the letter's event (-want +got):\n%s", diff)
		}
		n := len(r.receiver.requests())
		out, err := r.d.Resend(t.Context(), "demo", "main", Resend{All: true})
		if err != nil || out.Sent != 1 || !slices.Equal(out.Older, []string{alice.ID}) || r.status().Dead != 1 {
			t.Errorf("got %+v, %v, want bob's sent and alice's, which is older than what she was told of since, not", out, err)
		}
		r.receiver.answers(func(request) (int, time.Duration) { return 500, 0 })
		if out, err = r.d.Resend(t.Context(), "demo", "main", Resend{IDs: []string{alice.ID}, Force: true}); err != nil || out.Failed != 1 || r.status().Dead != 1 {
			t.Errorf("got %+v, %v, want it to fail and stay", out, err)
		}
		r.receiver.answers(nil)
		if out, err = r.d.Resend(t.Context(), "demo", "main", Resend{IDs: []string{alice.ID}, Force: true}); err != nil || out.Sent != 1 || r.status().Dead != 0 {
			t.Errorf("got %+v, %v, want it sent", out, err)
		}
		got := r.receiver.requests()[n:]
		if len(got) != 3 || !got[0].resent || got[0].events[0] != "bob 1 opened" || got[2].events[0] != "alice 1 opened" || got[1].id != got[2].id {
			t.Errorf("got %+v, want them marked, and one id for one letter", got)
		}
		for name, what := range map[string]Resend{"nothing": {}, "both": {All: true, IDs: []string{"1"}}, "no number": {IDs: []string{"x"}}, "what is gone": {IDs: []string{alice.ID}}} {
			if _, err := r.d.Resend(t.Context(), "demo", "main", what); fault.KindOf(err) != fault.FieldInvalid {
				t.Errorf("%s: got %v, want FIELD_INVALID", name, err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.d.Resend(ended, "demo", "main", Resend{All: true}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want nothing or Canceled", err)
		}
	})
}
