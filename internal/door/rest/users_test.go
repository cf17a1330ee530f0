package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func text(s string) presence.Value { return presence.Value{Kind: presence.KindText, Text: s} }

func TestGetUser(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("GET", "/users/nobody", "", `{"user":"nobody","available":false,"availability":"unavailable","sessions":[]}`)
	ref := presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "on_map", Args: []presence.Property{{Key: "n", Value: presence.Value{Kind: presence.KindInteger, Integer: 1 << 60}}}, Fallback: "x"}}
	n.open("alice", presence.Device{Platform: "ios", Locale: "de", ID: "secret device id"}, &presence.Status{
		Show: presence.Busy, Text: ref, Properties: []presence.Property{
			{Key: "flag", Value: presence.Value{Kind: presence.KindFlag, Flag: true}}, {Key: "half", Value: presence.Value{Kind: presence.KindNumber, Number: 2}}, {Key: "map", Value: text("Dust")},
		},
	})
	hidden := n.open("alice", presence.Device{Platform: "web"}, &presence.Status{Invisible: true})
	w := n.do("GET", "/users/alice", "")
	if body := w.Body.String(); !strings.Contains(body, `"half":2.0`) || !strings.Contains(body, `"n":1152921504606846976`) || strings.Contains(body, "secret") {
		t.Errorf("got %s", body)
	}
	visible := `{"session":"*","device":{"platform":"ios","locale":"de"},"status":"busy","rich_text":{"token":"on_map","args":{"n":1152921504606846976},"fallback":"x"},
		"properties":{"flag":true,"half":2.0,"map":"Dust"},"since":"*","updated":"*","revision":"*"}`
	n.wants("GET", "/users/alice", "", `{"user":"alice","available":true,"availability":"busy","sessions":[`+visible+`]}`)
	n.wants("GET", "/users/alice?view=true", "", `{"user":"alice","available":true,"availability":"busy","invisible":true,"sessions":[`+visible+`,
		{"session":"`+hidden.Public.String()+`","device":{"platform":"web"},"status":"online","invisible":true,"since":"*","updated":"*","revision":"*"}]}`)

	n.open("ghost", presence.Device{}, &presence.Status{Invisible: true})
	n.wants("GET", "/users/ghost", "", `{"user":"ghost","available":false,"availability":"unavailable","sessions":[]}`)
	if u := n.ok("GET", "/users/ghost?view=true", ""); u["available"] != true || u["invisible"] != true {
		t.Errorf("in truth: %v", u)
	}
	n.ok("DELETE", "/users/ghost/sessions", "")
	if u := n.ok("GET", "/users/ghost", ""); u["last_seen"] != nil {
		t.Errorf("a user who was only ever invisible was last seen: %v", u)
	}
	if u := n.ok("GET", "/users/ghost?view=true", ""); u["last_seen"] == nil {
		t.Errorf("in truth he was never seen: %v", u)
	}
	// Nothing crosses apps.
	if u := decode(t, n.doAs(otherSecret, "GET", Prefix+"/users/alice", "")); u["available"] != false {
		t.Errorf("another app sees %v", u)
	}
}

// Ids are any text, and come through paths whole.
func TestUserIDsInPaths(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, id := range []string{"a/b", "a b", "100%", "%2F", "käthe", "日本", "a?b#c", "..", ".", "a;b", "query", strings.Repeat("x", 128), "a+b", `"`} {
		at := "/users/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		if id == "query" {
			continue // GET of it is a user; see below
		}
		n.ok("PUT", at+"/presence", `{"ttl":60}`)
		if u := n.ok("GET", at, ""); u["user"] != id || u["available"] != true {
			t.Errorf("%q at %s: got %v", id, at, u)
		}
	}
	if u := n.ok("GET", "/users/query", ""); u["user"] != "query" {
		t.Errorf("a user of the name query: got %v", u)
	}
	for at, where := range map[string]string{"/users/%00": "path.id", "/users/%ff": "path.id", "/users/" + strings.Repeat("x", 129): "path.id"} {
		p := n.refused("GET", at, "", http.StatusUnprocessableEntity, "FIELD_INVALID")
		if e := p["errors"].([]any)[0].(map[string]any); e["location"] != where {
			t.Errorf("%s: got %v", at, p)
		}
	}
	for _, at := range []string{"/users//sessions", "/users/../users", "/users/", "/nothing", "/users/a/nothing", "/users/a/sessions/", "/users/./sessions"} {
		n.refused("GET", at, "", http.StatusNotFound, "PATH_UNKNOWN")
	}
}

func TestQueryUsers(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.open("bob", presence.Device{}, &presence.Status{Show: presence.Away})
	n.open("carol", presence.Device{}, &presence.Status{Invisible: true})
	got := n.ok("POST", "/users/query", `{"users":["carol","alice","bob","bob"]}`)["users"].([]any)
	for i, want := range []string{"carol unavailable", "alice unavailable", "bob away", "bob away"} {
		u := got[i].(map[string]any)
		if fmt.Sprint(u["user"], " ", u["availability"]) != want {
			t.Errorf("entry %d: got %v, want %s", i, u, want)
		}
	}
	if got := n.ok("POST", "/users/query", `{"users":["carol"],"view":true}`)["users"].([]any)[0].(map[string]any); got["availability"] != "online" {
		t.Errorf("in truth: %v", got)
	}
	n.refused("POST", "/users/query", `{"users":["a`+strings.Repeat(`","a`, 1000)+`"]}`, 422, "LIMIT_BATCH")
	for body, where := range map[string]string{
		`{"users":["a",""]}`: "body.users[1]", `{"users":[]}`: "body.users", `{}`: "body", `{"users":["a"],"veiw":true}`: "body.veiw", `{"users":"a"}`: "body.users",
		`{"users":["\u0000"]}`: "body.users[0]", `[]`: "body", `null`: "body",
	} {
		p := n.refused("POST", "/users/query", body, 422, "FIELD_INVALID")
		if e := p["errors"].([]any)[0].(map[string]any); e["location"] != where || e["message"] == "" || len(e) != 2 {
			t.Errorf("%s: got %v, want it at %s", body, e, where)
		}
	}
	n.refused("POST", "/users/query", `{"users":`, 400, "FIELD_INVALID")
	n.refused("POST", "/users/query", "", 400, "FIELD_INVALID")
	n.refused("POST", "/users/query", `{"users":["`+strings.Repeat("x", 600<<10)+`"]}`, 413, "BODY_TOO_LARGE")
}

func TestOnline(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("GET", "/online/count", "", `{"users":0,"sessions":{"created":0,"live":0,"lost":0}}`)
	n.wants("GET", "/online", "", `{"users":[]}`)
	want := map[string]bool{}
	for i := range 25 {
		id := fmt.Sprint("user ", i)
		n.open(id, presence.Device{}, &presence.Status{Invisible: i < 5})
		if i >= 5 {
			want[id] = true
		}
	}
	n.wants("GET", "/online/count", "", `{"users":20,"sessions":{"created":0,"live":25,"lost":0}}`)
	pages, next := 0, ""
	for next != "" || pages == 0 {
		got := n.ok("GET", "/online?limit=7&next="+next, "")
		for _, id := range got["users"].([]any) {
			if !want[id.(string)] {
				t.Errorf("%v is listed twice, or although invisible", id)
			}
			delete(want, id.(string))
		}
		next, _ = got["next"].(string)
		pages++
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d pages, missing: %v", pages, want)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "next=x", "next=AW8", "next=" + writePlace('f', 1, "a"), "next=" + writePlace('o', 1<<31, "a"), "nxt=a"} {
		n.refused("GET", "/online?"+query, "", 422, "FIELD_INVALID")
	}
}
