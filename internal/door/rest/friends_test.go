package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestFriends(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("GET", "/users/alice/friends", "", `{"friends":[]}`)
	n.wants("PUT", "/users/alice/friends", `{"friends":["bob","carol","bob","a/b"]}`, `{"added":3,"removed":0}`)
	n.wants("PUT", "/users/alice/friends", `{"friends":["bob","carol","a/b"]}`, `{"added":0,"removed":0}`)
	n.wants("GET", "/users/alice/friends", "", `{"friends":["bob","carol","a/b"]}`)
	n.wants("GET", "/users/bob/friends", "", `{"friends":[]}`)
	for _, want := range []bool{true, false} {
		n.wants("DELETE", "/users/alice/friends/a%2Fb", "", fmt.Sprintf(`{"changed":%v}`, want))
	}
	for _, want := range []bool{true, false} {
		n.wants("PUT", "/users/alice/friends/dave?direction=both", "", fmt.Sprintf(`{"changed":%v}`, want))
	}
	n.wants("GET", "/users/dave/friends", "", `{"friends":["alice"]}`)
	n.wants("DELETE", "/users/alice/friends/dave", "", `{"changed":true}`)
	n.wants("GET", "/users/dave/friends", "", `{"friends":["alice"]}`)
	n.wants("PUT", "/users/alice/friends", `{"friends":[]}`, `{"added":0,"removed":2}`)

	n.refused("PUT", "/users/alice/friends/alice", "", 422, "FIELD_INVALID")
	n.refused("PUT", "/users/alice/friends/bob?direction=two", "", 422, "FIELD_INVALID")
	n.refused("PUT", "/users/alice/friends/%00", "", 422, "FIELD_INVALID")
	p := n.refused("PUT", "/users/alice/friends", `{"friends":["bob",""]}`, 422, "FIELD_INVALID")
	if e := p["errors"].([]any)[0].(map[string]any); e["location"] != "body.friends[1]" {
		t.Errorf("got %v", e)
	}
	n.refused("PUT", "/users/alice/friends", `{"friends":["u`+strings.Join(numbers(51), `","u`)+`"]}`, 409, "LIMIT_FRIENDS")
	n.refused("PUT", "/users/alice/friends", `{"friends":null}`, 422, "FIELD_INVALID")
	n.wants("GET", "/users/alice/friends", "", `{"friends":[]}`)
}

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

// pages reads a list to its end.
func (n *node) pages(target, field string, each func(page int)) (all []string) {
	for next, page := "", 0; next != "" || page == 0; page++ {
		got := n.ok("GET", target+"&next="+next, "")
		for _, id := range got[field].([]any) {
			all = append(all, id.(string))
		}
		next, _ = got["next"].(string)
		each(page)
	}
	return all
}

func TestPages(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ok("PUT", "/users/alice/friends", `{"friends":["`+strings.Join(numbers(25), `","`)+`"]}`)
	if got := n.pages("/users/alice/friends?limit=10", "friends", func(int) {}); !slices.Equal(got, numbers(25)) {
		t.Errorf("got %v", got)
	}
	// Who stays on the list is in it once, whatever comes and goes meanwhile.
	got := n.pages("/users/alice/friends?limit=10", "friends", func(page int) {
		n.ok("DELETE", fmt.Sprintf("/users/alice/friends/%d", page), "")
		n.ok("PUT", fmt.Sprintf("/users/alice/friends/new%d", page), "")
	})
	for i := 3; i < 25; i++ {
		if !slices.Contains(got, fmt.Sprint(i)) {
			t.Errorf("%d is missing in %v", i, got)
		}
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != len(got) {
		t.Errorf("somebody is listed twice: %v", got)
	}
	n.refused("GET", "/users/alice/friends?next="+writePlace('b', 1, "a"), "", 422, "FIELD_INVALID")
	if got := n.ok("GET", "/users/alice/friends?next="+writePlace('f', 1<<20, ""), ""); len(got["friends"].([]any)) != 0 {
		t.Errorf("beyond the end: %v", got)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.open("alice", presence.Device{}, nil)
	n.wants("GET", "/users/alice/blocks", "", `{"blocks":[]}`)
	for _, want := range []bool{true, false} {
		n.wants("PUT", "/users/alice/blocks/mallory", "", fmt.Sprintf(`{"changed":%v}`, want))
	}
	n.ok("PUT", "/users/alice/blocks/a%2Fb", "")
	n.wants("GET", "/users/alice/blocks?limit=1", "", `{"blocks":["mallory"],"next":"*"}`)
	if visible, _, _ := n.roster.Sight(presence.User{App: "demo", ID: "mallory"}).Of("alice"); visible {
		t.Error("mallory still sees alice")
	}
	if u := n.ok("GET", "/users/alice", ""); u["available"] != true {
		t.Errorf("server keys see %v", u)
	}
	for _, want := range []bool{true, false} {
		n.wants("DELETE", "/users/alice/blocks/mallory", "", fmt.Sprintf(`{"changed":%v}`, want))
	}
	n.refused("PUT", "/users/alice/blocks/alice", "", 422, "FIELD_INVALID")
}

func TestPushFriends(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	push := func(body string) string {
		w := n.doAs(otherSecret, "POST", Prefix+"/friends/changes", body)
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
	if got := decode(t, n.doAs(otherSecret, "GET", Prefix+"/users/alice/friends", "")); fmt.Sprint(got["friends"]) != "[bob]" {
		t.Errorf("the source's list: %v", got)
	}
	if got := push(`{"changes":[{"user":"alice","added":["carol"],"removed":["bob"]},{"user":"x","reread":true}]}`); got != `200 {"taken":2}` {
		t.Errorf("push: %s", got)
	}
	if got := decode(t, n.doAs(otherSecret, "GET", Prefix+"/users/alice/friends", "")); fmt.Sprint(got["friends"]) != "[carol]" {
		t.Errorf("after the push: %v", got)
	}
	n.problem(n.doAs(otherSecret, "PUT", Prefix+"/users/alice/friends/x", ""), "write", 422, "FIELD_INVALID")
	p := n.refused("POST", "/friends/changes", `{"changes":[{"user":"alice","added":["bob"]}]}`, 422, "FIELD_INVALID")
	if e := p["errors"].([]any)[0].(map[string]any); e["location"] != "body.changes[0]" || !strings.Contains(e["message"].(string), "kept here") {
		t.Errorf("where lists are ours: %v", p)
	}
	for _, body := range []string{
		`{"changes":[]}`, `{}`, `{"changes":[{"user":"alice"}]}`, `{"changes":[{"user":"alice","added":["x"],"reread":true}]}`, `{"changes":[{"user":"","reread":true}]}`,
		`{"changes":[{"user":"alice","added":[""]}]}`, `{"changes":[{"user":"alice","removed":["\u0001"]}]}`,
		`{"changes":[` + strings.TrimSuffix(strings.Repeat(`{"user":"a","reread":true},`, 1001), ",") + `]}`,
	} {
		if got := push(body); !strings.HasPrefix(got, "422 ") || !strings.Contains(got, "FIELD_INVALID") {
			t.Errorf("%.60s: got %.200s", body, got)
		}
	}
}

func TestEraseUser(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wants("DELETE", "/users/nobody", "", `{"sessions":0,"erased_at":"*","gone_by":"*"}`)
	n.open("alice", presence.Device{}, nil)
	n.ok("PUT", "/users/alice/friends/bob?direction=both", "")
	n.ok("PUT", "/users/alice/blocks/mallory", "")
	e := n.ok("DELETE", "/users/alice", "")
	if e["sessions"] != 1.0 || e["gone_by"].(string) < e["erased_at"].(string) {
		t.Errorf("got %v", e)
	}
	n.wants("GET", "/users/alice?view=true", "", `{"user":"alice","available":false,"availability":"unavailable","sessions":[]}`)
	n.wants("GET", "/users/alice/friends", "", `{"friends":[]}`)
	n.wants("GET", "/users/bob/friends", "", `{"friends":[]}`)
	n.wants("GET", "/users/alice/blocks", "", `{"blocks":[]}`)
	n.wants("DELETE", "/users/alice", "", `{"sessions":0,"erased_at":"`+e["erased_at"].(string)+`","gone_by":"`+e["gone_by"].(string)+`"}`)
	if strings.Contains(n.book.String(), "alice") {
		t.Errorf("his name is in the log: %s", n.book.String())
	}
}

func TestEraseWhileTheStoreRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.open("alice", presence.Device{}, nil)
		n.store.Refuse(http.ErrServerClosed)
		n.refused("DELETE", "/users/alice", "", 503, fault.LogUnavailable.String())
		n.store.Recover()
		<-time.After(10 * time.Second)
		n.ok("DELETE", "/users/alice", "")
	})
}
