package webhook

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func (l *fakeLog) erase(user presence.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erased[user] = true
}

// TestErasedLeaveNoLetters: who is erased while his last request is under way is
// in no dead letter, and whose letter is there already is listed no more.
func TestErasedLeaveNoLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(request) (int, time.Duration) { return 400, 5 * time.Second })
		r.log.append(opened, "alice", 1)
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		r.log.erase("alice")
		elapse(10 * time.Second)
		letters, _, err := r.d.Letters(t.Context(), "demo", "main", "", 10)
		if err != nil || r.status().Dead != 1 || len(letters) != 1 || letters[0].Event.User.ID != "bob" {
			t.Fatalf("got %d dead letters, of them listed %+v, %v, want bob's", r.status().Dead, letters, err)
		}
		r.log.erase("bob")
		if letters, _, err := r.d.Letters(t.Context(), "demo", "main", "", 10); err != nil || len(letters) != 0 {
			t.Errorf("got %+v, %v, want nothing of who was erased", letters, err)
		}
		n := len(r.receiver.requests())
		r.receiver.answers(nil)
		if got, err := r.d.Resend(t.Context(), "demo", "main", Resend{All: true, Force: true}); err != nil || got.Sent != 0 || len(r.receiver.requests()) != n {
			t.Errorf("resend: got %+v, %v, want nothing sent", got, err)
		}
	})
}

// TestLettersFit: an event that is too large to keep whole becomes a letter all
// the same, and does not hold its lane up for ever.
func TestLettersFit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		defer r.stop()
		synctest.Wait()
		r.receiver.answers(func(q request) (int, time.Duration) {
			if strings.HasPrefix(q.events[0], "alice") {
				return 400, 0
			}
			return 200, 0
		})
		large := func(rec *presence.Record) {
			rec.Status = &presence.Status{Text: presence.Value{Kind: presence.KindText, Text: strings.Repeat("\x01", presence.MaxStatusBytes/2)}}
		}
		for i := range 60 {
			r.log.append(opened, "alice", byte(i+1), large)
		}
		elapse(time.Second)
		r.log.append(opened, "alice", 99, large, func(rec *presence.Record) { rec.Policy = presence.Single })
		elapse(time.Hour)
		r.log.append(opened, "bob", 1)
		elapse(time.Second)
		events := r.receiver.events()
		if last := events[len(events)-1]; last != "bob 1 opened" || r.status().Waiting != 0 {
			t.Fatalf("the last that came was %q, and %d wait: %s", last, r.status().Waiting, r.status().LastError)
		}
		letters, _, err := r.d.Letters(t.Context(), "demo", "main", "", 1000)
		if err != nil || len(letters) != 121 {
			t.Fatalf("got %d letters, %v, want 61 openings and 60 closings", len(letters), err)
		}
		if e := letters[120].Event; e.Kind != opened || len(e.Replaces) != 60 || e.Session.Status == nil {
			t.Errorf("the largest: got %v that replaces %d, with status %v", e.Kind, len(e.Replaces), e.Session.Status)
		}
	})
}

// TestOldEventsTakeNoNewOnesAlong: what happened just now is not given up because
// it waited together with what is too old.
func TestOldEventsTakeNoNewOnesAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, patient(), oneLane)
		synctest.Wait()
		r.receiver.answers(func(request) (int, time.Duration) { return 503, 0 })
		r.log.append(opened, "alice", 1)
		elapse(7*24*time.Hour - 10*time.Minute)
		r.stop()
		r.log.append(opened, "bob", 1)
		r.start()
		defer r.stop()
		elapse(time.Hour)
		r.receiver.answers(nil)
		elapse(10 * time.Minute)
		live, _ := split(r.receiver.requests()[len(r.receiver.requests())-1:])
		if s := r.status(); s.Dead > 1 || s.Waiting != 0 || live[len(live)-1] != "bob 1 opened" {
			t.Errorf("got %d dead letters, at last %q; want alice's at most, and bob told", s.Dead, live)
		}
	})
}
