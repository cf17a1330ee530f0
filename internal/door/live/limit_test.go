package live

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Limits on connections: those of an address, and of a user.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, doortest.New(t, doortest.Config{}), Limits{PerAddress: 2, PerUser: map[presence.AppID]int{doortest.App: 2}})
		defer n.stop()
		from := func(addr string) *peer { return n.open("Test-From", addr) }
		crowded := func(p *peer, what string) {
			t.Helper()
			if code, bye := p.ended(); code != 4429 || !strings.Contains(bye, `"reason":"TOO_MANY_CONNECTIONS"`) {
				t.Errorf("%s: %d %s", what, code, bye)
			}
		}
		one, two := from("192.0.2.1:1000"), from("192.0.2.1:2000")
		crowded(from("192.0.2.1:3000"), "a third of an address")
		crowded(from("[::ffff:192.0.2.1]:3000"), "the same address, mapped")
		from("192.0.2.2:1").stands()
		from("[2001:db8::1]:1").stands()
		from("[2001:db8::2]:1").stands()
		crowded(from("[2001:db8:0:0:ffff::1]:1"), "a third of a /64")
		from("[2001:db8:0:1::1]:1").stands()
		for range 5 {
			from("127.0.0.1:9").stands()
		}
		one.Conn.Close()
		synctest.Wait()
		three := from("192.0.2.1:4000")
		three.stands()

		alice := &device{peer: two}
		alice.greet("alice", "")
		second := &device{peer: three}
		second.greet("alice", "")
		p := n.open()
		p.Say(`{"t":"hello","token":%q}`, n.JWT("alice"))
		crowded(p, "a third of a user")
		again := n.hello("alice", alice.resume("1")) // in place of the first
		again.stands()
		n.hello("bob", "")
		if len(n.Tracker.Sessions(presence.User{App: doortest.App, ID: "alice"})) != 2 {
			t.Error("a refused connection left a session")
		}
		n.door.SetLimits(Limits{PerAddress: 9})
		n.hello("alice", "").stands()
		wait(time.Minute)
	})
}

// Frames beyond the pace are answered and not done, far beyond it the connection
// ends.
func TestPace(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", "")
		wait(time.Second) // a second of the wheel begins somewhere
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 10*time.Millisecond)))
		answers := map[string]int{}
		for range 300 {
			var e errorFrame
			read(t, alice.ask(`{"t":"ping"}`), &e)
			answers[e.T+e.Reason]++
		}
		if answers["pong"]+answers["errorRATE_LIMITED"] != 300 || answers["pong"] < admit.FramesRefused || answers["errorRATE_LIMITED"] == 0 {
			t.Errorf("got %v", answers)
		}
		wait(time.Second)
		if got := alice.ask(`{"t":"ping"}`); !strings.HasPrefix(got, `{"t":"pong"`) {
			t.Errorf("a second later: %s", got)
		}
		for range 2 * admit.FramesEnd {
			if alice.Send(`{"t":"ping"}`) != nil {
				break
			}
		}
		if code, bye := alice.ended(); code != 4429 || !strings.Contains(bye, `"reason":"RATE_LIMITED"`) || !strings.Contains(bye, `"kept":true`) {
			t.Errorf("got %d %s", code, bye)
		}
	})
}

// Limits of a hello's list and of what a list may hold.
func TestLongLists(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Limits: admit.Limits{Watches: 2000}}, func(t *testing.T, n *node) {
		var ids []string
		for i := range 2000 {
			ids = append(ids, fmt.Sprintf("%q", fmt.Sprintf("%0128d", i)))
		}
		alice := n.hello("alice", `"watch":[`+strings.Join(ids, ",")+`]`)
		got, last := alice.notes(alice.Came())
		if len(got) != 2001 || last != 2002 {
			t.Errorf("%d notifications, the last is %d", len(got), last)
		}
		bob := n.hello("bob", `"watch":[`+strings.Join(ids, ",")+`,"one more"]`)
		frames := bob.Came()
		if len(frames) != 1 || !strings.HasPrefix(frames[0], `{"t":"error","part":"watch","reason":"LIMIT_SUBSCRIPTIONS"`) {
			t.Errorf("one too many: %q", frames)
		}
		bob.stands()
		for _, f := range frames {
			if len(f) > mostInFrame+1024 {
				t.Errorf("a frame of %d bytes", len(f))
			}
		}
		carol := n.hello("carol", "")
		carol.Send(`{"t":"ping","x":"` + strings.Repeat("x", MaxFrame) + `"}`)
		if code, _ := carol.ended(); code != 1009 {
			t.Errorf("a frame over the limit: %d", code)
		}
	})
}
