package facts

import (
	"context"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// erasureDrops is how long before an erasure its own drops are at most.
const erasureDrops = time.Minute

// tombstones say whose past must not be told.
type tombstones struct {
	store store.Erasures

	mu    sync.RWMutex // over all below
	seen  uint64
	users map[uint64]store.Erasure // the last of each
}

// refresh takes in the erasures that were stored since.
func (ts *tombstones) refresh(ctx context.Context) error {
	ts.mu.RLock()
	current := ts.seen == ts.store.Erased() && ts.users != nil
	ts.mu.RUnlock()
	if current {
		return nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.users == nil {
		ts.users = map[uint64]store.Erasure{}
	}
	seen, err := ts.store.Erasures(ctx, ts.seen, func(e store.Erasure) error {
		if old := ts.users[e.User]; old.Time <= e.Time {
			e.Sequence = max(e.Sequence, old.Sequence)
			ts.users[e.User] = e
		}
		return nil
	})
	if err == nil {
		ts.seen = seen
	}
	return err
}

// none reports that nobody was erased.
func (ts *tombstones) none() bool {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	return len(ts.users) == 0
}

// hide reports whether an event must not be told. What an erasure itself did
// is told: that the user is erased, and that the sessions it dropped closed.
func (ts *tombstones) hide(e *Event) bool {
	void, own := ts.voids(e)
	return void && !own
}

// told is what may be told of an event; nil: nothing. Of a session that an
// erasure dropped it is told which, and nothing of whoever had it.
func (ts *tombstones) told(e *Event) *Event {
	switch void, own := ts.voids(e); {
	case !void:
		return e
	case !own:
		return nil
	}
	bare := *e                       // the event is shared
	bare.LastSeen, bare.Shown = 0, 0 // which bases may have no more
	bare.Session.Device = presence.Device{Platform: e.Session.Device.Platform, Door: e.Session.Device.Door}
	bare.Session.Status = nil
	return &bare
}

// voids reports whether an event is of before an erasure of its user, and
// whether it is the erasure's own doing.
func (ts *tombstones) voids(e *Event) (void, own bool) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	if len(ts.users) == 0 || e.Kind == presence.RecordErased {
		return false, false
	}
	t, ok := ts.users[store.UserMark(e.User)]
	if !ok || e.Position.Sequence > t.Sequence || e.Time > t.Time {
		return false, false
	}
	dropped := e.Kind == presence.RecordClosed && e.Reason == presence.ReasonDropped
	return true, dropped && t.Time.Sub(e.Time) <= erasureDrops
}

// hides reports whether a user as of a log sequence must not be told of.
func (ts *tombstones) hides(user presence.User, sequence uint64) bool {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	if len(ts.users) == 0 {
		return false
	}
	t, ok := ts.users[store.UserMark(user)]
	return ok && t.Sequence > sequence
}
