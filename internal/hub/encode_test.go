package hub

import (
	"fmt"
	"sync"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// tally is an Encoder that counts what it is asked for.
type tally struct {
	mu    sync.Mutex // guards count
	count map[string]int
}

func newTally() *tally { return &tally{count: map[string]int{}} }

// Encode counts the form, and returns a body that names it.
func (e *tally) Encode(n *Notification) Body {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := fmt.Sprintf("kind %d own %v locale %s version %d", n.Kind, n.Own, n.Locale, n.Presence.Version)
	e.count[name]++
	return name
}

// Locale tells everybody in his own locale.
func (*tally) Locale(_ presence.AppID, locale string) string { return locale }

// A change is encoded once for all who need the same: not per watcher, but per
// kind, side and locale.
func TestEncodedOnceForAll(t *testing.T) {
	t.Parallel()
	w := newWorld()
	enc := newTally()
	w.opens("alice", number(1), nil)
	var devices []*Watcher
	for i := range 30 {
		p := Params{User: named("bob"), Locale: "en", Limit: 10}
		switch {
		case i%3 == 1:
			p.Locale = "de"
		case i%10 == 0:
			p.User = named("alice")
		}
		v := w.join(byte(i+1), p)
		if _, err := v.Watch([]presence.UserID{"alice"}, ScopeUser); err != nil {
			t.Fatal(err)
		}
		devices = append(devices, v)
	}
	drain := func(want string) {
		t.Helper()
		for _, v := range devices {
			a, err := v.Attach(enc, func() {}, nil)
			if err != nil {
				t.Fatal(err)
			}
			frames, _ := v.Drain(a.Stream, nil, 100)
			own := v.params.User == named("alice")
			if got, want := frames[0].Body, fmt.Sprintf(want, own, v.params.Locale); got != want {
				t.Fatalf("a watcher got %q, want %q", got, want)
			}
		}
	}
	drain("kind 1 own %v locale %s version 1")
	w.tell(w.updates("alice", number(1), saying(1)))
	drain("kind 1 own %v locale %s version 2")
	if len(enc.count) != 6 {
		t.Errorf("%d forms were encoded, want 6: two snapshots for others in two locales and for the user's own: %v", len(enc.count), enc.count)
	}
	for name, n := range enc.count {
		if n != 1 {
			t.Errorf("%s was encoded %d times, want once", name, n)
		}
	}
}

// The same session closed, while another was still open and after: two forms.
func TestFormsDifferByAvailability(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("alice", number(1), nil)
	w.opens("alice", number(2), nil)
	quick := connectedDevice(t, w, 1, []presence.UserID{"alice"})
	late := connectedDevice(t, w, 2, []presence.UserID{"alice"})
	late.watcher.encoder = quick.watcher.encoder
	drainAll(t, quick)
	drainAll(t, late)
	w.tell(w.closes("alice", number(2)))
	drainAll(t, quick)
	w.tell(w.closes("alice", number(1)))
	drainAll(t, quick)
	drainAll(t, late)
	for _, d := range []*device{quick, late} {
		if got, want := d.holds(), d.should(w); got != want {
			t.Errorf("%s holds\n%s\nwant\n%s", d.user.ID, got, want)
		}
	}
}

// Two doors share a hub, and never each other's bytes.
func TestEncodersAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld()
	one, two := newTally(), newTally()
	for i, enc := range []*tally{one, two} {
		v := w.join(byte(i+1), Params{User: named("bob"), Limit: 1})
		v.Watch([]presence.UserID{"alice"}, ScopeUser)
		a, _ := v.Attach(enc, func() {}, nil)
		v.Drain(a.Stream, nil, 10)
	}
	if len(one.count) != 1 || len(two.count) != 1 {
		t.Errorf("got %v and %v, want one form each", one.count, two.count)
	}
}

// What a session was is forgotten with the next change: many watched users
// must not cost many old forms.
func TestStaleFormsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("alice", number(1), nil)
	d := connectedDevice(t, w, 1, []presence.UserID{"alice"})
	for n := range 100 {
		w.tell(w.updates("alice", number(1), saying(n)))
		drainAll(t, d)
	}
	cache := &d.watcher.target(&d.watcher.edges[0]).encoded
	if n := len(cache.forms); n > 2 {
		t.Errorf("%d forms are remembered after 100 updates of one session read by one watcher, want the last", n)
	}
	for i := range 3 * encodedSlots { // more sessions and kinds than there are slots
		w.tell(w.opens("alice", number(i+2), nil))
	}
	drainAll(t, d)
	if n := len(cache.forms); n > encodedSlots {
		t.Errorf("%d forms are remembered, want at most %d", n, encodedSlots)
	}
}

// spoken is an Encoder that has texts in one language at a time.
type spoken struct {
	*tally
	language string
}

// Encode names the language in which it did.
func (e *spoken) Encode(n *Notification) Body {
	e.tally.Encode(n)
	return e.language + " for " + n.Locale
}

// Locale is the language whatever is asked for.
func (e *spoken) Locale(presence.AppID, string) string { return e.language }

// Watchers whose locales come to the same share a form; and after Forget the
// next that is told is made anew, once, while nobody is told again.
func TestForget(t *testing.T) {
	t.Parallel()
	w := newWorld()
	enc := &spoken{tally: newTally(), language: "en"}
	w.opens("alice", number(1), nil)
	var devices []*Watcher
	var streams []uint64
	join := func(locale string) *Watcher {
		v := w.join(byte(len(devices)+1), Params{User: named("bob"), Locale: locale, Limit: 10})
		a, err := v.Attach(enc, func() {}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Watch([]presence.UserID{"alice"}, ScopeNone); err != nil {
			t.Fatal(err)
		}
		devices, streams = append(devices, v), append(streams, a.Stream)
		return v
	}
	told := func(want ...Body) {
		t.Helper()
		for i, v := range devices {
			frames, _ := v.Drain(streams[i], nil, 100)
			if len(frames) != len(want) {
				t.Fatalf("watcher %d was told %d things, want %d", i, len(frames), len(want))
			}
			for j, f := range frames {
				if f.Body != want[j] {
					t.Errorf("watcher %d was told %v, want %v", i, f.Body, want[j])
				}
			}
		}
	}
	for i := range 40 {
		join(fmt.Sprintf("x%d", i))
	}
	told("en for en")
	enc.language = "de"
	told()
	w.hub.Forget()
	told()
	join("late")
	frames, _ := devices[40].Drain(streams[40], nil, 100)
	if len(frames) != 1 || frames[0].Body != "de for de" {
		t.Errorf("a snapshot after Forget: got %v, want the new text", frames)
	}
	w.tell(w.updates("alice", number(1), saying(1)))
	told("de for de")
	if len(enc.count) != 3 {
		t.Errorf("encoded %v, want three forms", enc.count)
	}
	for name, n := range enc.count {
		if n != 1 {
			t.Errorf("%s was encoded %d times, want once", name, n)
		}
	}
}

// One that was overtaken by Forget is told, and what is made for him is not kept.
func TestOvertakenByForget(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("alice", number(1), nil)
	p := w.Presence(named("alice"))
	enc := newTally()
	n := Notification{Presence: p, View: p.Sessions[0], Kind: KindCurrent, Available: true}
	var e encoded
	for _, age := range []uint32{1, 2, 1, 2, 1} {
		if e.get(enc, n, age) == nil {
			t.Fatal("got no body")
		}
	}
	for name, n := range enc.count {
		if n != 4 { // kept of the first and second, made for the two that were late
			t.Errorf("%s was encoded %d times, want 4", name, n)
		}
	}
	if e.age != 2 || len(e.forms) != 1 {
		t.Errorf("kept %d forms of age %d, want the one of age 2", len(e.forms), e.age)
	}
}
