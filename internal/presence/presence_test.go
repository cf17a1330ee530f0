package presence

import "testing"

// A picture differs for the user's own sessions and for others.
func TestPresenceHasTwoSides(t *testing.T) {
	t.Parallel()
	both := Face{Opened: 1}
	gone := Face{Opened: 1, Closed: 3}
	p := &Presence{LastSeen: 20, LastSeenShown: 10, Sessions: []*View{
		{Status: &Status{Show: Away}, True: both, Shown: both},
		{Status: &Status{Show: Busy}, True: both, Shown: gone}, // went invisible
		{Status: &Status{Show: Online}, True: gone, Shown: gone},
		{Status: &Status{Show: Online}, True: both}, // opened invisible
	}}
	for _, c := range []struct {
		name string
		own  bool
		want Availability
		seen Time
	}{{"own sessions", true, AvailableBusy, 20}, {"others", false, AvailableAway, 10}} {
		if got, seen := p.Available(c.own), p.Seen(c.own); got != c.want || seen != c.seen {
			t.Errorf("%s: got %v, seen %d; want %v, seen %d", c.name, got, seen, c.want, c.seen)
		}
	}
	silent := &Presence{Sessions: []*View{{True: both}}}
	if got := silent.Available(true); got != AvailableOnline {
		t.Errorf("a session that said nothing: got %v, want online", got)
	}
	if got := (&Presence{}).Available(true); got != Unavailable {
		t.Errorf("no session: got %v, want unavailable", got)
	}
}

func TestShownRevisionGrowsOverEpochs(t *testing.T) {
	t.Parallel()
	rising := []uint64{
		ShownRevision(Epoch{0, 9}, 1), ShownRevision(Epoch{0, 9}, 2), ShownRevision(Epoch{1, 2}, 0), ShownRevision(Epoch{1, 2}, 1<<32-1), ShownRevision(Epoch{2, 1}, 1),
	}
	for i := 1; i < len(rising); i++ {
		if rising[i] <= rising[i-1] {
			t.Errorf("number %d: got %d after %d, want it higher", i, rising[i], rising[i-1])
		}
	}
	if got := ShownRevision(Epoch{1<<21 - 1, 1}, 1<<32-1); got >= 1<<53 {
		t.Errorf("after two million resumes: got %d, which JavaScript does not read exactly", got)
	}
}
