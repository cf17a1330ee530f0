package stringee

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The samples of the document, without its spaces; %d are times.
const (
	sampleGet = `{"loginTime":%d,"attributes":[{"attribute":"onlineStatus","value":"online"},{"attribute":"call"},{"attribute":"app_is_foreground","value":true}],"chatCustomer":false,"userId":"USER_ID"}`
	samplePut = `{"loginTime":%d,"attributes":[{"attribute":"onlineStatus","value":"online"},{"attribute":"call"},{"attribute":"ATTRIBUTE_NAME","value":"NEW_VALUE"}],"chatCustomer":false,"userId":"USER_ID"}`
	sampleNew = `{"topic":"online_status_GRDHG0HI","message":{"newValue":"online","callEnded":true,"attribute":"onlineStatus","userId":"user_1","projectId":25,"timestamp":%d}}`
)

// TestDocument plays the document from its begin to its end: the token's payload
// of section 2, the samples of sections 3 and 4, and the message of section 5.
func TestDocument(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		agent := n.connect(n.client("agent_1", "online_status_GRDHG0HI,ALL_CALL_STATUS,agent_manual_status",
			"onlineStatus>online_status_GRDHG0HI", "call>call_GRDHG0HI", "manual_status>agent_manual_status"), "web-agent")
		agent.hears("his own coming", `online_status_GRDHG0HI agent_1 onlineStatus="online"`)

		// Section 1: B changes, and A is told.
		came := time.Now()
		b := n.connect(n.client("user_1", "", "onlineStatus>online_status_GRDHG0HI"), "web-b")
		if got, want := strings.Join(agent.Came(), ""), `{"service":102,"body":`+fmt.Sprintf(sampleNew, came.UnixMilli())+`}`; got != want {
			t.Errorf("section 5: got\n%s\nwant\n%s", got, want)
		}
		if got := b.news(); len(got) != 0 {
			t.Errorf("who publishes and does not subscribe heard %q", got)
		}

		// Section 3.
		login := time.Now()
		u := n.connect(n.client("USER_ID", ""), "web-u")
		if got := u.ask(`{"service":103,"body":{"attribute":"app_is_foreground","value":true,"requestId":2}}`); got != `{"service":103,"body":{"requestId":2,"r":0,"message":"SUCCESS"}}` {
			t.Errorf("section 4b: got %s", got)
		}
		if code, got := n.call("GET", "/v1/users/USER_ID", ""); code != 200 || got != fmt.Sprintf(sampleGet, login.UnixMilli()) {
			t.Errorf("section 3: got %d\n%s\nwant\n%s", code, got, fmt.Sprintf(sampleGet, login.UnixMilli()))
		}

		// Section 4a. The sample's user has only the attribute that is set.
		if err := n.Topics.Erase(t.Context(), user("USER_ID")); err != nil {
			t.Fatal(err)
		}
		if code, got := n.call("PUT", "/v1/users/USER_ID/attributes", `[{"attribute":"ATTRIBUTE_NAME","value":"NEW_VALUE"}]`); code != 200 || got != fmt.Sprintf(samplePut, login.UnixMilli()) {
			t.Errorf("section 4a: got %d\n%s\nwant\n%s", code, got, fmt.Sprintf(samplePut, login.UnixMilli()))
		}

		// Section 2: what agent_1 publishes, and where; the default topic.
		agent.Came()
		if got := agent.ask(`{"service":103,"body":{"attribute":"manual_status","value":"away","requestId":3}}`); !strings.Contains(got, `"r":0`) || !strings.Contains(got, `"topic":"agent_manual_status"`) {
			t.Errorf("manual_status: got %s", got)
		}
		for _, state := range []string{"Calling", "Ringing", "Answered", "Ended"} {
			if code, got := n.call("PUT", "/v1/calls/call-1", `{"participants":["agent_1"],"state":"`+state+`"}`); code != 200 || got != `{"r":0,"message":"SUCCESS","callId":"call-1","state":"`+state+`","changed":1}` {
				t.Errorf("call %s: got %d %s", state, code, got)
			}
		}
		agent.hears("the call", `ALL_CALL_STATUS agent_1 call="Calling" +`, `ALL_CALL_STATUS agent_1 call="Ringing" +`, `ALL_CALL_STATUS agent_1 call="Answered" +`, `ALL_CALL_STATUS agent_1 call="Ended"`)
	})
}

// A call's state goes to the mapped topic of each participant and to
// ALL_CALL_STATUS, also of who is offline; callEnded stays false while another
// call of the user runs.
func TestCalls(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		bob := n.connect(n.client("bob", "", "call>calls_of_bob", "onlineStatus>status_of_bob"), "web-b")
		bob.hangUp()
		doortest.Elapse(7 * time.Second)
		watcher := n.connect(n.client("alice", "calls_of_bob,ALL_CALL_STATUS,status_of_bob"), "web-a")
		put := func(id, state string, want int) {
			t.Helper()
			if code, got := n.call("PUT", "/v1/calls/"+id, `{"participants":["bob","carol"],"state":"`+state+`"}`); code != 200 || !strings.HasSuffix(got, fmt.Sprintf(`"changed":%d}`, want)) {
				t.Errorf("%s %s: got %d %s", id, state, code, got)
			}
		}
		put("1", "Calling", 2)
		watcher.hears("the first", `calls_of_bob bob call="Calling" +`, `ALL_CALL_STATUS bob call="Calling" +`, `ALL_CALL_STATUS carol call="Calling" +`)
		put("1", "Calling", 0)
		watcher.hears("the same again")
		put("2", "Answered", 2)
		watcher.Came()
		put("1", "Ended", 2)
		watcher.hears("one of two ends", `calls_of_bob bob call="Ended" +`, `ALL_CALL_STATUS bob call="Ended" +`, `ALL_CALL_STATUS carol call="Ended" +`)
		put("2", "Ended", 2)
		watcher.hears("both ended", `calls_of_bob bob call="Ended"`, `ALL_CALL_STATUS bob call="Ended"`, `ALL_CALL_STATUS carol call="Ended"`)
		for body, want := range map[string]int{
			`{"participants":["bob"],"state":"Busy"}`: 400, `{"participants":["bob"]}`: 400, `{"participants":[],"state":"Ringing"}`: 400, `{"state":"Ringing"}`: 400,
			`{"participants":[""],"state":"Ringing"}`: 400, `{"participants":"bob","state":"Ringing"}`: 400, `[]`: 400, ``: 400, `{"participants":["` + strings.Repeat("x", 129) + `"],"state":"Ringing"}`: 400,
			`{"participants":[` + strings.TrimSuffix(strings.Repeat(`"bob",`, 101), ",") + `],"state":"Ringing"}`: 400,
			`{"participants":[` + strings.TrimSuffix(strings.Repeat(`"bob",`, 100), ",") + `],"state":"Ended"}`:   200,
		} {
			if code, got := n.call("PUT", "/v1/calls/3", body); code != want {
				t.Errorf("%.60s: got %d %s", body, code, got)
			}
		}
		watcher.hears("what was refused")
		for id, want := range map[string]int{strings.Repeat("c", 128): 200, strings.Repeat("c", 129): 400, "a%2Fb": 200, "%00": 400} {
			if code, got := n.call("PUT", "/v1/calls/"+id, `{"participants":["bob"],"state":"Ended"}`); code != want {
				t.Errorf("%.20s: got %d %s", id, code, got)
			}
		}
	})
}

// onlineStatus is published at 0 to 1 and 1 to 0 alone, and only as others may see
// it; the session's grace is the only delay (note B5.1).
func TestOnlineStatus(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		watcher := n.connect(n.client("alice", "s1,s2"), "web-a")
		one := n.connect(n.client("bob", "", "onlineStatus>s1"), "web-1")
		watcher.hears("the first comes", `s1 bob onlineStatus="online"`)
		two := n.connect(n.client("bob", "", "onlineStatus>s2"), "web-2")
		watcher.hears("the second comes")
		one.hangUp()
		doortest.Elapse(10 * time.Second)
		watcher.hears("one of two went")
		two.hangUp()
		doortest.Elapse(6*time.Second - 30*time.Millisecond)
		watcher.hears("within the grace")
		if got := n.online("bob"); got != `"online"` {
			t.Errorf("within the grace: %s", got)
		}
		doortest.Elapse(60 * time.Millisecond)
		watcher.hears("after the grace", `s2 bob onlineStatus="offline"`)
		if got := n.online("bob"); got != `"offline"` {
			t.Errorf("after the grace: %s", got)
		}
		// The last map is kept for who is offline (B5.6).
		if code, _ := n.call("PUT", "/v1/users/bob/attributes", `[{"attribute":"x","value":1}]`); code != 200 {
			t.Error(code)
		}
		watcher.hears("an attribute that is not in the map (B5.3)")
	})
}

// What is known of a user who came by another door, and one who is invisible.
func TestOtherDoors(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		watcher := n.connect(n.client("alice", "s"), "web-a")
		first := n.connect(n.client("bob", "", "onlineStatus>s"), "web-b")
		first.hangUp()
		doortest.Elapse(7 * time.Second)
		watcher.Came()
		ref := n.Open("bob", presence.Device{Platform: "ios", Door: "live"})
		watcher.hears("bob by another door", `s bob onlineStatus="online"`)
		n.Set(ref, presence.Status{Invisible: true})
		watcher.hears("bob hides", `s bob onlineStatus="offline"`)
		if got := n.online("bob"); got != `"offline"` {
			t.Errorf("invisible: %s", got)
		}
		n.Set(ref, presence.Status{})
		watcher.hears("bob shows himself", `s bob onlineStatus="online"`)
		n.Open("never_here", presence.Device{Door: "live"})
		if got := n.online("never_here"); got != `"online"` {
			t.Errorf("who was never here: %s", got)
		}
	})
}
