package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Where a user went away without logging out is known for seven days, over a
// crash and over a stop, and pictures have it.
func TestAbsenceSurvives(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{Platform: "ios"})
		r.tr.LinkLost(ref, w)
		wait(7 * time.Second)
		absent := func() []presence.Absence { return r.tr.Presence(bob).Absent }
		want := absent()
		if len(want) != 1 || want[0].Platform != "ios" || time.Since(want[0].At.Time()) > 2*time.Second {
			t.Fatalf("got %v, want one, just now", want)
		}
		for range 2 {
			r.crash() // within the time of a checkpoint: the log has it
			r.start()
			if got := absent(); len(got) != 1 || got[0] != want[0] {
				t.Fatalf("after a crash: got %v, want %v", got, want)
			}
		}
		wait(10 * time.Minute) // the resume window is over, and shards were written
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.start()
		if got := absent(); len(got) != 1 || got[0] != want[0] {
			t.Fatalf("after ten minutes and a stop: got %v, want %v", got, want)
		}
		if _, err := r.connect(ref, nil); err == nil {
			t.Fatal("the session came back after ten minutes")
		}
		ref, _ = r.open(presence.Device{Platform: "ios"})
		if got := absent(); got != nil {
			t.Errorf("he is back: got %v, want none", got)
		}
		if _, err := r.tr.Close(t.Context(), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if got := absent(); got != nil {
			t.Errorf("he logged out: got %v, want none", got)
		}
	})
}
