package live

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

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
			p.Say("%s", words.Replace(row.frame))
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
		bad.Say(`{"t":"hello","token":%q}`, n.JWT("bob"))
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
			p.Say("%s", row.hello)
			got := p.Came()
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
		p.Say(`{"t":"hello","token":%q,"watch":["bob"]}`, n.Sign(token.Development(), "alice", time.Minute))
		alice := &device{peer: p}
		alice.Came()
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
