package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("GET", "/users/bob/sessions", "", `{"sessions":[]}`)
	live := n.open("bob", presence.Device{Platform: "ios"}, nil)
	hidden := n.open("bob", presence.Device{Platform: "web"}, &presence.Status{Invisible: true})
	created, err := n.tracker.Make(t.Context(), tracker.MakeParams{User: live.Ref.User})
	if err != nil {
		t.Fatal(err)
	}
	shown := `{"session":"` + live.Public.String() + `","device":{"platform":"ios"},"status":"online","since":"*","updated":"*","revision":"*"}`
	n.wants("GET", "/users/bob/sessions", "", `{"sessions":[`+shown+`]}`)
	n.wants("GET", "/users/bob/sessions?view=true", "", `{"sessions":[`+strings.Replace(shown, `"device"`, `"phase":"live","device"`, 1)+`,
		{"session":"`+hidden.Public.String()+`","phase":"live","device":{"platform":"web"},"status":"online","invisible":true,"since":"*","updated":"*","revision":"*"},
		{"session":"`+created.Public.String()+`","phase":"created","device":{},"status":"online","revision":0,"expires":"*"}]}`)
	n.wants("GET", "/users/bob/sessions/"+live.Public.String(), "", shown)
	n.refused("GET", "/users/bob/sessions/"+hidden.Public.String(), "", 404, "SESSION_GONE")
	n.refused("GET", "/users/alice/sessions/"+live.Public.String(), "", 404, "SESSION_GONE")
	n.refused("GET", "/users/bob/sessions/short", "", 422, "FIELD_INVALID")
	n.ok("GET", "/users/bob/sessions/"+hidden.Public.String()+"?view=true", "")

	n.wants("DELETE", "/users/alice/sessions/"+live.Public.String(), "", `{"dropped":0}`)
	for _, want := range []int{1, 0} { // again: nothing is left to do
		n.wants("DELETE", "/users/bob/sessions/"+live.Public.String(), "", fmt.Sprintf(`{"dropped":%d}`, want))
	}
	n.refused("GET", "/users/bob/sessions/"+live.Public.String()+"?view=true", "", 404, "SESSION_GONE")
	for _, want := range []int{2, 0} {
		n.wants("DELETE", "/users/bob/sessions", "", fmt.Sprintf(`{"dropped":%d}`, want))
	}
	if p := n.tracker.Presence(live.Ref.User); p.Sessions[0].True.Reason != presence.ReasonDropped {
		t.Errorf("closed by %v, want dropped", p.Sessions[0].True.Reason)
	}
	if !strings.Contains(n.book.String(), "dropped sessions") || !strings.Contains(n.book.String(), "key=k1") {
		t.Errorf("the log does not say who dropped what: %s", n.book.String())
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	body := `{"status":"busy","rich_text":"In a meeting","properties":{"room":"Blue","seats":7,"share":0.5,"open":false,"topic":{"token":"t","args":{"n":1}}},"ttl":60,"device":{"platform":"desk"}}`
	first := n.ok("PUT", "/users/bot/presence?name=desk%20phone", body)
	if first["opened"] != true || first["session"] == "" {
		t.Errorf("first: %v", first)
	}
	at, err := time.Parse(time.RFC3339, first["expires"].(string))
	if left := time.Until(at); err != nil || left < 50*time.Second || left > 61*time.Second || !strings.HasSuffix(first["expires"].(string), "Z") {
		t.Errorf("expires %v, %v", first["expires"], err)
	}
	again := n.ok("PUT", "/users/bot/presence?name=desk%20phone", body)
	if again["opened"] != false || again["session"] != first["session"] || again["revision"] != first["revision"] || again["updated"] != first["updated"] {
		t.Errorf("again: %v after %v", again, first)
	}
	n.wants("GET", "/users/bot", "", `{"user":"bot","available":true,"availability":"busy","sessions":[{"session":"*","device":{"platform":"desk"},"status":"busy",
		"rich_text":"In a meeting","properties":{"room":"Blue","seats":7,"share":0.5,"open":false,"topic":{"token":"t","args":{"n":1}}},"since":"*","updated":"*","revision":"*"}]}`)
	other := n.ok("PUT", "/users/bot/presence", `{"ttl":60,"invisible":true}`)
	if other["session"] == first["session"] {
		t.Error("another name goes on with the same session")
	}
	if got := n.ok("GET", "/users/bot/sessions?view=true", "")["sessions"].([]any); len(got) != 2 || got[0].(map[string]any)["expires"] == nil || got[1].(map[string]any)["invisible"] != true {
		t.Errorf("in truth: %v", got)
	}
	for _, want := range []bool{true, false} {
		n.wants("DELETE", "/users/bot/presence?name=desk%20phone", "", fmt.Sprintf(`{"removed":%v}`, want))
	}
	if u := n.ok("GET", "/users/bot", ""); u["available"] != false || u["last_seen"] == nil {
		t.Errorf("removed: %v", u)
	}
	for body, where := range map[string]string{
		`{}`: "body", `{"ttl":0}`: "body.ttl", `{"ttl":86401}`: "body.ttl", `{"ttl":1.5}`: "body.ttl", `{"ttl":60,"status":"gone"}`: "body.status",
		`{"ttl":60,"rich_text":7}`: "body.rich_text", `{"ttl":60,"rich_text":"` + strings.Repeat("x", 257) + `"}`: "body.rich_text",
		`{"ttl":60,"properties":{"":1}}`: `body.properties[""]`, `{"ttl":60,"properties":{"a":[1]}}`: "body.properties.a", `{"ttl":60,"properties":{"a":null}}`: "body.properties.a",
		`{"ttl":60,"properties":{"a":{"args":{}}}}`: "body.properties.a", `{"ttl":60,"device":{"id":"x"}}`: "body.device.id", `{"ttl":60,"colour":"red"}`: "body.colour",
		`{"ttl":60,"properties":{"a":{"token":""}}}`: `body.properties["a"]`,
		`{"ttl":60,"rich_text":{"token":"t","args":{"a":{"token":"t","args":{"a":{"token":"t","args":{"a":{"token":"t","args":{"a":{"token":"t"}}}}}}}}}}`: "",
		`{"ttl":60,"properties":{"a":9223372036854775808}}`: "",
	} {
		p := n.refused("PUT", "/users/bot/presence", body, 422, "FIELD_INVALID")
		if e := p["errors"].([]any)[0].(map[string]any); where != "" && e["location"] != where {
			t.Errorf("%s: got %v, want it at %s", body, e, where)
		}
		if d := p["detail"].(string); strings.Contains(d, "schema") {
			t.Errorf("%s: %q speaks of schemas", body, d)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 65), "%00"} {
		want := 422
		if name == "" { // as if it was left out
			want = 200
		}
		if w := n.do("PUT", "/users/bot/presence?name="+name, `{"ttl":60}`); w.Code != want {
			t.Errorf("name %q: got %d %s", name, w.Code, w.Body)
		}
	}
	for i := range 15 {
		n.do("PUT", fmt.Sprintf("/users/bot/presence?name=%d", i), `{"ttl":60}`)
	}
	n.refused("PUT", "/users/bot/presence?name=last", `{"ttl":60}`, 409, "LIMIT_SESSIONS")
}
