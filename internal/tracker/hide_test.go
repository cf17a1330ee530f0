package tracker

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A close, by word or by time, does not wait for a hide that the store holds up.
func TestEndsWhileItHides(t *testing.T) {
	t.Parallel()
	for _, c := range endings[:5] {
		t.Run(c.name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, r *rig) {
				ref, w := r.open(presence.Device{})
				release := r.mem.Hold()
				var hide error
				var all sync.WaitGroup
				all.Go(func() { _, hide = r.update(ref, presence.Status{Invisible: true}) })
				synctest.Wait()
				all.Go(func() { c.end(r, ref, w) })
				wait(40 * time.Second)
				if got := sees(r.tr.Presence(bob), true); len(got) != 0 {
					t.Errorf("while the store holds: his devices see %q, want nothing", got)
				}
				release()
				all.Wait()
				wantKind(t, "the hide", hide, fault.LogUnavailable)
				wait(time.Second)
				f, facts := r.folded(bob)
				p := r.tr.Presence(bob)
				if f.LastSeen != p.LastSeen || f.LastSeenShown != p.LastSeenShown && f.LastSeenShown != facts[1].Time {
					t.Errorf("last seen: log %v and %v, table %v and %v", f.LastSeen, f.LastSeenShown, p.LastSeen, p.LastSeenShown)
				}
				if len(facts) != 3 || facts[2].Reason != c.reason {
					t.Errorf("facts: got %d, the last %v; want opened, hidden, %v", len(facts), facts[len(facts)-1].Reason, c.reason)
				}
			})
		})
	}
}

// Replaced while its own hide is on its way: the hide changes nothing.
func TestReplacedWhileItHides(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{ID: "d1"})
		next := r.make(presence.Device{ID: "d1"})
		release := r.mem.Hold()
		var hide, connect error
		var all sync.WaitGroup
		all.Go(func() { _, connect = r.connect(next, nil) })
		synctest.Wait()
		all.Go(func() { _, hide = r.update(ref, presence.Status{Invisible: true}) })
		synctest.Wait()
		release()
		all.Wait()
		if connect != nil || hide != errGone {
			t.Errorf("Connect: %v, the hide: %v; want no error, %v", connect, hide, errGone)
		}
		if got := sees(r.tr.Presence(bob), false); !slices.Equal(got, []string{"online"}) {
			t.Errorf("others see %q, want the new session", got)
		}
	})
}

// What does not need the store goes on while a hide waits for it.
func TestCallsWhileItHides(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		release := r.mem.Hold()
		defer release()
		go r.update(ref, presence.Status{Invisible: true})
		synctest.Wait()
		began := time.Now()
		if _, err := r.tr.Heartbeat(t.Context(), ref); err != nil {
			t.Errorf("Heartbeat: %v", err)
		}
		if _, err := r.tr.Check(t.Context(), ref); err != nil {
			t.Errorf("Check: %v", err)
		}
		r.tr.LinkLost(ref, w)
		if d := time.Since(began); d != 0 {
			t.Errorf("they took %v, want no time", d)
		}
		_, err := r.update(ref, presence.Status{Show: presence.Busy})
		wantKind(t, "Update behind it", err, fault.LogUnavailable)
		if d := time.Since(began); d != storeWait {
			t.Errorf("an update behind it was refused after %v, want %v", d, storeWait)
		}
	})
}

// A refused hide changes nothing; one that is stored late counts all the same,
// because the log has it.
func TestHideRefusedAndLate(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		r.mem.Refuse(errFull)
		_, err := r.update(ref, presence.Status{Invisible: true})
		wantKind(t, "Update", err, fault.LogUnavailable)
		if got := sees(r.tr.Presence(bob), false); len(got) != 1 {
			t.Errorf("others see %q after a refused hide, want the session", got)
		}
		r.mem.Recover()
		release := r.mem.Hold()
		_, err = r.update(ref, presence.Status{Invisible: true})
		wantKind(t, "Update", err, fault.LogUnavailable)
		release()
		wait(time.Second)
		if got := sees(r.tr.Presence(bob), false); len(got) != 0 {
			t.Errorf("others see %q after a late hide, want nothing", got)
		}
	})
}
