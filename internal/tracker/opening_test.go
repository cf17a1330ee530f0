package tracker

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestOpeningRefusedByTheStore(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		r.mem.Refuse(errFull)
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.LogUnavailable)
		if p := r.tr.Presence(bob); p.Version != 0 || r.ear.heard() != 0 {
			t.Errorf("a refused opening: picture %+v, %d calls of the listener, want nothing", p, r.ear.heard())
		}
		r.mem.Recover()
		if _, err := r.connect(ref, nil); err != nil {
			t.Errorf("Connect again: got %v, want no error", err)
		}
	})
}

// An opening that the store answers after its caller was refused must not leave
// a session that nobody holds: it was never visible, and the log closes it.
func TestOpeningHeldTooLong(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		release := r.mem.Hold()
		began := time.Now()
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.LogUnavailable)
		if d := time.Since(began); d != storeWait {
			t.Errorf("refused after %v, want %v", d, storeWait)
		}
		_, err = r.connect(ref, nil)
		wantKind(t, "Connect behind it", err, fault.LogUnavailable)
		if d := time.Since(began); d != 2*storeWait {
			t.Errorf("the second was refused after %v, want %v", d-storeWait, storeWait)
		}
		release()
		wait(time.Minute)
		f, facts := r.folded(bob)
		if truth, _ := f.Available(); truth || len(facts) != 2 || f.LastSeenShown != 0 {
			t.Errorf("the log: available %v, %d facts, last seen for others %v; want it opened and closed and not seen", truth, len(facts), f.LastSeenShown)
		}
		if r.ear.heard() != 0 || r.ear.goneOf(ref.Session) != 1 {
			t.Errorf("listener: %d pictures, gone %d times; want none, once", r.ear.heard(), r.ear.goneOf(ref.Session))
		}
		if _, err := r.connect(ref, nil); err != errGone {
			t.Errorf("Connect after all: got %v, want %v", err, errGone)
		}
	})
}

// One that is still waiting for its turn when its caller is refused is not stored at
// all: the device may have come elsewhere by then.
func TestOpeningRefusedWhileItWaits(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		first, ref := r.make(presence.Device{}), r.make(presence.Device{})
		release := r.mem.Hold()
		go func() { _, _ = r.connect(first, nil) }()
		synctest.Wait() // it is at the store
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect behind another's", err, fault.LogUnavailable)
		release()
		wait(time.Minute)
		for _, rec := range r.mem.Records() {
			if rec.Session == ref.Session {
				t.Errorf("the log has %v of a session that was refused before its turn", rec.Kind)
			}
		}
		if len(r.mem.Records()) == 0 {
			t.Error("the one at the store was not stored")
		}
	})
}

func TestOpeningWithUnknownResult(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, r *rig) {
				ref := r.make(presence.Device{})
				r.mem.Lose(2, stored)
				if _, err := r.connect(ref, nil); err != nil {
					t.Fatalf("Connect: got %v, want no error: it is tried again", err)
				}
				if n := len(r.mem.Records()); n != 1 {
					t.Errorf("records: got %d, want 1", n)
				}
				if got := sees(r.tr.Presence(bob), false); !slices.Equal(got, []string{"online"}) {
					t.Errorf("others see %q, want one session", got)
				}
			})
		})
	}
}

// A reopening that was refused leaves the session as it was: closed, and good
// for another try at a higher epoch.
func TestReopeningHeldTooLong(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		r.tr.LinkLost(ref, w)
		wait(7 * time.Second)
		before := r.tr.Presence(bob)
		release := r.mem.Hold()
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.LogUnavailable)
		release()
		wait(time.Second)
		p, want := *r.tr.Presence(bob), *before
		if len(p.Absent) != 1 || p.Absent[0].At <= before.Absent[0].At {
			t.Errorf("absent: got %v, want later than %v, as the log has an opening that was taken back", p.Absent, before.Absent)
		}
		if p.Absent, want.Absent = nil, nil; !reflect.DeepEqual(p, want) {
			t.Errorf("picture: got %+v, want it untouched: %+v", p, want)
		}
		if f, _ := r.folded(bob); f.LastSeen != before.LastSeen || f.LastSeenShown != before.LastSeenShown {
			t.Errorf("last seen in the log: got %v and %v, want %v and %v", f.LastSeen, f.LastSeenShown, before.LastSeen, before.LastSeenShown)
		}
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatalf("Connect again: got %v, want no error", err)
		}
		if f, _ := r.folded(bob); f.Session(ref.Session).Epoch.Counter != 2 || f.Session(ref.Session).Phase != presence.FoldOpen {
			t.Errorf("the log: got %+v, want it open at counter 2", f.Session(ref.Session))
		}
	})
}

// A restored session whose move was refused waits on: nobody sees a change.
func TestMoveHeldTooLong(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(2 * time.Second)
		r.crash()
		r.start()
		release := r.mem.Hold()
		_, err := r.connect(ref, nil)
		wantKind(t, "Connect", err, fault.LogUnavailable)
		release()
		wait(time.Second)
		if _, facts := r.folded(bob); r.ear.heard() != 0 || r.phase(ref) != presence.PhaseLost || len(facts) != 2 {
			t.Errorf("after it: %d pictures, phase %v, %d facts; want none, lost, opened and moved", r.ear.heard(), r.phase(ref), len(facts))
		}
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatalf("Connect again: got %v, want no error", err)
		}
		wait(40 * time.Second) // beyond restart_grace; the link gives no sign of life
		if _, facts := r.folded(bob); facts[len(facts)-1].Reason != presence.ReasonTimedOut {
			t.Errorf("last fact: got %v, want timed out", facts[len(facts)-1].Reason)
		}
	})
}

// While a restored session is on its way back, another opening replaces it: the
// log decides, and the returning device is told that its session is gone.
func TestReplacedWhileItMoves(t *testing.T) {
	single := func(c *Config) { c.Policies[app] = Policy{MultiDevice: presence.Single} }
	in(t, single, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(2 * time.Second)
		r.crash()
		r.start()
		other := r.make(presence.Device{})
		release := r.mem.Hold()
		var first, second error
		var all sync.WaitGroup
		all.Go(func() { _, first = r.connect(other, nil) })
		synctest.Wait()
		all.Go(func() { _, second = r.connect(ref, nil) })
		synctest.Wait()
		release()
		all.Wait()
		if first != nil || second != errGone {
			t.Errorf("the new session: %v, the returning one: %v; want no error, %v", first, second, errGone)
		}
		wait(time.Second)
		if got := sees(r.tr.Presence(bob), false); len(got) != 1 || r.phase(ref) != presence.PhaseClosed {
			t.Errorf("others see %q, the replaced one is %v; want one session, closed", got, r.phase(ref))
		}
		if r.ear.goneOf(ref.Session) != 1 {
			t.Errorf("gone: got %d times, want once", r.ear.goneOf(ref.Session))
		}
	})
}

func TestTwoOpeningsUnderSingle(t *testing.T) {
	single := func(c *Config) { c.Policies[app] = Policy{MultiDevice: presence.Single} }
	in(t, single, func(t *testing.T, r *rig) {
		refs := []Ref{r.make(presence.Device{}), r.make(presence.Device{}), r.make(presence.Device{})}
		release := r.mem.Hold()
		var all sync.WaitGroup
		for _, ref := range refs {
			all.Go(func() {
				if _, err := r.connect(ref, nil); err != nil {
					t.Errorf("Connect: %v", err)
				}
			})
		}
		synctest.Wait()
		release()
		all.Wait()
		wait(time.Second)
		if got := sees(r.tr.Presence(bob), false); len(got) != 1 {
			t.Errorf("others see %q, want the one that the log opened last", got)
		}
		f, _ := r.folded(bob)
		for _, ref := range refs {
			open := r.phase(ref) == presence.PhaseLive
			if logged := f.Session(ref.Session).Phase == presence.FoldOpen; open != logged {
				t.Errorf("session %v: open %v in the table, %v in the log", ref.Session, open, logged)
			}
			if want := 1; !open && r.ear.goneOf(ref.Session) != want {
				t.Errorf("session %v: gone %d times, want %d", ref.Session, r.ear.goneOf(ref.Session), want)
			}
		}
	})
}

func TestConnectTwiceAtOnce(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		release := r.mem.Hold()
		var wires [2]*wire
		var all sync.WaitGroup
		for i := range wires {
			all.Go(func() {
				var err error
				if wires[i], err = r.connect(ref, nil); err != nil {
					t.Errorf("Connect: %v", err)
				}
			})
			synctest.Wait()
		}
		release()
		all.Wait()
		if e := wires[0].ended(); len(e) != 1 || e[0].Cause != CauseReplaced || len(wires[1].ended()) != 0 {
			t.Errorf("ends: got %v and %v, want the first replaced", e, wires[1].ended())
		}
		if n := len(r.mem.Records()); n != 1 {
			t.Errorf("records: got %d, want 1: the second is a resume", n)
		}
		r.tr.LinkLost(ref, wires[0]) // what is no longer its link does not matter
		wait(10 * time.Second)
		if r.phase(ref) != presence.PhaseLive {
			t.Errorf("phase: got %v, want live", r.phase(ref))
		}
	})
}

func TestCloseWhileItOpens(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		release := r.mem.Hold()
		var connected, closed error
		var w *wire
		var all sync.WaitGroup
		all.Go(func() { w, connected = r.connect(ref, nil) })
		synctest.Wait()
		all.Go(func() { _, closed = r.tr.Close(context.Background(), ref, presence.ReasonLogout) })
		synctest.Wait()
		release()
		all.Wait()
		if connected != nil || closed != nil {
			t.Errorf("Connect: %v, Close: %v; want no errors", connected, closed)
		}
		if e := w.ended(); len(e) != 1 || e[0] != (End{Cause: CauseClosed, Reason: presence.ReasonLogout}) {
			t.Errorf("the link's end: got %v, want closed by logout", e)
		}
		if f, _ := r.folded(bob); f.Session(ref.Session).Phase != presence.FoldClosed {
			t.Errorf("the log: got %+v, want it closed", f.Session(ref.Session))
		}
	})
}

func TestConnectWhoseCallerGoes(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		release := r.mem.Hold()
		ctx, cancel := context.WithCancel(context.Background())
		var err error
		var all sync.WaitGroup
		all.Go(func() { _, err = r.tr.Connect(ctx, ref, ConnectParams{Link: &wire{}}) })
		synctest.Wait()
		cancel()
		all.Wait()
		wantKind(t, "Connect", err, fault.LogUnavailable)
		release()
		wait(time.Second)
		if f, _ := r.folded(bob); r.ear.heard() != 0 || f.Session(ref.Session).Phase != presence.FoldClosed {
			t.Errorf("after it: %d pictures, log %+v; want none, closed", r.ear.heard(), f.Session(ref.Session))
		}
	})
}

// Who is told that his session cannot be resumed is told so once its end is on
// disk: a second crash does not bring it back.
func TestDismissedIsStored(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref := r.make(presence.Device{})
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		r.crash() // before its first note
		r.start()
		release := r.mem.Hold()
		defer release()
		answers := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := r.connect(ref, nil)
				answers <- err
			}()
		}
		wait(storeWait / 2)
		if len(answers) > 0 {
			t.Fatalf("answered %v before the end is stored", <-answers)
		}
		if got := sees(r.tr.Presence(bob), false); len(got) != 0 {
			t.Errorf("others see %q meanwhile, want that it closes at once", got)
		}
		release()
		for range 2 {
			if err := <-answers; err != errGone {
				t.Errorf("Connect: got %v, want %v", err, errGone)
			}
		}
		r.crash()
		r.start()
		if got := sees(r.tr.Presence(bob), false); len(got) != 0 {
			t.Errorf("after a second crash others see %q, want nothing", got)
		}
	})
}
