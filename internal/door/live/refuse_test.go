package live

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
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
		bob.take()
		alice.take()
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
			if lines, _ := bob.notes(bob.take()); len(lines) > 0 {
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
				bob.take()
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

// badHellos end the connection with a reason and a code, and leave no session.
// ALICE and BOB in a frame are access tokens, SESSION is bob's session token.
var badHellos = []struct {
	name, frame, reason string
	code                int
	field               string
}{
	{"no hello first", `{"t":"ping"}`, "FIELD_INVALID", 4400, "t"},
	{"a set first", `{"t":"set","status":{}}`, "FIELD_INVALID", 4400, "t"},
	{"no kind", `{"token":"ALICE"}`, "FIELD_INVALID", 4400, "t"},
	{"no token", `{"t":"hello"}`, "JWT_INVALID", 4401, ""},
	{"a token that is none", `{"t":"hello","token":"a.b.c"}`, "JWT_INVALID", 4401, ""},
	{"an expired token", `{"t":"hello","token":"OLD"}`, "JWT_EXPIRED", 4401, ""},
	{"a session token that is none", `{"t":"hello","token":"ALICE","resume":"AAAA"}`, "SESSION_TOKEN_INVALID", 4410, ""},
	{"another's session token", `{"t":"hello","token":"ALICE","resume":"SESSION"}`, "SESSION_TOKEN_NOT_YOURS", 4410, ""},
	{"a session token of another app", `{"t":"hello","token":"ELSEWHERE","resume":"SESSION"}`, "SESSION_TOKEN_NOT_YOURS", 4410, ""},
	{"a number from the future", `{"t":"hello","token":"BOB","resume":"SESSION","after":99}`, "RESUME_FROM_FUTURE", 4400, ""},
	{"a new session from the future", `{"t":"hello","token":"ALICE","after":99999999999}`, "RESUME_FROM_FUTURE", 4400, ""},
	{"a bad status", `{"t":"hello","token":"ALICE","status":{"show":"x"}}`, "FIELD_INVALID", 4400, "status.show"},
	{"a platform that is too long", `{"t":"hello","token":"ALICE","device":{"platform":"` + strings.Repeat("x", 65) + `"}}`, "FIELD_INVALID", 4400, "device.platform"},
	{"control characters in a device", `{"t":"hello","token":"ALICE","device":{"id":"a\u0000"}}`, "FIELD_INVALID", 4400, "device.id"},
	{"no locale", `{"t":"hello","token":"ALICE","device":{"locale":"no locale"}}`, "FIELD_INVALID", 4400, "device.locale"},
	{"a device that is a text", `{"t":"hello","token":"ALICE","device":"web"}`, "FIELD_INVALID", 4400, "device"},
	{"a device whose id is a number", `{"t":"hello","token":"ALICE","device":{"id":7}}`, "FIELD_INVALID", 4400, "device.id"},
	{"too many sessions", `{"t":"hello","token":"CAROL"}`, "LIMIT_SESSIONS", 4429, ""},
}

func TestBadHellosEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Policy: tracker.Policy{SessionsPerUser: 1}}, func(t *testing.T, n *node) {
		bob := n.hello("bob", "")
		carol := n.hello("carol", "")
		old := n.Sign(token.Development(), "alice", time.Second)
		wait(time.Second)
		words := strings.NewReplacer("ALICE", n.JWT("alice"), "BOB", n.JWT("bob"), "CAROL", n.JWT("carol"), "OLD", old, "ELSEWHERE", n.Sign(doortest.OtherIssuer(), "bob", time.Hour), "SESSION", bob.welcome.Resume)
		for _, row := range badHellos {
			p := n.open()
			p.send("%s", words.Replace(row.frame))
			code, last := p.ended()
			var bye struct {
				errorFrame
				Kept bool
			}
			read(t, last, &bye)
			if code != row.code || bye.T != "bye" || bye.Reason != row.reason || bye.Message == "" {
				t.Errorf("%s: got %d, %s; want %d, %s", row.name, code, last, row.code, row.reason)
			}
			if row.field != "" && (len(bye.Fields) == 0 || bye.Fields[0].Path != row.field) {
				t.Errorf("%s: got %s, want the field %s", row.name, last, row.field)
			}
			if want := row.reason == "RESUME_FROM_FUTURE" && strings.Contains(row.frame, "resume"); bye.Kept != want {
				t.Errorf("%s: kept %v, want %v", row.name, bye.Kept, want)
			}
		}
		if list := n.Tracker.Sessions(presence.User{App: doortest.App, ID: "alice"}); len(list) != 0 {
			t.Errorf("alice has %d sessions after hellos that failed", len(list))
		}
		bob.stands()
		carol.stands()
	})
}

// Who says nothing is sent away after ten seconds, and costs nothing after.
func TestNoHello(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		first := n.open()
		wait(3 * time.Second)
		second := n.open()
		said := n.hello("alice", "")
		wait(HelloLimit - 3*time.Second - 100*time.Millisecond)
		first.stands()
		wait(200 * time.Millisecond)
		if code, last := first.ended(); code != 4408 || !strings.Contains(last, "NO_HELLO") {
			t.Errorf("got %d, %s", code, last)
		}
		second.stands()
		wait(3 * time.Second)
		second.ended()
		said.stands()
		if got := n.door.fresh.count(); got != 0 {
			t.Errorf("%d are waited for", got)
		}
	})
}

// The store does not answer: a hello is refused in the end, others are served
// meanwhile, and a bye is answered with what happened.
func TestTheStoreIsDown(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		alice := n.hello("alice", `"watch":["bob"]`)
		carol := n.hello("carol", "")
		alice.take()
		release := n.Store.Hold()
		bob := n.open()
		bob.send(`{"t":"hello","token":%q}`, n.JWT("bob"))
		wait(time.Second)
		if got := alice.ask(`{"t":"set","id":1,"status":{"text":"still here"}}`); !strings.HasPrefix(got, `{"t":"ok"`) {
			t.Errorf("set while another waits: %s", got)
		}
		alice.send(`{"t":"patch","id":2,"status":{"invisible":true}}`)
		carol.send(`{"t":"bye","id":3}`)
		wait(10 * time.Second)
		if code, last := bob.ended(); code != 4503 || !strings.Contains(last, `"reason":"LOG_UNAVAILABLE"`) || !strings.Contains(last, "retry_after") {
			t.Errorf("hello: %d %s", code, last)
		}
		var e errorFrame
		got := alice.take()
		if len(got) != 1 {
			t.Fatalf("invisible: got %q", got)
		}
		if read(t, got[0], &e); e.Reason != "LOG_UNAVAILABLE" || e.RetryAfter == 0 || *e.ID != 2 {
			t.Errorf("invisible: %s", got[0])
		}
		frames := carol.take()
		if code, _, _ := carol.End(); code != 1000 || len(frames) != 2 || !strings.Contains(frames[0], `"id":3,"reason":"LOG_UNAVAILABLE"`) || !strings.Contains(frames[1], "SESSION_CLOSED") {
			t.Errorf("bye: %d %q", code, frames)
		}
		release()
		synctest.Wait()
		alice.stands()
	})
}

// A handshake that is none, or for something else, is answered over HTTP.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Origins: map[presence.AppID][]string{doortest.App: {"https://app.example"}, doortest.Other: {"https://other.example"}}}, func(t *testing.T, n *node) {
		for _, row := range []struct {
			name, path string
			header     []string
			status     int
		}{
			{"a path below", "/live/x", nil, http.StatusNotFound},
			{"no WebSocket", Path, []string{"Upgrade", "h2c"}, http.StatusUpgradeRequired},
			{"a page of the app", Path, []string{"Origin", "https://app.example"}, http.StatusSwitchingProtocols},
			{"a page of another app", Path, []string{"Origin", "https://other.example"}, http.StatusSwitchingProtocols},
			{"a page of this host", Path, []string{"Origin", "http://porchlight.test"}, http.StatusSwitchingProtocols},
			{"nobody's page", Path, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
			{"a file", Path, []string{"Origin", "null"}, http.StatusForbidden},
		} {
			h := http.Header{"Sec-Websocket-Protocol": {Protocol}}
			for i := 0; i < len(row.header); i += 2 {
				h[http.CanonicalHeaderKey(row.header[i])] = []string{row.header[i+1]}
			}
			p, answer := doortest.Handshake(t, n.dial(), row.path, h)
			if answer.StatusCode != row.status {
				t.Errorf("%s: %s, want %d", row.name, answer.Status, row.status)
			}
			if p != nil {
				p.Conn.Close()
			}
		}
		_, answer := doortest.Handshake(t, n.dial(), Path, http.Header{"Sec-Websocket-Protocol": {"mqtt, soap"}})
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("other protocols: %s", answer.Status)
		}
		p, answer := doortest.Handshake(t, n.dial(), Path, nil)
		if p == nil || answer.Header.Get("Sec-WebSocket-Protocol") != "" {
			t.Errorf("no protocol: %s", answer.Status)
		}
		p.Conn.Close()
	})
}

// After the hello only pages of the token's own app stay.
func TestOriginsAfterTheHello(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{Origins: map[presence.AppID][]string{doortest.App: {"https://app.example"}, doortest.Other: {"https://other.example"}}}, func(t *testing.T, n *node) {
		good := &device{peer: n.open("Origin", "https://app.example")}
		good.greet("alice", "")
		bad := n.open("Origin", "https://other.example")
		bad.send(`{"t":"hello","token":%q}`, n.JWT("bob"))
		if code, last := bad.ended(); code != 4403 || !strings.Contains(last, `"reason":"ORIGIN_REFUSED"`) || !strings.Contains(last, "cors.origins") {
			t.Errorf("got %d %s", code, last)
		}
		if list := n.Tracker.Sessions(presence.User{App: doortest.App, ID: "bob"}); len(list) != 0 {
			t.Error("a refused page has made a session")
		}
		n.Gate.SetOrigins(map[presence.AppID][]string{doortest.App: {"*"}})
		any := &device{peer: n.open("Origin", "https://anything.example")}
		any.greet("bob", "")
	})
}

// The access token comes in the handshake too: in the header, or in the query for
// pages. It is in no log (the core's end looks for all tokens).
func TestTokensOfTheHandshake(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		for name, row := range map[string]struct {
			path   string
			header []string
			hello  string
			reason string // "" is a welcome
		}{
			"header":                 {Path, []string{"Authorization", "Bearer " + n.JWT("alice")}, `{"t":"hello"}`, ""},
			"query":                  {Path + "?access_token=" + n.JWT("alice"), nil, `{"t":"hello"}`, ""},
			"hello before header":    {Path, []string{"Authorization", "Bearer " + n.JWT("bob")}, fmt.Sprintf(`{"t":"hello","token":%q}`, n.JWT("alice")), ""},
			"both":                   {Path + "?access_token=" + n.JWT("alice"), []string{"Authorization", "Bearer " + n.JWT("alice")}, "", "JWT_INVALID"},
			"another scheme":         {Path, []string{"Authorization", "Basic YTph"}, "", "JWT_INVALID"},
			"a bad one in the query": {Path + "?access_token=a.b.c", nil, "", "JWT_INVALID"},
			"an empty one":           {Path + "?access_token=", nil, "", "JWT_INVALID"},
		} {
			p, answer := n.handshake(row.path, row.header...)
			if p == nil {
				t.Fatalf("%s: %s", name, answer.Status)
			}
			go p.Read()
			if row.reason != "" {
				if code, last := p.ended(); code != 4401 || !strings.Contains(last, row.reason) {
					t.Errorf("%s: %d %s", name, code, last)
				}
				continue
			}
			p.send("%s", row.hello)
			got := p.take()
			if len(got) != 1 || !strings.HasPrefix(got[0], `{"t":"welcome"`) {
				t.Errorf("%s: %q", name, got)
			}
		}
		if got := len(n.Tracker.Sessions(presence.User{App: doortest.App, ID: "alice"})); got != 3 {
			t.Errorf("alice has %d sessions, want 3", got)
		}
	})
}

// An access token that expires ends nothing: notifications go on, calls are
// refused until a fresh one came.
func TestExpiredTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		bob := n.hello("bob", "")
		p := n.open()
		p.send(`{"t":"hello","token":%q,"watch":["bob"]}`, n.Sign(token.Development(), "alice", time.Minute))
		alice := &device{peer: p}
		alice.take()
		wait(time.Minute)
		for _, frame := range []string{`{"t":"set","status":{}}`, `{"t":"patch"}`, `{"t":"get","users":["bob"]}`, `{"t":"watch","users":["x"]}`, `{"t":"unwatch","users":["bob"]}`} {
			if got := alice.ask("%s", frame); !strings.Contains(got, `"reason":"JWT_EXPIRED"`) {
				t.Errorf("%s: %s", frame, got)
			}
		}
		if got := alice.ask(`{"t":"ping","id":9}`); !strings.HasPrefix(got, `{"t":"pong","id":9,"time":`) {
			t.Errorf("ping: %s", got)
		}
		bob.ask(`{"t":"set","status":{"text":"news"}}`)
		alice.wantNotes("notifications", "bob updated on online news")
		if got := alice.ask(`{"t":"token","token":%q}`, n.JWT("bob")); !strings.Contains(got, "SESSION_TOKEN_NOT_YOURS") {
			t.Errorf("another's token: %s", got)
		}
		if got := alice.ask(`{"t":"token","id":4,"token":%q}`, n.JWT("alice")); !strings.HasPrefix(got, `{"t":"ok","id":4,"expires":`) {
			t.Errorf("a fresh token: %s", got)
		}
		if got := alice.ask(`{"t":"get","users":["bob"]}`); got != `{"t":"ok","users":[{"u":"bob","on":true}]}` {
			t.Errorf("after it: %s", got)
		}
		if _, err := n.Revocations.Revoke(t.Context(), presence.User{App: doortest.App, ID: "alice"}); err != nil {
			t.Fatal(err)
		}
		if got := alice.ask(`{"t":"get","users":["bob"]}`); !strings.Contains(got, `"reason":"JWT_EXPIRED"`) {
			t.Errorf("revoked: %s", got)
		}
		wait(time.Second) // times of issue are whole seconds
		alice.ask(`{"t":"token","token":%q}`, n.JWT("alice"))
		if got := alice.ask(`{"t":"get","users":["bob"]}`); !strings.HasPrefix(got, `{"t":"ok"`) {
			t.Errorf("one of after the revocation: %s", got)
		}
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
		bob.send(`{"t":"hello"}`)
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
		bob.send(`{"t":"hello","token":"x"}`)
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
