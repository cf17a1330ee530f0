package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Each kind of error, and each reason of this door, ends a connection with a
// code of its kind; nothing falls through to "internal" unless it is.
func TestCodesAreTotal(t *testing.T) {
	t.Parallel()
	internal := []string{fault.Internal.String(), fault.SlowConsumer.String()}
	reasons := []string{originRefused, noHello, tooManyConnections, sessionClosed, frameInvalid}
	for _, k := range fault.Kinds() {
		reasons = append(reasons, k.String())
	}
	for _, reason := range reasons {
		code := codeOf(reason)
		if (code == 1011) != slices.Contains(internal, reason) || code < 1000 || code > 4999 {
			t.Errorf("%s: code %d", reason, code)
		}
	}
}

// badFrames are refused on a connection that carries a session: with a reason, and
// the field where there is one.
var badFrames = []struct{ name, frame, reason, field string }{
	{"no kind", `{}`, "FIELD_INVALID", "t"},
	{"an unknown kind", `{"t":"dance","id":1}`, "FIELD_INVALID", "t"},
	{"a kind that is no text", `{"t":7}`, "FIELD_INVALID", "t"},
	{"a second hello", `{"t":"hello","token":"x"}`, "FIELD_INVALID", "t"},
	{"an id that is a text", `{"t":"ping","id":"1"}`, "FIELD_INVALID", "id"},
	{"an id below zero", `{"t":"ping","id":-1}`, "FIELD_INVALID", "id"},
	{"an id with a fraction", `{"t":"ping","id":1.5}`, "FIELD_INVALID", "id"},
	{"set without a status", `{"t":"set"}`, "FIELD_INVALID", "status"},
	{"a status that is a text", `{"t":"set","status":"away"}`, "FIELD_INVALID", "status"},
	{"an unknown show", `{"t":"set","status":{"show":"dnd"}}`, "FIELD_INVALID", "status.show"},
	{"a show that is no text", `{"t":"set","status":{"show":1}}`, "FIELD_INVALID", "status.show"},
	{"a text that is a number", `{"t":"set","status":{"text":1}}`, "FIELD_INVALID", "status.text"},
	{"a text that is a list", `{"t":"set","status":{"text":["a"]}}`, "FIELD_INVALID", "status.text"},
	{"a text that is too long", `{"t":"set","status":{"text":"` + strings.Repeat("x", 257) + `"}}`, "FIELD_INVALID", "status.text"},
	{"a reference without a token", `{"t":"set","status":{"text":{"fallback":"x"}}}`, "FIELD_INVALID", "status.text"},
	{"a reference whose args are a list", `{"t":"set","status":{"text":{"token":"a","args":[1]}}}`, "FIELD_INVALID", "status.text"},
	{"references that nest too deep", `{"t":"set","status":{"text":` + nested(5) + `}}`, "FIELD_INVALID", `status.text.args["a"].args["a"].args["a"].args["a"]`},
	{"references that nest much too deep", `{"t":"set","status":{"text":` + nested(3000) + `}}`, "FIELD_INVALID", "status.text"},
	{"invisible as a text", `{"t":"set","status":{"invisible":"yes"}}`, "FIELD_INVALID", "status.invisible"},
	{"properties that are a list", `{"t":"set","status":{"properties":[]}}`, "FIELD_INVALID", "status.properties"},
	{"a property that is null", `{"t":"set","status":{"properties":{"a":null}}}`, "FIELD_INVALID", `status.properties["a"]`},
	{"a property that is a list", `{"t":"set","status":{"properties":{"a":[]}}}`, "FIELD_INVALID", `status.properties["a"]`},
	{"a property without a name", `{"t":"set","status":{"properties":{"":1}}}`, "FIELD_INVALID", `status.properties[""]`},
	{"a property whose name is too long", `{"t":"set","status":{"properties":{"` + strings.Repeat("k", 65) + `":1}}}`, "FIELD_INVALID", `status.properties["` + strings.Repeat("k", 64) + `"]`},
	{"a property that is too long", `{"t":"set","status":{"properties":{"a":"` + strings.Repeat("x", 257) + `"}}}`, "FIELD_INVALID", `status.properties["a"]`},
	{"too many properties", `{"t":"set","status":{"properties":{` + manyProperties(33) + `}}}`, "FIELD_INVALID", "status.properties"},
	{"an integer beyond 64 bits", `{"t":"set","status":{"properties":{"a":9223372036854775808}}}`, "FIELD_INVALID", `status.properties["a"]`},
	{"a number beyond 64 bits", `{"t":"set","status":{"properties":{"a":1e400}}}`, "FIELD_INVALID", `status.properties["a"]`},
	{"a status over 8 KiB", `{"t":"set","status":{"properties":{` + longProperties() + `}}}`, "FIELD_INVALID", "status"},
	{"a patch that clears too much", `{"t":"patch","clear":["` + strings.Repeat(`","`, 32) + `"]}`, "FIELD_INVALID", "clear"},
	{"a patch that clears a number", `{"t":"patch","clear":[1]}`, "FIELD_INVALID", "clear"},
	{"a patch beyond a bound", `{"t":"patch","status":{"properties":{` + manyProperties(32) + `}}}`, "FIELD_INVALID", "status.properties"},
	{"watch without users", `{"t":"watch"}`, "FIELD_INVALID", "users"},
	{"watch of users and friends", `{"t":"watch","users":["bob"],"friends":true}`, "FIELD_INVALID", "users"},
	{"watch of one text", `{"t":"watch","users":"bob"}`, "FIELD_INVALID", "users"},
	{"watch of more than allowed", `{"t":"watch","users":["a","b","c","d","e","f"]}`, "LIMIT_SUBSCRIPTIONS", ""},
	{"watch of more than is left", `{"t":"watch","users":["a","b","c","d"]}`, "LIMIT_SUBSCRIPTIONS", ""},
	{"unwatch without users", `{"t":"unwatch"}`, "FIELD_INVALID", "users"},
	{"unwatch of more than allowed", `{"t":"unwatch","users":["a","b","c","d","e","f"]}`, "LIMIT_SUBSCRIPTIONS", ""},
	{"get without users", `{"t":"get"}`, "FIELD_INVALID", "users"},
	{"get of no user id", `{"t":"get","users":["bob","\u0000"]}`, "FIELD_INVALID", "users[1]"},
	{"get of more than a batch", `{"t":"get","users":["a","b","c","d"]}`, "LIMIT_BATCH", ""},
	{"get in no locale", `{"t":"get","users":["bob"],"locale":"not a locale"}`, "FIELD_INVALID", "locale"},
	{"bye in an unknown mode", `{"t":"bye","mode":"rudely"}`, "FIELD_INVALID", "mode"},
	{"token without one", `{"t":"token"}`, "JWT_INVALID", ""},
	{"token that is none", `{"t":"token","token":"a.b.c"}`, "JWT_INVALID", ""},
}

// nested is references within each other, n deep.
func nested(n int) string {
	return strings.Repeat(`{"token":"t","args":{"a":`, n-1) + `{"token":"t"}` + strings.Repeat("}}", n-1)
}

func manyProperties(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"p%02d":%d`, i, i))
	}
	return strings.Join(list, ",")
}

func longProperties() string {
	var list []string
	for i := range 32 {
		list = append(list, fmt.Sprintf(`"p%02d":%q`, i, strings.Repeat("x", 256)))
	}
	return strings.Join(list, ",")
}

type errorFrame struct {
	T, Reason, Message, Part string
	ID                       *uint64
	RetryAfter               int64 `json:"retry_after"`
	Fields                   []struct{ Path, Message string }
}

// A bad frame is answered with what is wrong and where, changes nothing that
// anybody sees, and the connection stands.
func TestBadFramesAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Limits: admit.Limits{Watches: 5, Batch: 3}}, func(t *testing.T, n *node) {
		bob := n.hello("bob", `"watch":["alice"]`)
		alice := n.hello("alice", `"watch":["x","y"],"status":{"text":"before","properties":{"q":1}}`)
		bob.Came()
		alice.Came()
		for _, row := range badFrames {
			wait(2 * time.Second) // the pace of frames is another test's
			var e errorFrame
			got := alice.ask("%s", row.frame)
			read(t, got, &e)
			if e.T != "error" || e.Reason != row.reason || e.Message == "" {
				t.Errorf("%s: got %s, want %s", row.name, got, row.reason)
			}
			if row.field == "" != (len(e.Fields) == 0) || row.field != "" && e.Fields[0].Path != row.field {
				t.Errorf("%s: got %s, want the field %s", row.name, got, row.field)
			}
			alice.stands()
			if lines, _ := bob.notes(bob.Came()); len(lines) > 0 {
				t.Errorf("%s: told watchers %q", row.name, lines)
			}
		}
		alice.ask(`{"t":"set","status":{"text":"after"}}`)
		bob.wantNotes("a good frame", "alice updated on online after")
		if users, _ := n.Hub.Watches(alice.session()); len(users) != 2 {
			t.Errorf("watches %q, want the two of the hello", users)
		}
	})
}

// session is the id of the device's session inside.
func (d *device) session() presence.SessionID {
	d.n.t.Helper()
	s, err := d.n.Ring.Open(d.welcome.Resume)
	if err != nil {
		d.n.t.Fatal(err)
	}
	return s.Session
}

// What is no JSON object in a text frame ends the connection; the session is
// kept, and within the grace nobody sees a thing.
func TestWhatIsNoFrameEnds(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]struct {
		op byte
		b  string
	}{
		"no JSON": {1, "hello"}, "a list": {1, `[1]`}, "a text": {1, `"hello"`}, "nothing": {1, ""}, "half an object": {1, `{"t":"ping"`},
		"two objects": {1, `{"t":"ping"}{"t":"ping"}`}, "binary": {2, `{"t":"ping"}`}, "null": {1, "null"}, "nests without end": {1, strings.Repeat(`{"a":`, 20_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
				bob := n.hello("bob", `"watch":["alice"]`)
				alice := n.hello("alice", "")
				bob.Came()
				alice.Frame(frame.op, []byte(frame.b))
				code, last := alice.ended()
				if code != 4400 || last != `{"t":"bye","reason":"FRAME_INVALID","message":"a frame is one JSON object in a text message","kept":true}` {
					t.Errorf("got %d, %s", code, last)
				}
				again := n.hello("alice", alice.resume("1"))
				if !again.welcome.Resumed {
					t.Error("the session was not kept")
				}
				wait(10 * time.Second)
				bob.wantNotes("nothing is seen")
			})
		})
	}
}

// The store does not answer: a hello is refused in the end, others are served
// meanwhile, and a bye is answered with what happened.
func TestTheStoreIsDown(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob"]`)
		carol := n.hello("carol", "")
		alice.Came()
		release := n.Store.Hold()
		bob := n.open()
		bob.Say(`{"t":"hello","token":%q}`, n.JWT("bob"))
		wait(time.Second)
		if got := alice.ask(`{"t":"set","id":1,"status":{"text":"still here"}}`); !strings.HasPrefix(got, `{"t":"ok"`) {
			t.Errorf("set while another waits: %s", got)
		}
		alice.Say(`{"t":"patch","id":2,"status":{"invisible":true}}`)
		carol.Say(`{"t":"bye","id":3}`)
		wait(10 * time.Second)
		if code, last := bob.ended(); code != 4503 || !strings.Contains(last, `"reason":"LOG_UNAVAILABLE"`) || !strings.Contains(last, "retry_after") {
			t.Errorf("hello: %d %s", code, last)
		}
		var e errorFrame
		got := alice.Came()
		if len(got) != 1 {
			t.Fatalf("invisible: got %q", got)
		}
		if read(t, got[0], &e); e.Reason != "LOG_UNAVAILABLE" || e.RetryAfter == 0 || *e.ID != 2 {
			t.Errorf("invisible: %s", got[0])
		}
		frames := carol.Came()
		if code, _, _ := carol.End(); code != 1000 || len(frames) != 2 || !strings.Contains(frames[0], `"id":3,"reason":"LOG_UNAVAILABLE"`) || !strings.Contains(frames[1], "SESSION_CLOSED") {
			t.Errorf("bye: %d %q", code, frames)
		}
		release()
		synctest.Wait()
		alice.stands()
	})
}

// Every frame that was answered is told of with its reason, and every
// connection that ended.
func TestCallsAreTold(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", "")
		alice.ask(`{"t":"ping"}`)
		alice.ask(`{"t":"set"}`)
		alice.ask(`{"t":"made up by a peer"}`)
		alice.Conn.Close()
		bob := n.open()
		bob.Say(`{"t":"hello"}`)
		bob.ended()
		got := n.reports()
		slices.Sort(got)
		want := []string{"end of connection JWT_INVALID", "end of connection LINK_LOST", "hello JWT_INVALID", "hello OK", "ping OK", "set FIELD_INVALID", "unknown FIELD_INVALID"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// A panic is that frame's internal error, and the node lives.
func TestPanicsEndOneFrameOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", "")
		texts := n.door.cfg.Gate
		n.door.cfg.Gate = nil
		if got := alice.ask(`{"t":"get","id":3,"users":["bob"]}`); got != `{"t":"error","id":3,"reason":"INTERNAL","message":"internal error; the node's log has the details"}` {
			t.Errorf("got %s", got)
		}
		bob := n.open()
		bob.Say(`{"t":"hello","token":"x"}`)
		if code, last := bob.ended(); code != 1011 || !strings.Contains(last, "INTERNAL") {
			t.Errorf("hello: %d %s", code, last)
		}
		n.door.cfg.Gate = texts
		if !strings.Contains(n.Log.String(), "stack=") {
			t.Error("the log has no stack")
		}
		n.hello("carol", "")
		alice.stands()
	})
}
