package hub

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A device that comes to a node where its stream was never read is told to begin
// anew, again and again, until it has the message that says so.
func TestADeviceBeginsAnewUntilItKnows(t *testing.T) {
	w := newWorld()
	watcher := w.join(1, Params{User: named("bob"), Limit: 10})
	if _, err := watcher.Watch([]presence.UserID{"alice"}, ScopeAll); err != nil {
		t.Fatal(err)
	}
	attach := func(after uint64, want bool) Attached {
		t.Helper()
		a, err := watcher.Attach(&mirror{}, func() {}, &after)
		if err != nil || a.Resync != want {
			t.Fatalf("after %d: resync %v, error %v, want resync %v", after, a.Resync, err, want)
		}
		return a
	}
	for range 2 { // what was sent is lost with the link
		a := attach(20, true)
		if n := watcher.Next(a.Stream); n != 21 {
			t.Fatalf("the first message has number %d", n)
		}
		watcher.Drain(a.Stream, nil, 100)
	}
	attach(21, false)
	watcher.Attach(&mirror{}, func() {}, nil)
	attach(21, true)
}

// Of several nodes another one may have served the device meanwhile, and not have
// told: its number is beyond all here, and it begins anew. On one node it is in error.
func TestANumberOfAnotherNode(t *testing.T) {
	for _, several := range []bool{false, true} {
		w := newWorld()
		if several {
			w.hub.OneOfSeveral()
		}
		watcher := w.join(1, Params{User: named("bob"), Limit: 10})
		if _, err := watcher.Attach(&mirror{}, func() {}, nil); err != nil {
			t.Fatal(err)
		}
		after := uint64(24)
		if err := watcher.CanResume(&after); (err == nil) != several {
			t.Errorf("several nodes %v: may it resume: %v", several, err)
		}
		a, err := watcher.Attach(&mirror{}, func() {}, &after)
		if (err == nil) != several || a.Resync != several {
			t.Errorf("several nodes %v: got %+v, error %v", several, a, err)
		}
		if n := watcher.Next(a.Stream); several && n != after+1 {
			t.Errorf("the first message has number %d", n)
		}
	}
}
