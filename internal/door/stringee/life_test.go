package stringee

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// The same client of the user within the grace goes on with its session, and
// nobody sees anything (note B5.10); later, or another client, is a new one.
func TestResume(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		watcher := n.connect(n.client("alice", "s"), "web-a")
		raw := n.client("bob", "", "onlineStatus>s")
		first := n.connect(raw, "web-b")
		id := n.Tracker.Presence(user("bob")).Sessions[0].Public
		watcher.hears("bob comes", `s bob onlineStatus="online"`)
		session := func() (presence.PublicID, int) {
			l := n.Tracker.Sessions(user("bob"))
			return l[len(l)-1].Public, len(l)
		}
		same := func(what string) {
			t.Helper()
			if got, count := session(); got != id || count != 1 {
				t.Errorf("%s: session %v of %d, want %v alone", what, got, count, id)
			}
			watcher.hears(what)
		}
		second := n.connect(raw, "web-b")
		if code := first.ended(); code != closeReplaced {
			t.Errorf("the former connection ended with %d", code)
		}
		same("taken over while it stands")
		second.hangUp()
		doortest.Elapse(5900 * time.Millisecond)
		n.connect(raw, "web-b").hangUp()
		same("back within the grace")
		n.connect(n.client("bob", "other"), "web-b").hangUp()
		same("back with another token")
		n.connect(raw, "web-c")
		if _, count := session(); count != 2 {
			t.Errorf("another client: %d sessions, want 2", count)
		}
		n.connect(n.client("carol", ""), "web-b")
		if got := n.Tracker.Sessions(user("carol")); len(got) != 1 || got[0].Public == id {
			t.Errorf("another user with the same device id: %v", got)
		}
		doortest.Elapse(7 * time.Second)
		n.connect(raw, "web-b")
		if got, count := session(); got == id || count != 2 {
			t.Errorf("after the grace: session %v of %d, want a new one", got, count)
		}
	})
}

// A session that another door made is not taken up by naming its device, and a
// client without a device id has a session of its own each time.
func TestResumesItsOwnAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		n.Open("bob", presence.Device{ID: "phone", Door: "live"})
		of := func() []tracker.Session { return n.Tracker.Sessions(user("bob")) }
		made := of()[0].Public
		n.connect(n.client("bob", ""), "")
		n.connect(n.client("bob", ""), "")
		if got := of(); len(got) != 3 {
			t.Errorf("%d sessions, want 3", len(got))
		}
		n.connect(n.client("bob", ""), "phone") // the same device of the user replaces, as everywhere
		if got := of(); len(got) != 3 || slices.ContainsFunc(got, func(s tracker.Session) bool { return s.Public == made }) {
			t.Errorf("got %+v, want the live door's session %v replaced", got, made)
		}
	})
}

// After a restart of the node a client goes on with its session, and nobody sees it.
func TestResumeAfterRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := doortest.New(t, doortest.Config{Checkpoints: true})
		n := newNode(t, core, Config{})
		raw := n.client("bob", "", "onlineStatus>s")
		n.connect(raw, "web-b")
		id := n.Tracker.Sessions(user("bob"))[0].Public
		n.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining} })
		n.stop()
		n = newNode(t, doortest.New(t, doortest.Config{Store: core.Store, Checkpoints: true, Incarnation: 2}), Config{})
		defer n.stop()
		watcher := n.connect(n.client("alice", "s"), "web-a")
		n.connect(raw, "web-b")
		if got := n.Tracker.Sessions(user("bob")); len(got) != 1 || got[0].Public != id || got[0].Phase != presence.PhaseLive {
			t.Errorf("got %+v, want the session %v, live", got, id)
		}
		watcher.hears("a restart")
	})
}

// A user's clients hear of each other, wherever they come in, and when they are
// gone: after the grace (services 2 and 104).
func TestOtherClients(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		raw := n.client("bob", "")
		one := n.connect(raw, "web-1")
		two := n.open()
		if got, want := two.hello(raw, "web-2"), `"clients":[{"clientId":"web-1","browserId":"browser-1"},{"clientId":"web-2","browserId":"browser-1"}]}}`; !strings.HasSuffix(got, want) {
			t.Errorf("authen: got\n%s\nwant it to end with\n%s", got, want)
		}
		hears := func(what string, p *peer, want ...string) {
			t.Helper()
			if got := p.Came(); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		frame := func(status, id, browser string) string {
			return fmt.Sprintf(`{"service":104,"body":{"status":%q,"clientId":%q,"browserId":%q,"userId":"bob"}}`, status, id, browser)
		}
		hears("the second comes", one, frame("connected", "web-2", "browser-1"))
		hears("the second itself", two)
		phone := n.Open("bob", presence.Device{ID: "phone", Door: "live", Version: "17 beta"})
		hears("another door", one, frame("connected", "phone", ""))
		hears("another door", two, frame("connected", "phone", ""))
		n.Set(phone, presence.Status{Show: presence.Away})
		n.Set(phone, presence.Status{Invisible: true}) // his own clients see it all the same
		hears("a status is none", one)
		if _, err := n.Tracker.PutPresence(t.Context(), tracker.PutParams{User: user("bob"), Name: "desk", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		hears("what a server says is no client", one)
		n.Core.Close(phone, presence.ReasonLogout)
		hears("another door's logout", one, frame("disconnected", "phone", ""))
		two.hangUp()
		doortest.Elapse(5900 * time.Millisecond)
		hears("within the grace", one)
		doortest.Elapse(200 * time.Millisecond)
		hears("after the grace", one, frame("disconnected", "web-2", "browser-1"))
		n.connect(n.client("carol", ""), "web-3")
		hears("another user", one)
	})
}

// The server pings every 15 s; a client that does not answer is gone when its
// heartbeat time-out is over, and one that answers stays.
func TestPings(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		deaf := n.connect(n.client("deaf", ""), "web-d")
		well := n.connect(n.client("well", ""), "web-w")
		began := time.Now()
		doortest.Elapse(100 * time.Millisecond)
		for range 4 {
			doortest.Elapse(PingEvery)
			if got := well.Came(); strings.Join(got, "") != pingFrame {
				t.Errorf("after %v: got %q, want one ping", time.Since(began), got)
			}
			well.Say(`{"service":1,"body":{"requestId":9}}`)
			if got := well.Came(); len(got) != 0 {
				t.Errorf("the answer to a ping was answered: %q", got)
			}
			at := time.Since(began)
			if _, _, over := deaf.End(); over != (at > 35*time.Second) {
				t.Errorf("after %v: the silent one's connection over %v", at, over)
			}
		}
		well.stands()
		if code := deaf.ended(); code != closeEnded {
			t.Errorf("the silent one ended with %d", code)
		}
		if n.online("deaf") != `"offline"` || n.online("well") != `"online"` {
			t.Errorf("deaf %s, well %s", n.online("deaf"), n.online("well"))
		}
		for _, v := range n.Tracker.Presence(user("deaf")).Sessions {
			if v.True.Reason != presence.ReasonTimedOut {
				t.Errorf("closed for %v, want timed out", v.True.Reason)
			}
		}
	})
}

// Where time-outs are short, pings are as often as those need.
func TestPingsOfShortTimeouts(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: 12 * time.Second, Grace: 3 * time.Second}}, Config{}, func(t *testing.T, n *node) {
		p := n.connect(n.client("bob", ""), "web-b")
		doortest.Elapse(5200 * time.Millisecond)
		if got := p.Came(); strings.Join(got, "") != pingFrame {
			t.Errorf("got %q, want a ping after 5.14 s", got)
		}
	})
}

// Who does not authenticate within 10 s goes.
func TestAuthenLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		p := n.open()
		doortest.Elapse(AuthenLimit - 100*time.Millisecond)
		p.stands()
		doortest.Elapse(200 * time.Millisecond)
		if code := p.ended(); code != closeNoAuthen {
			t.Errorf("ended with %d", code)
		}
		in := n.open()
		doortest.Elapse(9 * time.Second)
		in.hello(n.client("bob", ""), "web-b")
		doortest.Elapse(2 * time.Second)
		in.stands()
	})
}

// Who was dropped or replaced is told so when it comes back by itself, and stays
// away; later it may come.
func TestEndedByOthers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		policy presence.MultiDevice
		end    func(n *node)
		code   int
	}{
		"dropped": {presence.AllowAll, func(n *node) {
			if _, err := n.Tracker.Drop(n.t.Context(), user("bob"), nil); err != nil {
				n.t.Fatal(err)
			}
		}, codeDropped},
		"replaced": {presence.Single, func(n *node) { n.connect(n.client("bob", ""), "web-2") }, codeReplaced},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{Policy: tracker.Policy{MultiDevice: row.policy}}, Config{}, func(t *testing.T, n *node) {
				raw := n.client("bob", "")
				p := n.connect(raw, "web-1")
				row.end(n)
				if code := p.ended(); code != closeEnded {
					t.Errorf("ended with %d", code)
				}
				for _, after := range []time.Duration{500 * time.Millisecond, 9 * time.Second} {
					doortest.Elapse(after)
					again := n.open()
					if got := again.hello(raw, "web-1"); !strings.Contains(got, fmt.Sprintf(`"r":%d,`, row.code)) {
						t.Errorf("after %v: got %s, want r %d", after, got, row.code)
					}
					if code := again.ended(); code != closeRefused {
						t.Errorf("after %v: ended with %d", after, code)
					}
				}
				doortest.Elapse(600 * time.Millisecond)
				n.connect(raw, "web-1")
			})
		})
	}
}

// A stopping node closes; who comes back is sent elsewhere, where that is known.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, elsewhere := range map[string][]string{"alone": nil, "of several": {"ws://two.example:7400"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{}, Config{Places: Places{Elsewhere: elsewhere}}, func(t *testing.T, n *node) {
				raw := n.client("bob", "")
				p := n.connect(raw, "web-b")
				n.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining, RetryAfter: time.Second} })
				if code := p.ended(); code != 1001 {
					t.Errorf("ended with %d, want 1001", code)
				}
				began := time.Now()
				done := make(chan time.Duration, 1)
				go func() { n.door.Away(t.Context()); done <- time.Since(began) }()
				doortest.Elapse(500 * time.Millisecond)
				again := n.open()
				want := `{"service":2,"body":{"requestId":1,"r":15,"message":"connect to change_to_server","change_to_server":"ws://two.example:7400"}}`
				least, most := 500*time.Millisecond, 600*time.Millisecond
				if elsewhere == nil {
					want, least, most = "", 0, 0
				}
				if got := again.hello(raw, "web-b"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if code := again.ended(); code != closeUnavailable {
					t.Errorf("ended with %d", code)
				}
				if took := <-done; took < least || took > most {
					t.Errorf("waited %v for them, want %v to %v", took, least, most)
				}
				if got := n.Tracker.Sessions(user("bob")); len(got) != 1 {
					t.Errorf("the session was not kept: %v", got)
				}
			})
		})
	}
}

// A node that sends its clients away waits for them no longer than its limit.
func TestAwayIsBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{Places: Places{Elsewhere: []string{"ws://two.example:7400"}}}, func(t *testing.T, n *node) {
		n.connect(n.client("bob", ""), "web-b")
		n.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining} })
		began := time.Now()
		n.door.Away(t.Context())
		if took := time.Since(began); took < AwayLimit || took > AwayLimit+50*time.Millisecond {
			t.Errorf("waited %v, want %v", took, AwayLimit)
		}
	})
}

// A subscriber that does not read is cut when more than its queue holds waits;
// others hear everything, and it begins anew when it comes back.
func TestSlowSubscriber(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		raw := n.client("slow", "s")
		slow, answer := n.handshake()
		if slow == nil {
			t.Fatal(answer.Status)
		}
		stuck := make(chan struct{})
		go func() { // it reads what it gets at first, and then nothing
			slow.Next()
			close(stuck)
		}()
		slow.hello(raw, "web-s")
		<-stuck
		well := n.connect(n.client("well", "s"), "web-w")
		n.connect(n.client("bob", "", "x>s"), "web-b")
		const messages = 2 * topic.QueueSize
		heard := 0
		for i := range messages {
			if _, _, err := n.Topics.Set(t.Context(), user("bob"), []topic.Attribute{{Name: "x", Value: []byte(fmt.Sprint(i))}}); err != nil {
				t.Fatal(err)
			}
			heard += len(well.news())
		}
		if heard != messages {
			t.Errorf("who reads heard %d of %d", heard, messages)
		}
		if got := n.Topics.Counts().Slow; got != 1 {
			t.Errorf("%d were too slow, want 1", got)
		}
		doortest.Elapse(31 * time.Second)
		if n.door.Open() != 2 {
			t.Errorf("%d connections are open, want those of well and bob", n.door.Open())
		}
		again := n.connect(raw, "web-s")
		if _, _, err := n.Topics.Set(t.Context(), user("bob"), []topic.Attribute{{Name: "x", Value: []byte(`"again"`)}}); err != nil {
			t.Fatal(err)
		}
		again.hears("after it came back", `s bob x="again"`)
	})
}

// While the store takes nothing a client gets no answer but an end, so that it
// comes again; a change of an attribute is answered.
func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		raw := n.client("bob", "", "x>s")
		p := n.connect(n.client("alice", "s"), "web-a")
		for what, down := range map[string]func(error){"log": n.Store.Refuse, "attributes": n.Store.RefuseRosters} {
			down(errors.New("the disk is full"))
			late := n.open()
			got := late.hello(raw, "web-b")
			doortest.Elapse(11 * time.Second)
			if code := late.ended(); got != "" || code != closeUnavailable && code != closeNoAuthen {
				t.Errorf("%s: got %q, ended with %d", what, got, code)
			}
			down(nil)
			if got := n.Tracker.Sessions(user("bob")); len(got) != 0 {
				t.Errorf("%s: left %v", what, got)
			}
		}
		n.Store.RefuseRosters(errors.New("the disk is full"))
		if got := p.ask(`{"service":103,"body":{"attribute":"x","value":1,"requestId":2}}`); !strings.Contains(got, `"requestId":2,"r":503`) {
			t.Errorf("got %s", got)
		}
		if code, body := n.call("PUT", "/v1/users/alice/attributes", `[{"attribute":"x","value":1}]`); code != 503 || !strings.Contains(body, `"r":503`) {
			t.Errorf("got %d %s", code, body)
		}
		n.Store.RefuseRosters(nil)
		n.connect(raw, "web-b")
	})
}
