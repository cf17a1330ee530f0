package tracker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestJointHistories plays histories in which something was wrong once.
func TestJointHistories(t *testing.T) {
	t.Parallel()
	const ms, s = time.Millisecond, time.Second
	tests := []struct {
		name  string
		seed  uint64
		steps []jointStep
	}{
		{"a goodbye at a node that was cut off told nobody of a later last seen", 440539068, []jointStep{
			{"alone", 0, 3, 2 * s}, {"device", 3, 5, 5 * s}, {"bye", 3, 3, 50 * ms}, {"lose link", 1, 2, 5 * s}, {"bye", 0, 5, 2 * s}, {"wait", 1, 0, 11 * s}, {"wait", 2, 0, 5 * s},
		}},
		{"who was refused moved others' last seen", 1008360014, []jointStep{
			{"hold", 4, 5, 700 * ms}, {"alone", 4, 1, 11 * s}, {"device", 4, 1, 5 * s},
		}},
		{"a claim was stored for a node that was gone by then", 880054252, []jointStep{
			{"pause", 1, 5, 700 * ms}, {"lose link", 3, 3, 11 * s}, {"hold", 2, 0, 5 * s}, {"hide", 5, 0, 2 * s}, {"update", 0, 3, 50 * ms}, {"hide", 1, 1, 50 * ms},
			{"lose link", 4, 2, 50 * ms}, {"mend", 0, 1, 5 * s}, {"alone", 1, 1, 2 * s}, {"wait", 1, 2, 11 * s},
		}},
		{"a device that came back waited for its hide", 346548899, []jointStep{
			{"election", 3, 2, 11 * s}, {"election", 1, 4, 50 * ms}, {"bye", 2, 0, 2 * s}, {"hide", 0, 4, 11 * s}, {"lose link", 0, 3, 50 * ms}, {"lose link", 0, 4, 50 * ms},
			{"cut", 2, 0, 700 * ms}, {"update", 0, 3, 11 * s}, {"alone", 5, 0, 700 * ms}, {"update", 2, 4, 5 * s}, {"wait", 0, 1, 11 * s}, {"lose link", 1, 2, 50 * ms}, {"mend", 2, 1, 5 * s},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if trouble := playJoint(t, tt.seed, tt.steps); trouble != "" {
					t.Error(trouble)
				}
			})
		})
	}
}

// A node that was cut off had its devices' goodbyes; the others could only end their
// sessions by its silence, and hear of the goodbyes later: so last seen is later than
// they said, and each says so once, by a picture in which nothing else changed.
func TestAGoodbyeAtANodeThatWasCutOff(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(2 * time.Second)
		c.cut()
		wait(time.Second)
		left := presence.At(time.Now())
		done := make(chan error, 1)
		go func() { _, err := c.tr.Close(t.Context(), ref, presence.ReasonLogout); done <- err }()
		wait(9 * time.Second)
		lost := a.tr.Presence(ref.User)
		if open, _ := a.shows("cleo"); open || lost.LastSeenShown >= left {
			t.Fatalf("the others show her online %v, last seen %v", open, lost.LastSeenShown.Time())
		}
		heard := a.ear.heard()
		j.heal()
		j.agree(map[presence.UserID]bool{"cleo": false})
		wait(5 * time.Second)
		for _, m := range j.all {
			if p := m.tr.Presence(ref.User); p.LastSeenShown != left || p.LastSeen != left {
				t.Errorf("%s says last seen %v and %v, want %v", m.name, p.LastSeen.Time(), p.LastSeenShown.Time(), left.Time())
			}
		}
		p := a.tr.Presence(ref.User)
		if a.ear.heard() != heard+1 || p.Late <= lost.Version || p.LateShown != p.Late || len(p.Sessions) != 1 || p.Sessions[0].Shown != lost.Sessions[0].Shown {
			t.Errorf("a was told %d things, at last %+v; before %+v", a.ear.heard()-heard, p, lost)
		}
		if err := <-done; err == nil {
			t.Log("the goodbye was answered in time")
		}
	})
}

// A device asked a node that could not reach the log, in vain, then another one. The
// claim of the first is stored at last, and would win; but there the device is not.
func TestAnOldClaimTakesNothingAway(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := c.person("cleo")
		wait(16 * time.Second)
		c.tr.LinkLost(ref, w)
		b.store.cut.Store(true)
		if _, err := b.connectFor(ref, 2*time.Second); err == nil {
			t.Fatal("it came back without the log")
		}
		c.kill()
		wait(4 * time.Second)
		at, err := a.connect(ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		heard := a.ear.heard()
		b.store.cut.Store(false)
		wait(20 * time.Second)
		if ends := at.ended(); len(ends) != 0 {
			t.Errorf("its device was told %+v", ends)
		}
		for _, m := range j.all {
			if owner, ok := m.tr.OwnerOf(ref); !ok || owner != a.c.Self() {
				t.Errorf("%s takes %d for its owner", m.name, owner)
			}
			if open, _ := m.shows("cleo"); !open {
				t.Errorf("%s does not show it", m.name)
			}
		}
		if got := a.ear.heard() - heard; got != 0 {
			t.Errorf("a was told %d changes", got)
		}
	})
}
