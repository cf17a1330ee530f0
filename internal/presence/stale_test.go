package presence

import "testing"

// Who is invisible is as stale as who left; who is unknown may be both.
func TestStaleness(t *testing.T) {
	t.Parallel()
	open := []*View{{Status: &Status{}, Shown: Face{Opened: 1}, True: Face{Opened: 1}}}
	for _, c := range []struct {
		name    string
		p       Presence
		since   Time
		unknown bool
	}{
		{"fresh", Presence{Version: 1, Sessions: open}, 0, false},
		{"open", Presence{Version: 1, Sessions: open, Stale: 7}, 7, false},
		{"left", Presence{Version: 1, Stale: 7}, 7, false},
		{"nothing known", Presence{Stale: 7}, 7, true},
		{"nobody", Presence{}, 0, false},
	} {
		if since, unknown := c.p.Staleness(); since != c.since || unknown != c.unknown {
			t.Errorf("%s: got %v, %v, want %v, %v", c.name, since, unknown, c.since, c.unknown)
		}
	}
}
