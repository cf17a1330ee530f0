package mozpresence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func TestStatuses(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.device("alice", "online")
		if got := n.available("alice"); got != presence.AvailableOnline {
			t.Errorf("online: got %v", got)
		}
		p.want("again without an assertion", p.say(`{"status":"unavailable","user":"alice"}`), `{"result":"OK","status":"unavailable","user":"alice"}`)
		if got := n.available("alice"); got != presence.AvailableBusy {
			t.Errorf("unavailable: got %v, want busy", got)
		}
		p.want("nobody named", p.say(`{"status":"offline"}`), `{"result":"OK","status":"offline","user":"alice"}`)
		if got := n.available("alice"); got != presence.Unavailable {
			t.Errorf("offline closes at once: got %v", got)
		}
		p.want("offline again", p.say(`{"status":"offline"}`), `{"result":"OK","status":"offline","user":"alice"}`)
		p.want("back", p.say(`{"status":"online"}`), `{"result":"OK","status":"online","user":"alice"}`)
		if s := n.sessions("alice"); len(s) != 1 || s[0].Device.Door != Name {
			t.Errorf("sessions: got %+v, want one of this door", s)
		}
	})
}

// Offline is at once and left; anything else is a link loss, and the grace runs.
func TestGraceOfALinkLoss(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Policy: tracker.Policy{Grace: 6 * time.Second}}, func(t *testing.T, n *node) {
		n.device("alice", "online").Conn.Close()
		wait(6*time.Second - 100*time.Millisecond)
		if n.available("alice") == presence.Unavailable {
			t.Error("gone before the grace is over")
		}
		wait(200 * time.Millisecond)
		if n.available("alice") != presence.Unavailable {
			t.Error("there after the grace")
		}
		// A close frame with any code is no word either.
		p := n.device("alice", "online")
		p.Frame(8, []byte{0x03, 0xe8})
		wait(time.Second)
		if n.available("alice") == presence.Unavailable {
			t.Error("a close frame ended the session")
		}
	})
}

// A silent device is gone after the heartbeat time-out.
func TestSilence(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Policy: tracker.Policy{HeartbeatTimeout: 35 * time.Second}}, func(t *testing.T, n *node) {
		p := n.device("alice", "online")
		wait(10 * time.Minute) // it answers pings
		if n.available("alice") == presence.Unavailable {
			t.Fatal("a device that answers pings is gone")
		}
		p.Mute()
		wait(50 * time.Second)
		if n.available("alice") != presence.Unavailable {
			t.Error("a silent device is there")
		}
	})
}

// The newer socket of a device wins, and nobody sees a change.
func TestNewerSocketWins(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		id, key := n.active()
		uid := n.grant(id, "alice")
		l := n.listen(id, key)
		first := n.device("alice", "online", `,"device":"phone"`)
		other := n.device("alice", "online", `,"device":"desk"`)
		l.want("online once", l.Came(), status(uid, "online"))
		second := n.device("alice", "online", `,"device":"phone"`)
		first.ended("the older socket", codeReplaced)
		second.Conn.Close()
		wait(2 * time.Second)
		third := n.device("alice", "online", `,"device":"phone"`)
		wait(time.Minute)
		l.want("the publisher sees nothing of it", l.Came())
		if s := n.sessions("alice"); len(s) != 2 {
			t.Errorf("got %d sessions, want the two devices'", len(s))
		}
		for _, p := range []*peer{other, third} {
			if _, _, over := p.End(); over {
				t.Error("a connection that should stay ended")
			}
		}
		n.device("bob", "online", `,"device":"phone"`)
		if _, _, over := third.End(); over {
			t.Error("another user's device of the same name replaced it")
		}
	})
}

func TestRefusedStatuses(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice, bob := n.JWT("alice"), n.JWT("bob")
		old := n.Sign(token.Development(), "alice", time.Second)
		other := n.Sign(doortest.OtherIssuer(), "alice", time.Hour)
		wait(2 * time.Second)
		for _, one := range []struct {
			name, frame string
			errno       int
		}{
			{"not JSON", `online`, errJSON},
			{"a list", `[]`, errJSON},
			{"half", `{"status":`, errJSON},
			{"Python's quotes", `{'status':'online'}`, errJSON},
			{"a number", fmt.Sprintf(`{"status":1,"assertion":%q}`, alice), errJSON},
			{"a status that is none", fmt.Sprintf(`{"status":"away","assertion":%q}`, alice), errStatus},
			{"no status", fmt.Sprintf(`{"assertion":%q}`, alice), errStatus},
			{"no assertion", `{"status":"online","user":"alice"}`, errAssertion},
			{"a BrowserID assertion", `{"status":"online","assertion":"eyJhbGciOiJEUzEyOCJ9.e30.AA~eyJhbGciOiJEUzEyOCJ9.e30.AA"}`, errAssertion},
			{"expired", fmt.Sprintf(`{"status":"online","assertion":%q}`, old), errExpired},
			{"another's", fmt.Sprintf(`{"status":"online","user":"alice","assertion":%q}`, bob), errAssertion},
			{"an app without this door", fmt.Sprintf(`{"status":"online","assertion":%q}`, other), errAssertion},
			{"a long device", fmt.Sprintf(`{"status":"online","assertion":%q,"device":%q}`, alice, strings.Repeat("x", maxDevice+1)), errTooLong},
		} {
			p := n.dial("/presence")
			got := p.say("%s", one.frame)
			if want := fmt.Sprintf(`{"result":"KO","errno":%d,"error":`, one.errno); len(got) != 1 || !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], `,"status":"error"`) {
				t.Errorf("%s: got %q, want %s…", one.name, got, want)
			}
			p.want(one.name+": a good one then", p.say(`{"status":"online","user":"carol","assertion":%q}`, n.JWT("carol")), `{"result":"OK","status":"online","user":"carol"}`)
			p.say(`{"status":"offline"}`)
		}
		if n.available("alice") != presence.Unavailable || n.available("bob") != presence.Unavailable {
			t.Error("a bad frame changed something")
		}
		p := n.device("alice", "online", fmt.Sprintf(`,"device":%q`, strings.Repeat("x", maxDevice)))
		if got := p.say(`{"status":"online","assertion":%q}`, bob); !strings.Contains(got[0], `"errno":34`) {
			t.Errorf("another user on the same connection: got %q", got)
		}
		wait(25 * time.Hour)
		if got := p.say(`{"status":"unavailable"}`); !strings.Contains(got[0], `"errno":35`) {
			t.Errorf("after the assertion's life: got %q", got)
		}
	})
}

// A status of nobody known in time ends the connection.
func TestFirstFrameLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.dial("/presence")
		p.say(`nonsense`)
		wait(FirstFrame - 100*time.Millisecond)
		if _, _, over := p.End(); over {
			t.Error("ended before the limit")
		}
		wait(200 * time.Millisecond)
		p.ended("the limit", codeLate)
		q := n.device("alice", "online")
		wait(2 * FirstFrame)
		if _, _, over := q.End(); over {
			t.Error("one who is known was ended")
		}
	})
}

// The prototype's client sends no assertion: it is in the handshake.
func TestAssertionOfTheHandshake(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.dial("/presence", "Authorization", "Bearer "+n.JWT("alice"))
		p.want("a prototype's frame", p.say(`{"status":"online","user":"alice"}`), `{"result":"OK","status":"online","user":"alice"}`)
		q := n.dial("/presence?access_token=" + n.JWT("bob"))
		q.want("of a page", q.say(`{"status":"online"}`), `{"result":"OK","status":"online","user":"bob"}`)
		bad := n.dial("/presence", "Authorization", "Bearer nonsense")
		bad.ended("a bad one", codeAccess)
	})
}

func TestSlowDown(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.device("alice", "online")
		wait(time.Second)
		refused := 0
		for i := range admit.FramesRefused + 20 {
			word := []string{"online", "unavailable"}[i%2]
			for _, got := range p.say(`{"status":%q}`, word) {
				if strings.Contains(got, `"errno":42`) {
					refused++
					if !strings.Contains(got, `"retry_after":1`) {
						t.Fatalf("slow down: got %s, want retry_after", got)
					}
				}
			}
		}
		if refused < 20 {
			t.Errorf("%d statuses in a second: %d were refused, want 20 at least", admit.FramesRefused+20, refused)
		}
		wait(time.Second)
		p.want("a second later", p.say(`{"status":"online"}`), `{"result":"OK","status":"online","user":"alice"}`)
		for range admit.FramesEnd + 1 {
			if p.Send(`{}`) != nil {
				break
			}
		}
		p.ended("a flood", codeTooMany)
	})
}

// Drops, and the node's end, are told by codes.
func TestDroppedAndDrained(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		p := n.device("alice", "online")
		if _, err := n.Tracker.Drop(t.Context(), user("alice"), nil); err != nil {
			t.Fatal(err)
		}
		p.ended("dropped", codeClosed)
		q := n.device("bob", "online")
		id, key := n.active()
		l := n.listen(id, key)
		n.Tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining, RetryAfter: 2 * time.Second} })
		q.ended("drained", 1001)
		if got := q.Came(); len(got) != 1 || !strings.Contains(got[0], `"errno":42`) || !strings.Contains(got[0], `"retry_after":2`) {
			t.Errorf("drained: got %q, want slow down", got)
		}
		if len(n.sessions("bob")) != 1 {
			t.Error("a drain ended the session")
		}
		go n.door.Stop(t.Context())
		l.ended("a publisher when the node stops", 1001)
	})
}

// A device that comes by the claim email is the same user.
func TestEmailOfTheClaim(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"e30.eyJlbWFpbCI6ImFsaWNlQGV4YW1wbGUuY29tIn0.AA": "alice@example.com",
		"e30.e30.AA": "", "": "", "a.b": "", "e30.!.AA": "", "e30.eyJlbWFpbCI6MX0.AA": "",
	} {
		if got := emailOf(raw); got != want {
			t.Errorf("emailOf %q: got %q, want %q", raw, got, want)
		}
	}
}
