package mozpresence

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// After a restart of the node a device goes on with its session, and publishers
// see nothing of it.
func TestResumeAfterRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := tracker.Policy{TellShow: true}
		core := doortest.New(t, doortest.Config{Policy: policy, Checkpoints: true})
		n := newNode(t, core)
		id, key := n.active()
		uid := n.grant(id, "bob")
		l := n.listen(id, key)
		n.device("bob", "unavailable", `,"device":"phone"`)
		l.want("before", l.Came(), status(uid, "unavailable"))
		session := n.sessions("bob")[0].Public
		n.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining} })
		n.stop()
		n = newNode(t, doortest.New(t, doortest.Config{Policy: policy, Store: core.Store, Checkpoints: true, Incarnation: 2}))
		defer n.stop()
		l = n.listen(id, n.Log.Secret(key))
		wait(9 * time.Second)
		n.device("bob", "unavailable", `,"device":"phone"`)
		if got := n.sessions("bob"); len(got) != 1 || got[0].Public != session || got[0].Phase != presence.PhaseLive {
			t.Errorf("got %+v, want the session %v, live", got, session)
		}
		wait(time.Minute)
		l.want("a restart", l.Came())
	})
}

// A session of another door is not taken up by naming its device, and a device
// without an id has a session of its own each time.
func TestResumesItsOwnAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		n.Open("bob", presence.Device{ID: "phone", Door: "live"})
		made := n.sessions("bob")[0].Public
		n.device("bob", "online")
		n.device("bob", "online")
		if got := n.sessions("bob"); len(got) != 3 {
			t.Errorf("%d sessions, want 3", len(got))
		}
		n.device("bob", "online", `,"device":"phone"`)
		for _, s := range n.sessions("bob") {
			if s.Public == made {
				t.Error("the session of another door was taken up; a device with its id replaces it, as everywhere")
			}
		}
	})
}

// Sockets are counted by address, devices with a session by user.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		n.door.SetLimits(Limits{PerAddress: 2, PerUser: map[presence.AppID]int{doortest.App: 2}})
		id, _ := n.active()
		const from = "203.0.113.7:1"
		first := n.dial("/presence", "Test-From", from)
		second := n.dial("/"+id, "Test-From", from)
		for _, path := range []string{"/presence", "/" + id, "/myapps/" + id} {
			if p, answer := n.handshake(path, "Test-From", "203.0.113.7:2"); p != nil || answer.StatusCode != 429 || answer.Header.Get("Retry-After") == "" {
				t.Errorf("the third of an address, at %s: got %v, want 429", path, answer.Status)
			}
		}
		n.dial("/presence", "Test-From", "203.0.113.8:1")
		for _, p := range []*peer{first, second} {
			p.Conn.Close()
			synctest.Wait()
			n.dial("/"+id, "Test-From", from)
		}

		n.device("bob", "online", `,"device":"phone"`)
		last := n.device("bob", "online", `,"device":"desk"`)
		p := n.dial("/presence")
		got := p.say(`{"user":"bob","status":"online","device":"tablet","assertion":%q}`, n.JWT("bob"))
		if len(got) != 1 || !strings.Contains(got[0], `"errno":42`) || !strings.Contains(got[0], "2 connections") {
			t.Errorf("the third of a user: got %q, want errno 42", got)
		}
		p.ended("the third of a user", codeTooMany)
		if got := n.sessions("bob"); len(got) != 2 {
			t.Errorf("%d sessions, want 2", len(got))
		}
		last = n.device("bob", "online", `,"device":"desk"`) // its own does not count
		last.say(`{"status":"offline"}`)
		n.device("bob", "online", `,"device":"tablet"`)
		if n.door.coming.Len() != 0 {
			t.Error("arrivals are left")
		}
	})
}
