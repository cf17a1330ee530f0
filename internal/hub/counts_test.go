package hub

import (
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What was sent stays counted when its watcher goes.
func TestSentIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.join(1, Params{User: named("bob"), Limit: 100})
	v.Watch([]presence.UserID{"alice", "carol"}, ScopeAll)
	a, _ := v.Attach(&mirror{}, func() {}, nil)
	frames, _ := v.Drain(a.Stream, nil, 100)
	if got := w.hub.Counts(); got.Sent != uint64(len(frames)) || got.Sent != 3 || got.Watchers != 1 || got.Edges != 2 || got.Targets != 2 {
		t.Errorf("after two snapshots and a mark: %+v", got)
	}
	w.hub.Gone(presence.SessionID{1})
	if got := w.hub.Counts(); got.Sent != 3 || got.Watchers != 0 || got.Edges != 0 {
		t.Errorf("after the watcher went: %+v", got)
	}
}
