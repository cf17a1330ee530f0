package tracker

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// endings are all ways in which a session ends.
var endings = []struct {
	name      string
	resumable bool
	reason    presence.Reason
	end       func(r *rig, ref Ref, w *wire)
}{
	{"logout", false, presence.ReasonLogout, func(r *rig, ref Ref, _ *wire) {
		r.tr.Close(context.Background(), ref, presence.ReasonLogout)
	}},
	{"left", false, presence.ReasonLeft, func(r *rig, ref Ref, _ *wire) { r.tr.Close(context.Background(), ref, presence.ReasonLeft) }},
	{"dropped while lost", false, presence.ReasonDropped, func(r *rig, ref Ref, w *wire) {
		r.tr.LinkLost(ref, w)
		r.tr.Close(context.Background(), ref, presence.ReasonDropped)
	}},
	{"link lost", true, presence.ReasonLinkLost, func(r *rig, ref Ref, w *wire) { r.tr.LinkLost(ref, w); wait(7 * time.Second) }},
	{"timed out", true, presence.ReasonTimedOut, func(*rig, Ref, *wire) { wait(36 * time.Second) }},
	{"replaced", false, presence.ReasonReplaced, func(r *rig, _ Ref, _ *wire) { r.open(presence.Device{ID: "d1"}) }},
}

func TestEndings(t *testing.T) {
	t.Parallel()
	for _, c := range endings {
		t.Run(c.name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, r *rig) {
				ref, w := r.open(presence.Device{ID: "d1"})
				c.end(r, ref, w)
				synctest.Wait()
				face := r.tr.Presence(bob).Sessions[0].Shown
				if face.Open() || face.Reason != c.reason {
					t.Errorf("what others see: got %+v, want it closed, %v", face, c.reason)
				}
				if now, want := r.ear.goneOf(ref.Session), map[bool]int{false: 1, true: 0}[c.resumable]; now != want {
					t.Errorf("gone at the close: %d times, want %d", now, want)
				}
				if alive := r.tr.Alive(ref); alive != c.resumable {
					t.Errorf("Alive: got %v, want %v", alive, c.resumable)
				}
				_, err := r.tr.CheckResume(t.Context(), ref)
				if (err == nil) != c.resumable {
					t.Errorf("CheckResume: got %v, want resumable %v", err, c.resumable)
				}
				if _, err := r.tr.Check(t.Context(), ref); err != errGone {
					t.Errorf("Check: got %v, want %v", err, errGone)
				}
				wait(2*time.Minute + time.Second)
				if n := r.ear.goneOf(ref.Session); n != 1 || r.tr.Alive(ref) {
					t.Errorf("gone in the end: %d times, alive %v; want once, no", n, r.tr.Alive(ref))
				}
				if _, facts := r.folded(bob); facts[1].Reason != c.reason {
					t.Errorf("the log's second fact: got %v, want %v", facts[1].Reason, c.reason)
				}
			})
		})
	}
}

func TestClosedSessionsDoNothing(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		at, err := r.tr.Close(t.Context(), ref, presence.ReasonLogout)
		if err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		again, err := r.tr.Close(t.Context(), ref, presence.ReasonLogout)
		if again != at || err != nil {
			t.Errorf("Close again: got %v, %v, want the first's time %v", again, err, at)
		}
		_, err = r.update(ref, presence.Status{Show: presence.Busy})
		wantKind(t, "Update", err, fault.SessionGone)
		_, err = r.tr.Heartbeat(t.Context(), ref)
		wantKind(t, "Heartbeat", err, fault.SessionGone)
		_, err = r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.SessionGone)
		unknown := Ref{bob, presence.NewSessionID()}
		if at, err := r.tr.Close(t.Context(), unknown, presence.ReasonLogout); at == 0 || err != nil {
			t.Errorf("Close of an unknown session: got %v, %v, want now", at, err)
		}
	})
}

// Whoever says goodbye after the link was given up is gone at once.
func TestCloseWithinTheResumeWindow(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		r.tr.LinkLost(ref, w)
		wait(7 * time.Second)
		if _, err := r.tr.Close(t.Context(), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.SessionGone)
		wait(3 * time.Minute)
		if n := r.ear.goneOf(ref.Session); n != 1 {
			t.Errorf("gone: %d times, want once", n)
		}
	})
}

// What was held back for a moment when a session closes must not silence it
// when it opens anew.
func TestBurstBeforeAClose(t *testing.T) {
	short := func(c *Config) { c.Policies[app] = Policy{Grace: 50 * time.Millisecond} }
	in(t, short, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		r.tr.LinkLost(ref, w)
		for i := range coalesceAfter + 5 {
			if _, err := r.update(ref, presence.Status{Text: presence.Value{Kind: presence.KindText, Text: strconv.Itoa(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		wait(time.Second)
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := r.ear.heard()
		if _, err := r.update(ref, presence.Status{Show: presence.Busy}); err != nil {
			t.Fatal(err)
		}
		if r.ear.heard() != before+1 {
			t.Errorf("an update after it: %d calls of the listener, want 1", r.ear.heard()-before)
		}
	})
}

func TestBurst(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(time.Second)
		before, refused := r.ear.heard(), 0
		for i := range refuseAfter + 20 {
			_, err := r.update(ref, presence.Status{Text: presence.Value{Kind: presence.KindText, Text: strconv.Itoa(i)}})
			if err != nil {
				wantKind(t, "Update", err, fault.RateLimited)
				refused++
			}
		}
		if told := r.ear.heard() - before; told != coalesceAfter || refused != 20 {
			t.Errorf("in one moment: %d told, %d refused; want %d and 20", told, refused, coalesceAfter)
		}
		wait(coalesceEvery + 100*time.Millisecond)
		if told := r.ear.heard() - before; told != coalesceAfter+1 {
			t.Errorf("a moment later: %d told, want %d", told, coalesceAfter+1)
		}
		if got := r.ear.newest[bob].Sessions[0].Status.Text.Text; got != strconv.Itoa(refuseAfter-1) {
			t.Errorf("the newest told is update %s, want %d", got, refuseAfter-1)
		}
		wait(time.Second)
		if _, err := r.update(ref, presence.Status{}); err != nil {
			t.Errorf("a second later: got %v, want no error", err)
		}
	})
}

func TestHeartbeatBinds(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		reading := func(d time.Duration) {
			for range int(d / time.Second) {
				w.read(r)
				wait(time.Second)
			}
		}
		reading(100 * time.Second)
		if r.phase(ref) != presence.PhaseLive {
			t.Fatalf("phase: got %v, want live while bytes come", r.phase(ref))
		}
		h, err := r.tr.Heartbeat(t.Context(), ref)
		if err != nil || !h.Attached || h.Within != Interval(35*time.Second) {
			t.Errorf("Heartbeat: got %+v, %v", h, err)
		}
		reading(34 * time.Second)
		if r.phase(ref) != presence.PhaseLive {
			t.Errorf("34 s after its heartbeat: got %v, want live", r.phase(ref))
		}
		reading(2 * time.Second)
		if r.phase(ref) != presence.PhaseClosed {
			t.Errorf("36 s after its heartbeat: got %v, want closed although bytes come", r.phase(ref))
		}
	})
}

// A heartbeat of a lost session makes it live, without a stream.
func TestHeartbeatWithoutStream(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		r.tr.LinkLost(ref, w)
		h, err := r.tr.Heartbeat(t.Context(), ref)
		if err != nil || h.Attached {
			t.Errorf("Heartbeat: got %+v, %v, want no stream attached", h, err)
		}
		wait(34 * time.Second)
		if r.phase(ref) != presence.PhaseLive {
			t.Errorf("34 s later: got %v, want live", r.phase(ref))
		}
		wait(2 * time.Second)
		if p := r.tr.Presence(bob); p.Sessions[0].True.Reason != presence.ReasonTimedOut {
			t.Errorf("36 s later: got %v, want timed out", p.Sessions[0].True.Reason)
		}
	})
}

func TestSharedLinkProvesNothing(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		w := &wire{shared: true}
		if _, err := r.tr.Connect(t.Context(), ref, ConnectParams{Link: w}); err != nil {
			t.Fatal(err)
		}
		for range 36 {
			w.read(r)
			wait(time.Second)
		}
		if r.phase(ref) != presence.PhaseClosed {
			t.Errorf("phase: got %v, want closed", r.phase(ref))
		}
	})
}

// Every call on a lost session gives it its grace anew, as long as its time-out
// is not over.
func TestCallsKeepALostSession(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		r.tr.LinkLost(ref, w)
		for i := range 20 {
			wait(5 * time.Second)
			var err error
			if i%2 == 0 {
				_, err = r.tr.Check(t.Context(), ref)
			} else {
				_, err = r.update(ref, presence.Status{Text: presence.Value{Kind: presence.KindText, Text: strconv.Itoa(i)}})
			}
			if err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		wait(7 * time.Second)
		if r.phase(ref) != presence.PhaseClosed {
			t.Errorf("7 s after the last: got %v, want closed", r.phase(ref))
		}
	})
}

func TestDrain(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		live, w := r.open(presence.Device{})
		lost, gone := r.open(presence.Device{})
		r.tr.LinkLost(lost, gone)
		made := r.make(presence.Device{})
		r.tr.Drain(func() End { return End{Cause: CauseDraining, RetryAfter: time.Second} })
		if e := w.ended(); len(e) != 1 || e[0] != (End{Cause: CauseDraining, RetryAfter: time.Second}) {
			t.Errorf("the link's end: got %v, want draining", e)
		}
		r.tr.LinkLost(live, w)
		_, err := r.tr.Make(t.Context(), MakeParams{User: bob})
		wantKind(t, "Make", err, fault.Draining)
		_, err = r.connect(made, nil)
		wantKind(t, "Connect", err, fault.Draining)
		before := r.ear.heard()
		wait(10 * time.Minute)
		if got := sees(r.tr.Presence(bob), false); len(got) != 2 || r.ear.heard() != before {
			t.Errorf("ten minutes later others see %q and heard %d, want both sessions, nothing", got, r.ear.heard()-before)
		}
	})
}

// A close is remembered longer than it may be resumed, for watchers that were
// told of it in a message that they lost; then it is forgotten on both sides.
func TestClosesAreRememberedForLateWatchers(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		left, w := r.open(presence.Device{ID: "a"})
		hid, _ := r.open(presence.Device{ID: "b"})
		if _, err := r.update(hid, presence.Status{Invisible: true}); err != nil {
			t.Fatal(err)
		}
		r.tr.LinkLost(left, w)
		wait(7*time.Second + defaults.ResumeWindow)
		_, err := r.connect(left, nil)
		wantKind(t, "Connect after the resume window", err, fault.SessionGone)
		if n := r.ear.goneOf(left.Session); n != 1 {
			t.Errorf("gone after the resume window: %d times, want once", n)
		}
		p := r.tr.Presence(bob)
		if p.Floor != 0 || p.FloorShown != 0 || len(p.Sessions) != 2 || p.Sessions[1].Shown.Closed == 0 {
			t.Errorf("after the resume window: %d sessions, floors %d and %d; want both remembered", len(p.Sessions), p.Floor, p.FloorShown)
		}
		policy := r.tr.Policy(bob.App)
		wait(policy.memory() + time.Second)
		p = r.tr.Presence(bob)
		if len(p.Sessions) != 1 || p.Sessions[0].Shown.Opened != 0 || p.Floor == 0 || p.FloorShown < p.Floor-1 {
			t.Errorf("later: %d sessions, floors %d and %d; want only the hidden one, never shown", len(p.Sessions), p.Floor, p.FloorShown)
		}
		if n := r.ear.goneOf(left.Session); n != 1 {
			t.Errorf("gone in the end: %d times, want once", n)
		}
	})
}
