package hub

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// After a rest everybody is told the same as without it, from forms that are
// made again.
func TestRest(t *testing.T) {
	t.Parallel()
	w, enc := newWorld(), newTally()
	w.opens("alice", number(1), nil)
	watchers := make([]*Watcher, 3)
	streams := make([]uint64, len(watchers))
	told := func() (n int) {
		t.Helper()
		for i, v := range watchers {
			frames, _ := v.Drain(streams[i], nil, 10)
			n += len(frames)
		}
		return n
	}
	for i := range watchers {
		watchers[i] = w.join(byte(i+1), Params{User: named("bob"), Locale: "en", Limit: 10})
		if _, err := watchers[i].Watch([]presence.UserID{"alice"}, ScopeNone); err != nil {
			t.Fatal(err)
		}
		a, err := watchers[i].Attach(enc, func() {}, nil)
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = a.Stream
	}
	if n := told(); n != 3 {
		t.Fatalf("%d snapshots, want 3", n)
	}
	w.hub.Rest()
	tg := w.hub.shard(named("alice")).targets[named("alice")]
	if len(tg.encoded.forms) != 0 || cap(tg.slots) != 3 {
		t.Errorf("%d forms and room for %d watchers are kept, want none and 3", len(tg.encoded.forms), cap(tg.slots))
	}
	if n := told(); n != 0 {
		t.Errorf("%d messages because of a rest, want none", n)
	}
	w.hub.Changed(w.updates("alice", number(1), presence.Status{Show: presence.Busy}))
	if n := told(); n != 3 {
		t.Errorf("%d told of a change after it, want 3", n)
	}
	for name, n := range enc.count {
		if n != 1 {
			t.Errorf("%s was encoded %d times, want once", name, n)
		}
	}
}
