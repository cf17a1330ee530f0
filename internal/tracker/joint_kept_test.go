package tracker

import (
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// watches has a session watch a user, as a door does it.
func (m *member) watches(ref Ref, user presence.UserID, between func()) error {
	if _, err := m.tr.Check(m.t.Context(), ref); err != nil {
		return err
	}
	between()
	w := m.hub.Join(ref.Session, hub.Params{User: ref.User, Limit: 10})
	if _, err := w.Watch([]presence.UserID{user}, hub.ScopeUser); err != nil {
		return err
	}
	m.tr.WatchesChanged(ref)
	return m.tr.Keeps(m.t.Context(), ref)
}

// came is what a device found that connected.
type came struct {
	Connected
	err error
}

func (m *member) comes(ref Ref) <-chan came {
	there := make(chan came, 1)
	go func() {
		c, err := m.tr.Connect(m.t.Context(), ref, ConnectParams{Link: &wire{}})
		there <- came{c, err}
	}()
	return there
}

// A node that is asked for a session waits until that has hidden; what the session
// watches meanwhile goes over with it.
func TestWhatIsWatchedWhileATakerWaitsGoesOver(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(2 * time.Second)
		release := j.mem.Hold()
		hid := make(chan error, 1)
		go func() {
			_, err := c.update(ref, presence.Status{Invisible: true})
			hid <- err
		}()
		wait(100 * time.Millisecond)
		there := b.comes(ref)
		wait(time.Second)
		if err := c.watches(ref, "dora", func() {}); err != nil {
			t.Fatal(err)
		}
		release()
		if err := <-hid; err != nil {
			t.Fatal(err)
		}
		if got := <-there; got.err != nil || got.Unclean || !slices.Contains(got.Restored, "dora") {
			t.Errorf("her device comes to b with %v, unclean %v (%v)", got.Restored, got.Unclean, got.err)
		}
	})
}

// A subscription is on its way when another node takes its session over, and has been
// told already what that watches: it is refused.
func TestWhatIsWatchedAsATakerComesIsRefused(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(2 * time.Second)
		release := j.mem.Hold()
		var there <-chan came
		time.AfterFunc(2*time.Second, release)
		err := c.watches(ref, "dora", func() {
			there = b.comes(ref)
			wait(time.Second)
		})
		got := <-there
		if got.err != nil || got.Unclean {
			t.Fatalf("her device comes to b: unclean %v (%v)", got.Unclean, got.err)
		}
		if slices.Contains(got.Restored, "dora") {
			t.Fatal("b was told what was watched later")
		}
		wantKind(t, "what was watched", err, fault.NodeUnavailable)
	})
}

// A device that went over subscribes, or states a status, at the node where it was, which
// cannot know that yet: what was answered there would be lost without a word.
func TestNobodySaysAtTheFormerNode(t *testing.T) {
	for what, say := range map[string]func(m *member, ref Ref) error{
		"a subscription": func(m *member, ref Ref) error {
			_, err := m.tr.Check(m.t.Context(), ref)
			return err
		},
		"a status": func(m *member, ref Ref) error {
			_, err := m.update(ref, presence.Status{Show: presence.Away})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				ref, w := c.person("cleo")
				wait(2 * time.Second)
				j.net.CutBoth("b", "c")
				c.store.late.Store(true)
				wait(200 * time.Millisecond)
				c.tr.LinkLost(ref, w)
				j.until(b, ref)
				wantKind(t, "which cannot read that it went over", say(c, ref), fault.NodeUnavailable)
				time.AfterFunc(time.Second, func() { c.store.late.Store(false) })
				wantKind(t, "which reads it then", say(c, ref), fault.NodeUnavailable)
				if err := say(b, ref); err != nil {
					t.Errorf("where it is: %v", err)
				}
				j.heal()
				wait(5 * time.Second)
				wantKind(t, "which has heard it", say(c, ref), fault.NodeUnavailable)
				want := b.status(ref)
				if said := want == presence.Away; said != (what == "a status") {
					t.Errorf("b says %v", want)
				}
				for _, m := range j.all {
					if is := m.status(ref); is != want {
						t.Errorf("%s says %v, want %v", m.name, is, want)
					}
				}
			})
		})
	}
}

// A node that is cut off keeps nothing that is said of a session whose device it sent
// away: that may be elsewhere.
func TestNobodySaysAtANodeThatIsCutOff(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := c.person("cleo")
		wait(20 * time.Second)
		c.cut()
		wait(3 * time.Second)
		if len(w.ended()) == 0 {
			t.Fatal("it was not sent away")
		}
		c.tr.LinkLost(ref, w)
		j.until(b, ref)
		_, err := c.update(ref, presence.Status{Show: presence.Busy})
		wantKind(t, "a status", err, fault.NodeUnavailable)
		j.heal()
		wait(5 * time.Second)
		if is := a.status(ref); err == nil && is != presence.Busy {
			t.Errorf("it says %v", is)
		}
	})
}

// The same for what a server says: its presence went over to a node that does not hear
// the former one.
func TestNoServerSaysAtTheFormerNode(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		user := presence.User{App: app, ID: "cleo"}
		put := func(m *member, show presence.Show) error {
			_, err := m.tr.PutPresence(t.Context(), PutParams{User: user, Name: "bot", Status: &presence.Status{Show: show}, TTL: time.Hour})
			return err
		}
		if err := put(c, presence.Online); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		c.store.late.Store(true)
		wait(200 * time.Millisecond)
		for put(b, presence.Away) != nil {
			wait(100 * time.Millisecond)
		}
		wantKind(t, "what is put where it was", put(c, presence.Busy), fault.NodeUnavailable)
		j.heal()
		c.store.late.Store(false)
		wait(5 * time.Second)
		for _, m := range j.all {
			if s := m.tr.Presence(user).Sessions; len(s) != 1 || s[0].Status == nil || s[0].Status.Show != presence.Away {
				t.Errorf("%s: %+v", m.name, s)
			}
		}
	})
}

// A device states a status, and goes over to a node that did not hear of it, nor hears
// its former one: that has noted it, so it holds.
func TestWhatWasNotedGoesOver(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(map[bool]string{false: "open", true: "closed by silence"}[closed], func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				ref, w := c.person("cleo")
				wait(20 * time.Second)
				j.net.CutBoth("b", "c")
				if closed {
					j.net.CutBoth("a", "c")
				}
				if _, err := c.update(ref, presence.Status{Show: presence.Busy}); err != nil {
					t.Fatal(err)
				}
				wait(1200 * time.Millisecond)
				if closed {
					j.quorum.Cut("c", true)
					c.store.cut.Store(true)
					wait(15 * time.Second)
					if open, _ := b.shows("cleo"); open {
						t.Fatal("b did not give it up")
					}
				}
				c.tr.LinkLost(ref, w)
				j.until(b, ref)
				wait(time.Second)
				j.heal()
				wait(5 * time.Second)
				for _, m := range j.all {
					if is := m.status(ref); is != presence.Busy {
						t.Errorf("%s says %v", m.name, is)
					}
				}
			})
		})
	}
}

// What a node noted counts if it is newer than what was heard, and than the last hide or
// show in the log.
func TestWhatOfANoteCounts(t *testing.T) {
	t.Parallel()
	at := presence.Epoch{Counter: 2, Incarnation: 7}
	busy, unseen := &presence.Status{Show: presence.Busy}, &presence.Status{Show: presence.Busy, Invisible: true}
	tests := []struct {
		name       string
		heard, hid uint64
		status     *presence.Status
		note       said
		want       bool
	}{
		{"it is newer", 3, 1, nil, said{busy, at, 4}, true},
		{"it was heard", 4, 1, nil, said{busy, at, 4}, false},
		{"it is of another epoch", 3, 1, nil, said{busy, presence.Epoch{Counter: 1, Incarnation: 7}, 9}, false},
		{"it says nothing new", 3, 1, busy, said{busy, at, 4}, false},
		{"it is the default again", 3, 1, busy, said{nil, at, 4}, true},
		{"it is from before it hid and showed itself", 3, 6, nil, said{busy, at, 5}, false},
		{"it is from since then", 3, 6, nil, said{busy, at, 6}, true},
		{"it hid after that", 3, 6, nil, said{unseen, at, 7}, false},
		{"it is hidden", 3, 2, &presence.Status{Invisible: true}, said{unseen, at, 4}, true},
	}
	for _, tt := range tests {
		id := presence.SessionID{1}
		u := &user{folded: presence.Folded{Sessions: []presence.FoldedSession{{ID: id, Epoch: at, HiddenRev: tt.hid}}}}
		s := &session{id: id, user: u, epoch: at, revision: tt.heard, status: tt.status}
		if _, ok := s.noted(tt.note); ok != tt.want {
			t.Errorf("%s: it counts %v", tt.name, ok)
		}
	}
}
