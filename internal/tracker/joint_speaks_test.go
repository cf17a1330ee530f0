package tracker

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// standStill is pause of a node that then reads what waited on its clients' links before
// all that the others, and the log, have to say.
func (m *member) standStill(d time.Duration, each func()) {
	for name := range m.of.all {
		if name != m.name {
			m.of.net.CutBoth(m.name, name)
		}
	}
	m.store.late.Store(true)
	time.AfterFunc(d+300*time.Millisecond, func() {
		m.of.net.Heal()
		m.store.late.Store(false)
	})
	m.pause(d, each)
}

// A device says something that is written down, and its node stands still before it
// has read it. The device says something newer at another node. When the first one goes
// on and reads what lay on the link, that is not written over the newer.
func TestALateWordIsNotWrittenDown(t *testing.T) {
	for _, d := range []time.Duration{2 * time.Second, 6 * time.Second, 30 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			inJoint(t, func(t *testing.T, _ *joint, a, _, c *member) {
				ref, old := c.person("cleo")
				wait(20 * time.Second) // it is no young session, whose watches nobody would know
				at := map[*member]*topic.Topics{}
				for _, m := range []*member{a, c} {
					var err error
					if at[m], err = topic.New(topic.Config{Store: m.store, Source: m.tr}); err != nil {
						t.Fatal(err)
					}
				}
				say := func(m *member, link Link, word string) error {
					list := []topic.Attribute{{Name: "mood", Value: json.RawMessage(word)}}
					_, _, err := at[m].SetWhile(t.Context(), ref.User, list, func(ctx context.Context) error { return m.tr.Speaks(ctx, ref, link) })
					return err
				}
				if err := say(c, old, `"first"`); err != nil {
					t.Fatalf("a word on the link: %v", err)
				}
				said := false
				c.standStill(d, func() {
					synctest.Wait()
					if said {
						return
					}
					w, err := a.connect(ref, nil)
					if err != nil {
						return // it asks again
					}
					if err := say(a, w, `"newer"`); err != nil {
						t.Fatalf("a word at the other node: %v", err)
					}
					said = true
				})
				err := say(c, old, `"late"`)
				if kind := fault.KindOf(err); said && kind != fault.NodeUnavailable && kind != fault.SessionGone {
					t.Errorf("the late word: %v", err)
				}
				want := `"late"`
				if said {
					want = `"newer"`
				} else if d > 2*time.Second {
					t.Error("the device could not come elsewhere")
				}
				r, err := at[a].Get(t.Context(), ref.User)
				if is, _ := r.Find("mood"); err != nil || string(is.Value) != want {
					t.Errorf("after that it is %s, want %s (%v)", is.Value, want, err)
				}
			})
		})
	}
}

// Who stayed on the link through the pause is heard, also when the others gave the
// session up meanwhile: it is opened anew first.
func TestWhoStayedSpeaks(t *testing.T) {
	for _, d := range []time.Duration{2 * time.Second, 6 * time.Second, 30 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			inJoint(t, func(t *testing.T, _ *joint, _, _, c *member) {
				ref, w := c.person("cleo")
				wait(time.Second)
				c.standStill(d, func() {})
				if err := c.tr.Speaks(t.Context(), ref, w); err != nil {
					t.Errorf("the device that stayed: %v", err)
				}
				sh := c.tr.shard(ref.User)
				sh.mu.Lock()
				defer sh.mu.Unlock()
				if f := sh.known(ref.User).folded.Session(ref.Session); f == nil || f.Phase != presence.FoldOpen {
					t.Errorf("it speaks while the log has %+v", f)
				}
			})
		})
	}
}

// A call on a session whose node stands still is to be repeated, also when the others
// gave the session up: it is opened anew when that node goes on, and whoever was told
// to make a new one would be there twice.
func TestCallsWhileTheNodeStandsStill(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, _, c *member) {
		ref, w := c.person("cleo")
		busy := func(*presence.Status) (*presence.Status, error) { return &presence.Status{Show: presence.Busy}, nil }
		wait(time.Second)
		closed, refused := false, func(err error) {
			t.Helper()
			if fault.KindOf(err) != fault.NodeUnavailable {
				t.Fatalf("got %v, want NODE_UNAVAILABLE", err)
			}
		}
		c.pause(30*time.Second, func() {
			open, _ := a.shows("cleo")
			closed = closed || !open
			_, err := a.tr.Update(t.Context(), ref, busy)
			refused(err)
			_, err = a.tr.Check(t.Context(), ref)
			refused(err)
		})
		if !closed {
			t.Error("the others never gave it up")
		}
		if err := c.tr.Speaks(t.Context(), ref, w); err != nil {
			t.Fatal(err)
		}
		if _, err := c.tr.Update(t.Context(), ref, busy); err != nil {
			t.Errorf("a call on the session that was opened anew: %v", err)
		}
		j.agree(map[presence.UserID]bool{"cleo": true})
		c.kill()
		wait(15*time.Second + defaults.ResumeWindow)
		if _, err := a.tr.Update(t.Context(), ref, busy); fault.KindOf(err) != fault.SessionGone {
			t.Errorf("when nothing can resume it any more: %v", err)
		}
	})
}

// The same for what waits for the log when the session ends: here a late hide, which
// the node that goes on claims for a session that the others gave up.
func TestALateHideIsToBeRepeated(t *testing.T) {
	inJoint(t, func(t *testing.T, _ *joint, _, _, c *member) {
		ref, w := c.person("cleo")
		wait(time.Second)
		c.pause(30*time.Second, func() {})
		hide := make(chan error, 1)
		go func() {
			_, err := c.tr.Update(t.Context(), ref, func(*presence.Status) (*presence.Status, error) { return &presence.Status{Invisible: true}, nil })
			hide <- err
		}()
		c.tr.LinkLost(ref, w) // it was sent away
		if err := <-hide; fault.KindOf(err) != fault.NodeUnavailable && fault.KindOf(err) != fault.LogUnavailable {
			t.Errorf("got %v, want NODE_UNAVAILABLE", err)
		}
	})
}

// The owner of a session stood still while a device took it elsewhere, and goes on before
// the log has that: what it tells then of the session was shown to watchers, so it is
// what the session says, and not what was known when the device came.
func TestALateStatusIsNotShownAndForgotten(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(20 * time.Second)
		set := func(m *member, show presence.Show) error {
			_, err := m.tr.Update(t.Context(), ref, func(*presence.Status) (*presence.Status, error) { return &presence.Status{Show: show}, nil })
			return err
		}
		if err := set(c, presence.Away); err != nil {
			t.Fatal(err)
		}
		came, free := make(chan error, 1), func() {}
		began := time.Now()
		c.pause(6*time.Second, func() {
			if time.Since(began) == 4*time.Second {
				free = j.mem.Hold()
				go func() {
					_, err := a.connect(ref, nil)
					came <- err
				}()
			}
		})
		if err := set(c, presence.Busy); err != nil {
			t.Fatalf("what waited on the link of the former owner: %v", err)
		}
		wait(500 * time.Millisecond)
		if is := a.status(ref); is != presence.Busy {
			t.Fatalf("the taker was told %v", is)
		}
		free()
		if err := <-came; err != nil {
			t.Fatalf("the device at the other node: %v", err)
		}
		wait(5 * time.Second)
		for _, m := range []*member{a, b, c} {
			if is := m.status(ref); is != presence.Busy {
				t.Errorf("%s says %v, watchers know busy", m.name, is)
			}
		}
	})
}

// status is what a node shows of a user's only session.
func (m *member) status(ref Ref) presence.Show {
	s := m.tr.Presence(ref.User).Sessions[0].Status
	if s == nil {
		return presence.Online
	}
	return s.Show
}
