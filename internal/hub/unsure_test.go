package hub

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// patchy is a world that hears not all of its nodes.
type patchy struct {
	*world
	since atomic.Int64
}

// Stale implements staler.
func (p *patchy) Stale() presence.Time { return presence.Time(p.since.Load()) }

// staleness encodes a notification as since when it is stale.
type staleness struct{}

func (staleness) Encode(n *Notification) Body          { return n.Stale }
func (staleness) Locale(presence.AppID, string) string { return "" }
func (staleness) drain(t *testing.T, w *Watcher, at Attached) (told []presence.Time) {
	t.Helper()
	frames, _ := w.Drain(at.Stream, nil, 100)
	for _, f := range frames {
		if f.Mark == nil {
			told = append(told, f.Body.(presence.Time))
		}
	}
	return told
}

// TestUnknownWhileANodeIsSilent: who watches a user of whom nothing is known hears
// that this may be old, and hears again when it is not; of others he hears nothing.
func TestUnknownWhileANodeIsSilent(t *testing.T) {
	t.Parallel()
	src := &patchy{world: newWorld()}
	h := New(src, nil)
	src.hub = h
	src.tell(src.opens("bob", presence.PublicID{1}, nil))
	w := h.Join(presence.SessionID{1}, Params{User: named("alice"), Limit: 10})
	at, err := w.Attach(staleness{}, func() {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tells := func(what string, want ...presence.Time) {
		t.Helper()
		got := staleness{}.drain(t, w, at)
		if len(got) != len(want) {
			t.Fatalf("%s: told %v, want %v", what, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: told %v, want %v", what, got, want)
			}
		}
	}
	watch := func(users ...presence.UserID) {
		t.Helper()
		if _, err := w.Watch(users, ScopeNone); err != nil {
			t.Fatal(err)
		}
	}
	watch("early")
	tells("all are heard", 0)
	src.since.Store(7)
	watch("nobody", "bob", "late")
	tells("one is not", 7, 0, 7)
	h.Heard()
	tells("it still is not")
	src.tell(src.opens("late", presence.PublicID{2}, nil))
	tells("who is known meanwhile", 0)
	src.since.Store(0)
	h.Heard()
	tells("it is heard again", 0)
	h.Heard()
	tells("once")

	// One who does not watch any more is left alone.
	src.since.Store(9)
	watch("gone")
	tells("another is not", 9)
	w.Unwatch("gone")
	staleness{}.drain(t, w, at)
	src.since.Store(0)
	h.Heard()
	tells("nothing of whom he does not watch")
}

// TestUnsureAreBounded: whom nobody watches any more is forgotten, also while the
// silence lasts.
func TestUnsureAreBounded(t *testing.T) {
	t.Parallel()
	src := &patchy{world: newWorld()}
	src.since.Store(7)
	h := New(src, nil)
	src.hub = h
	w := h.Join(presence.SessionID{1}, Params{User: named("alice"), Limit: 10})
	at, err := w.Attach(staleness{}, func() {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	watch := func(user presence.UserID) {
		t.Helper()
		if _, err := w.Watch([]presence.UserID{user}, ScopeNone); err != nil {
			t.Fatal(err)
		}
		if got := (staleness{}).drain(t, w, at); len(got) != 1 || got[0] != 7 {
			t.Fatalf("told %v of somebody unknown, want that it is old", got)
		}
	}
	watch("stays")
	for i := range 3 * fewUnsure {
		user := presence.UserID(fmt.Sprint("u", i))
		watch(user)
		w.Unwatch(user)
		staleness{}.drain(t, w, at)
	}
	if n := len(h.unsure.users); n > fewUnsure {
		t.Errorf("%d users are kept, want %d at most: only one is watched", n, fewUnsure)
	}
	src.since.Store(0)
	h.Heard()
	if got := (staleness{}).drain(t, w, at); len(got) != 1 || got[0] != 0 {
		t.Errorf("told %v when all are heard, want one word of who is watched still", got)
	}
}
