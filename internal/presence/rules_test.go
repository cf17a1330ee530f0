package presence

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAvailabilityAddsUp(t *testing.T) {
	t.Parallel()
	const none = Unavailable
	// Rows: what one side is; columns: what the other is. Written out on purpose:
	// this is the one rule every door shows.
	for _, c := range []struct{ a, b, want Availability }{
		{none, none, none}, {none, AvailableAway, AvailableAway}, {none, AvailableOnline, AvailableOnline}, {none, AvailableBusy, AvailableBusy},
		{AvailableAway, none, AvailableAway}, {AvailableAway, AvailableAway, AvailableAway},
		{AvailableAway, AvailableOnline, AvailableOnline}, {AvailableAway, AvailableBusy, AvailableBusy},
		{AvailableOnline, none, AvailableOnline}, {AvailableOnline, AvailableAway, AvailableOnline},
		{AvailableOnline, AvailableOnline, AvailableOnline}, {AvailableOnline, AvailableBusy, AvailableBusy},
		{AvailableBusy, none, AvailableBusy}, {AvailableBusy, AvailableAway, AvailableBusy},
		{AvailableBusy, AvailableOnline, AvailableBusy}, {AvailableBusy, AvailableBusy, AvailableBusy},
	} {
		if got := addUp[c.a][c.b]; got != c.want {
			t.Errorf("%v and %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestAvailabilityWith(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shows []Show
		want  Availability
	}{
		{nil, Unavailable},
		{[]Show{Online}, AvailableOnline},
		{[]Show{Away}, AvailableAway},
		{[]Show{Busy}, AvailableBusy},
		{[]Show{Away, Away, Away}, AvailableAway},
		{[]Show{Away, Online, Away}, AvailableOnline},
		{[]Show{Online, Busy, Away}, AvailableBusy},
		{[]Show{Show(99)}, AvailableOnline},
	} {
		got := Unavailable
		for _, s := range c.shows {
			got = got.With(s)
		}
		if got != c.want {
			t.Errorf("%v: got %v, want %v", c.shows, got, c.want)
		}
	}
}

// No order and no grouping of the sessions may matter.
func TestAvailabilityIsCommutativeAndAssociative(t *testing.T) {
	t.Parallel()
	all := []Availability{Unavailable, AvailableAway, AvailableOnline, AvailableBusy}
	for _, a := range all {
		for _, b := range all {
			if addUp[a][b] != addUp[b][a] {
				t.Errorf("%v and %v: %v one way, %v the other", a, b, addUp[a][b], addUp[b][a])
			}
			for _, c := range all {
				if left, right := addUp[addUp[a][b]][c], addUp[a][addUp[b][c]]; left != right {
					t.Errorf("%v, %v, %v: (ab)c is %v, a(bc) is %v", a, b, c, left, right)
				}
			}
		}
	}
}

func TestMultiDeviceReplaces(t *testing.T) {
	t.Parallel()
	ios, iosToo, web := Device{Platform: "ios", ID: "1"}, Device{Platform: "ios", ID: "2"}, Device{Platform: "web", ID: "3"}
	moved := Device{Platform: "android", ID: "1"} // the same device under another platform
	nameless := Device{Platform: "web"}
	for _, c := range []struct {
		name   string
		policy MultiDevice
		d, o   Device
		want   bool
	}{
		{"allow all: two devices", AllowAll, ios, iosToo, false},
		{"allow all: the same device", AllowAll, ios, moved, true},
		{"allow all: no device ids", AllowAll, nameless, nameless, false},
		{"one per platform: same platform", OnePerPlatform, ios, iosToo, true},
		{"one per platform: another platform", OnePerPlatform, ios, web, false},
		{"one per platform: the same device, another platform", OnePerPlatform, moved, ios, true},
		{"one per platform: platforms unknown", OnePerPlatform, Device{}, Device{}, true},
		{"single: another platform", Single, ios, web, true},
		{"single: no device ids", Single, nameless, nameless, true},
		{"unknown policy: as allow all", multiDeviceCount, ios, iosToo, false},
	} {
		if got := c.policy.Replaces(&c.d, &c.o); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEpochOrder(t *testing.T) {
	t.Parallel()
	rising := []Epoch{{}, {0, 1}, {0, math.MaxUint64}, {1, 0}, {1, 7}, {2, 3}, {math.MaxUint32, 0}}
	for i, a := range rising {
		for j, b := range rising {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v to %v: got %d, want %d", a, b, got, want)
			}
		}
	}
	if got, want := (Epoch{4, 9}).Next(2), (Epoch{5, 2}); got != want {
		t.Errorf("Next: got %v, want %v", got, want)
	}
}

func TestPublicIDText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := PublicID(genID().Draw(t, "id"))
		s := id.String()
		got, err := ParsePublicID(s)
		if err != nil || got != id || len(s) != 22 {
			t.Fatalf("%q: got %v, %v; want %v in 22 characters", s, got, err, id)
		}
	})
	good := publicID(1).String()
	for name, s := range map[string]string{
		"empty": "", "short": good[:21], "long": good + "A", "padded": good + "==", "other alphabet": "+" + good[1:],
		"loose last bits": good[:21] + "B",
	} {
		if id, err := ParsePublicID(s); err == nil {
			t.Errorf("%s: %q is accepted as %v", name, s, id)
		}
	}
	if NewPublicID() == NewPublicID() || NewSessionID() == NewSessionID() {
		t.Error("two new ids are equal")
	}
}

func TestValidNames(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"": false, "a": true, "Жanna@example.org": true, "a b": true, "a\nb": false, "a\x7f": false, "\xff": false,
		strings.Repeat("u", MaxUserID): true, strings.Repeat("u", MaxUserID+1): false,
	} {
		if got := ValidUserID(s); got != want {
			t.Errorf("ValidUserID(%q): got %v, want %v", s, got, want)
		}
	}
	for s, want := range map[string]bool{
		"": false, "demo": true, "0z9": true, "Demo": false, "a-b": false, "ä": false,
		strings.Repeat("a", MaxAppID): true, strings.Repeat("a", MaxAppID+1): false,
	} {
		if got := ValidAppID(s); got != want {
			t.Errorf("ValidAppID(%q): got %v, want %v", s, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	if got := At(time.Time{}); got != 0 {
		t.Errorf("At(never): got %d, want 0", got)
	}
	if got := Time(0).Time(); !got.IsZero() {
		t.Errorf("never: got %v, want the zero time", got)
	}
	when := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	got := At(when)
	if want := when.Truncate(time.Millisecond); !got.Time().Equal(want) || got.Time().Location() != time.UTC {
		t.Errorf("there and back: got %v, want %v in UTC", got.Time(), want)
	}
	if later := got.Add(1500 * time.Millisecond); later.Sub(got) != 1500*time.Millisecond {
		t.Errorf("Add and Sub: got %v, want 1.5s", later.Sub(got))
	}
}

func TestPhasesAndReasons(t *testing.T) {
	t.Parallel()
	for p, want := range map[Phase]bool{PhaseCreated: false, PhaseLive: true, PhaseLost: true, PhaseClosed: false} {
		if got := p.Open(); got != want {
			t.Errorf("%v is open: got %v, want %v", p, got, want)
		}
	}
	resumable := map[Reason]bool{ReasonLinkLost: true, ReasonTimedOut: true, ReasonNodeLost: true}
	seen := map[string]Reason{}
	for r := range reasonCount {
		if got := r.Resumable(); got != resumable[r] {
			t.Errorf("%v is resumable: got %v, want %v", r, got, resumable[r])
		}
		if other, twice := seen[r.String()]; twice {
			t.Errorf("reasons %d and %d are both called %q", other, r, r)
		}
		seen[r.String()] = r
	}
	if got := reasonCount.String(); got != "unknown" {
		t.Errorf("a reason nobody knows: got %q, want unknown", got)
	}
}
