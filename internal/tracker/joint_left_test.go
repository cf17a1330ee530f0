package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A device says something, and its node stands still before it has read it. The device
// gives up, and is elsewhere or nowhere. The door of the node that goes on waits with the
// word until it is known what became of the session, and so reads last that the link has
// ended: nobody is shown a device again meanwhile that left, and the word is void.
func TestWhoLeftIsNotShownAgain(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, _, c *member) {
		made, err := c.tr.Make(t.Context(), MakeParams{User: presence.User{App: app, ID: "cleo"}, Device: presence.Device{ID: "phone"}})
		if err != nil {
			t.Fatal(err)
		}
		ref, old := made.Ref, &wire{deaf: true}
		if _, err := c.tr.Connect(t.Context(), ref, ConnectParams{Link: old}); err != nil {
			t.Fatal(err)
		}
		wait(20 * time.Second)
		c.standStill(30*time.Second, func() {})
		if open, _ := a.shows("cleo"); open {
			t.Fatal("the others did not give it up")
		}
		go func() {
			err := c.tr.Speaks(t.Context(), ref, old)
			if kind := fault.KindOf(err); kind != fault.NodeUnavailable && kind != fault.SessionGone {
				t.Errorf("the word: %v", err)
			}
			c.tr.LinkLost(ref, old)
		}()
		for range 200 {
			wait(100 * time.Millisecond)
			if open, _ := a.shows("cleo"); open {
				t.Fatalf("it is shown again at %s", time.Now().Format("05.000"))
			}
		}
		j.agree(map[presence.UserID]bool{"cleo": false})
	})
}

// What nobody comes back to at a node that stood still is theirs who gave it up: all
// that this node knew of it, and that it hid, holds until it has read their word.
func TestWhatWasHiddenStaysHidden(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute and a half of a cluster takes long under the race detector")
	}
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := c.person("cleo")
		wait(2 * time.Second)
		c.hide(ref, true)
		wait(time.Second)
		left := a.tr.Presence(ref.User).LastSeenShown
		wait(20 * time.Second)
		c.pause(30*time.Second, func() {})
		wait(200 * time.Millisecond) // it reads that the others gave it up, and sends its device away
		c.tr.LinkLost(ref, w)
		wait(20 * time.Second)
		for _, m := range []*member{a, b, c} {
			p := m.tr.Presence(ref.User)
			if p.LastSeenShown != left || p.LastSeen <= left || p.LastSeen != a.tr.Presence(ref.User).LastSeen {
				t.Errorf("%s says last seen %v to others and %v, it hid at %v", m.name, p.LastSeenShown.Time(), p.LastSeen.Time(), left.Time())
			}
		}
		j.agree(map[presence.UserID]bool{"cleo": false})
	})
}

// A new connection waited in the queue of a node that stands still, and its device has
// given up. The node that goes on carries nothing out of that before it knows how long it
// stood: nobody is shown a device that is not there.
func TestWhatWaitedOpensNothing(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, _, c *member) {
		made, err := c.tr.Make(t.Context(), MakeParams{User: presence.User{App: app, ID: "cleo"}})
		if err != nil {
			t.Fatal(err)
		}
		c.freeze(30 * time.Second)
		<-time.After(30*time.Second - time.Millisecond)
		c.store.cut.Store(false)
		_, err = c.connectFor(made.Ref, 5*time.Second)
		if fault.KindOf(err) != fault.NodeUnavailable {
			t.Errorf("got %v, want NODE_UNAVAILABLE", err)
		}
		for range 100 {
			wait(100 * time.Millisecond)
			if open, _ := a.shows("cleo"); open {
				t.Fatal("the device is shown")
			}
		}
		j.agree(map[presence.UserID]bool{"cleo": false})
	})
}
