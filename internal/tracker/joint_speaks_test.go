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
