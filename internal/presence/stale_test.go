package presence

import "testing"

// Who is invisible is as little stale as who left; who is unknown may be.
func TestStaleAs(t *testing.T) {
	t.Parallel()
	open := []*View{{Status: &Status{}, Shown: Face{Opened: 1}, True: Face{Opened: 1}}}
	hidden := []*View{{Status: &Status{}, Shown: Face{Opened: 1, Closed: 1}, True: Face{Opened: 1}}}
	for _, c := range []struct {
		name    string
		p       Presence
		truth   bool
		since   Time
		unknown bool
	}{
		{"fresh", Presence{Version: 1, Sessions: open}, false, 0, false},
		{"open", Presence{Version: 1, Sessions: open, Stale: 7}, false, 7, false},
		{"left", Presence{Version: 1, Stale: 7}, false, 0, false},
		{"invisible to others", Presence{Version: 1, Sessions: hidden, Stale: 7}, false, 0, false},
		{"invisible in truth", Presence{Version: 1, Sessions: hidden, Stale: 7}, true, 7, false},
		{"nothing known", Presence{Stale: 7}, false, 7, true},
		{"nobody", Presence{}, false, 0, false},
	} {
		if since, unknown := c.p.StaleAs(c.truth); since != c.since || unknown != c.unknown {
			t.Errorf("%s: got %v, %v, want %v, %v", c.name, since, unknown, c.since, c.unknown)
		}
	}
}
