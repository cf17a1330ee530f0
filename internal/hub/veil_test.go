package hub

import (
	"fmt"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// hidesAll makes a user leave as far as others see.
func (w *world) hidesAll(id presence.UserID) {
	w.tell(w.change(id, func(p *person, at presence.Time) {
		for _, s := range p.sessions {
			if !s.Shown.Open() {
				continue
			}
			s.Shown.Closed, s.Shown.ClosedAt, s.Shown.Reason = p.version, at, presence.ReasonHidden
			status := presence.Status{Invisible: true}
			s.Status, p.shown = &status, at
		}
	}))
}

// seated is a device of "watcher" that watches the target and has all there is.
func seated(w *world) *seat {
	s := &seat{watcher: w.join(1, Params{User: named("watcher"), Limit: 9})}
	s.watcher.Watch([]presence.UserID{"target"}, ScopeNone)
	s.connect(nil)
	s.drain()
	s.heard = nil
	return s
}

// A veil that is lifted shows what is there as opening, and nothing of what was
// behind it: no close, no time.
func TestLiftedVeil(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil) // at …001
	w.opens("target", number(2), nil)
	s := seated(w)
	w.veil("watcher", "target", true)
	one, two := number(1), number(2)
	s.want(t, "veiled",
		fmt.Sprintf("target 4 online: %v r1 since 1700000000001 updated 1700000000001 closed 1700000000003 reason %d", one, presence.ReasonHidden),
		fmt.Sprintf("target 4 offline, last seen 1700000000003: %v r1 since 1700000000002 updated 1700000000002 closed 1700000000003 reason %d", two, presence.ReasonHidden))
	before := s.sent - 2
	w.tell(w.closes("target", one)) // at …004, behind the veil
	w.tell(w.updates("target", two, saying(7)))
	s.want(t, "behind")
	w.veil("watcher", "target", false)
	s.want(t, "lifted", fmt.Sprintf("target 2 online: %v r2 since 1700000000002 updated 1700000000005 on web says %v", two, &presence.Status{Text: saying(7).Text}))
	// A device that lost the closes of the veil starts over.
	s.connect(&before)
	s.want(t, "lost", "connected true false",
		"target 0 offline, last seen 1700000000004",
		fmt.Sprintf("target 1 online: %v r2 since 1700000000002 updated 1700000000005 on web says %v", two, &presence.Status{Text: saying(7).Text}),
		"mark {Scope:3 Reason:0 User: Users:1}")
	// And one that has all, but lost something later, hears no old closes.
	has := s.sent - 1
	s.connect(&has)
	s.want(t, "resumed", "connected true false", "mark {Scope:3 Reason:0 User: Users:0}")
	has = s.sent
	w.tell(w.updates("target", two, saying(8)))
	s.drain()
	s.heard = nil
	s.connect(&has)
	s.want(t, "lost later", "connected true false",
		fmt.Sprintf("target 1 online: %v r3 since 1700000000002 updated 1700000000007 on web says %v", two, &presence.Status{Text: saying(8).Text}),
		"mark {Scope:3 Reason:0 User: Users:1}")
}

// Lifted while the target is offline, a veil leaves no trace.
func TestLiftedVeilOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	w.veil("watcher", "target", true)
	s.drain()
	s.heard = nil
	w.tell(w.updates("target", number(1), saying(1)))
	w.tell(w.closes("target", number(1)))
	w.veil("watcher", "target", false)
	s.want(t, "lifted")
}

// A device that comes back without the closes of a veil, which is lifted before
// anything is sent to it, starts over.
func TestLiftedBeforeItIsRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	has := s.sent
	w.veil("watcher", "target", true)
	s.drain()
	w.tell(w.closes("target", number(1)))
	w.tell(w.opens("target", number(2), nil)) // at …004
	s.heard = nil
	s.connect(&has)
	w.veil("watcher", "target", false)
	s.want(t, "lifted", "connected true false", "target 0 offline, last seen 1700000000003",
		fmt.Sprintf("target 1 online: %v r1 since 1700000000004 updated 1700000000004 on web says <nil>", number(2)),
		"mark {Scope:3 Reason:0 User: Users:1}")
}

// Closes from before a device began to watch are never told, whatever happens
// after: not when its messages are lost, nor behind a veil that nobody saw.
func TestClosesFromBeforeTheBeginning(t *testing.T) {
	t.Parallel()
	for _, veiled := range []bool{false, true} {
		w := newWorld()
		w.opens("target", number(1), nil)
		w.closes("target", number(1)) // at …002
		s := seated(w)
		if veiled {
			w.veil("watcher", "target", true)
			w.veil("watcher", "target", false)
		}
		has := s.sent - 1
		s.connect(&has)
		s.want(t, "lost", "connected true false", "target 0 offline, last seen 1700000000002", "mark {Scope:3 Reason:0 User: Users:1}")
	}
}

// What a target said between the moment from which he may not be seen and the
// moment at which the hub learns of it is not told by the time of the close.
func TestVeilThatComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil) // at …001
	s := seated(w)
	w.mu.Lock()
	w.clock += 10
	since := w.clock
	w.veils[named("watcher")] = sights{"target": {since, since}}
	w.mu.Unlock()
	w.tell(w.updates("target", number(1), saying(1)))
	w.hub.SightChanged(named("watcher"), []presence.UserID{"target"})
	s.want(t, "late", fmt.Sprintf("target 4 offline, last seen %d: %v r2 since 1700000000001 updated %d closed %d reason %d",
		since, number(1), since, since, presence.ReasonHidden))
}

// A veil that falls and lifts before anybody looked was never there.
func TestVeilThatNobodySaw(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	for range 3 {
		w.veil("watcher", "target", true)
		w.veil("watcher", "target", false)
	}
	s.want(t, "nothing")
}

// Who may suddenly be seen by friends only, and never was a friend, is as one
// never heard of, also to a device that knew better.
func TestVeilFromBefore(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	w.mu.Lock()
	w.veils[named("watcher")] = sights{"target": {0, 0}}
	w.mu.Unlock()
	w.hub.SightChanged(named("watcher"), nil)
	s.want(t, "never a friend", "target 0 offline, last seen 0")
}

// Own sessions are seen whatever the sight says.
func TestNobodyIsVeiledFromHimself(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("watcher", number(1), nil)
	w.veil("watcher", "watcher", true)
	v := w.join(1, Params{User: named("watcher"), Limit: 1})
	v.Watch([]presence.UserID{"watcher"}, ScopeNone)
	a, _ := v.Attach(&mirror{}, func() {}, nil)
	frames, _ := v.Drain(a.Stream, nil, 10)
	if len(frames) != 1 || frames[0].Body.(*Notification).Kind != KindCurrent {
		t.Errorf("got %d frames, want one's own session", len(frames))
	}
}

// A close that was told is not told again when a veil falls whose moment was
// before it: who went out of sight left by himself while that was being stored.
func TestVeilFromBeforeTheClose(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	w.mu.Lock()
	w.clock += 10
	w.veils[named("watcher")] = sights{"target": {w.clock, w.clock}}
	w.mu.Unlock()
	w.tell(w.closes("target", number(1)))
	s.drain()
	s.heard = nil
	w.hub.SightChanged(named("watcher"), []presence.UserID{"target"})
	s.want(t, "told before")
}
