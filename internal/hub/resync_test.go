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
