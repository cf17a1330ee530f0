package rest

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

func TestAttributes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("GET", "/users/alice/attributes", "", `{"user":"alice","attributes":[],"calls":0,"topics":[]}`)
	n.wants("PUT", "/users/alice/attributes", `{"attributes":[{"name":"manual_status","value":"busy"},{"name":"a/b","value":{"x": [1, null]}}]}`, `{"changed":2}`)
	n.wants("PUT", "/users/alice/attributes", `{"attributes":[{"name":"manual_status","value":"busy"},{"name":"on","value":true}]}`, `{"changed":1}`)
	for _, want := range []string{`{"changed":true}`, `{"changed":false}`} {
		n.wants("PUT", "/users/alice/attributes/none", `{"value":null}`, want)
	}
	for _, want := range []string{`{"changed":true}`, `{"changed":false}`} {
		n.wants("DELETE", "/users/alice/attributes/a%2Fb", "", want)
	}
	got := n.ok("GET", "/users/alice/attributes", "")["attributes"].([]any)
	var all []any
	for _, a := range got {
		a := a.(map[string]any)
		if _, err := time.Parse(time.RFC3339, a["at"].(string)); err != nil {
			t.Errorf("%v: %v", a, err)
		}
		all = append(all, a["name"], a["value"])
	}
	if want := []any{"manual_status", "busy", "on", true, "none", nil}; !equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	n.wants("GET", "/users/bob/attributes", "", `{"user":"bob","attributes":[],"calls":0,"topics":[]}`)

	for _, c := range []struct{ method, path, body, location string }{
		{"PUT", "/users/bob/attributes", `{"attributes":[{"name":"a","value":1},{"name":"onlineStatus","value":"online"}]}`, "body.attributes[1].name"},
		{"PUT", "/users/bob/attributes", `{"attributes":[{"name":"a","value":1},{"name":"call","value":"Ended"}]}`, "body.attributes[1].name"},
		{"PUT", "/users/bob/attributes", `{"attributes":[{"name":"a"}]}`, "body.attributes[0]"},
		{"PUT", "/users/bob/attributes", `{"attributes":null}`, "body.attributes"},
		{"PUT", "/users/bob/attributes", `{"attributes":[{"name":"a","value":"` + strings.Repeat("x", topic.MaxValue) + `"}]}`, "body.attributes[0].value"},
		{"PUT", "/users/bob/attributes/call", `{"value":1}`, "path.name"},
		{"DELETE", "/users/bob/attributes/onlineStatus", ``, "path.name"},
		{"PUT", "/users/bob/attributes/a", `{}`, "body"},
		{"PUT", "/users/bob/attributes/a", `{"value":"` + strings.Repeat("x", topic.MaxValue) + `"}`, "body.value"},
	} {
		p := n.refused(c.method, c.path, c.body, 422, "FIELD_INVALID")
		if e := p["errors"].([]any)[0].(map[string]any); e["location"] != c.location {
			t.Errorf("%s %s %.80s: got %v, want %s", c.method, c.path, c.body, e, c.location)
		}
	}
	n.wants("GET", "/users/bob/attributes", "", `{"user":"bob","attributes":[],"calls":0,"topics":[]}`)
}

func equal(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestAttributesAreTold: what a server sets is told in the topics of a user's
// devices, after it was stored; and an erased user has none.
func TestAttributesAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		alice := presence.User{App: "demo", ID: "alice"}
		if err := n.topics.SetMap(t.Context(), alice, presence.PublicID{1}, []topic.Mapping{{Attribute: "a", Topic: "T"}}); err != nil {
			t.Fatal(err)
		}
		s := n.topics.Subscribe(topic.Params{App: "demo", Topics: []string{"T"}, Wake: func() {}})
		defer s.Close()
		n.wants("PUT", "/users/alice/attributes/a", `{"value":1}`, `{"changed":true}`)
		n.wants("DELETE", "/users/alice/attributes/a", "", `{"changed":true}`)
		n.wants("PUT", "/users/alice/attributes/b", `{"value":2}`, `{"changed":true}`)
		if _, err := n.topics.SetCall(t.Context(), topic.CallParams{App: "demo", ID: "c", Participants: []presence.UserID{"alice"}, State: topic.Ringing}); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Drain(nil, 10)
		if err != nil || len(got) != 2 || string(got[0].Value) != "1" || string(got[1].Value) != "null" {
			t.Fatalf("got %v, %v", got, err)
		}
		list := n.ok("GET", "/users/alice/attributes", "")
		if list["calls"] != 1.0 || list["topics"].([]any)[0].(map[string]any)["topic"] != "T" || list["attributes"].([]any)[1].(map[string]any)["value"] != "Ringing" {
			t.Fatalf("got %v", list)
		}
		n.store.RefuseRosters(errors.New("full"))
		n.refused("PUT", "/users/alice/attributes/b", `{"value":3}`, 503, "LOG_UNAVAILABLE")
		n.refused("GET", "/users/alice/attributes", "", 503, "LOG_UNAVAILABLE")
		n.store.RefuseRosters(nil)
		n.ok("DELETE", "/users/alice", "")
		n.wants("GET", "/users/alice/attributes", "", `{"user":"alice","attributes":[],"calls":0,"topics":[]}`)
	})
}
