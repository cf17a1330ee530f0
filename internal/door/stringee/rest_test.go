package stringee

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// Who may call, and what is no call.
func TestRESTRefuses(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		n.connect(n.client("bob", ""), "web-b")
		server, client := n.sign(map[string]any{"rest_api": true}), n.client("bob", "")
		for name, row := range map[string]struct {
			method, path, token string
			status, r           int
		}{
			"no token":               {"GET", "/v1/users/bob", "", 401, 1},
			"no JWT":                 {"GET", "/v1/users/bob", "x", 401, 3},
			"a client's token":       {"GET", "/v1/users/bob", client, 401, 7},
			"an expired one":         {"GET", "/v1/users/bob", n.sign(map[string]any{"rest_api": true, "exp": 1}), 401, 6},
			"good":                   {"GET", "/v1/users/bob", server, 200, 0},
			"HEAD":                   {"HEAD", "/v1/users/bob", server, 200, 0},
			"another method":         {"POST", "/v1/users/bob", server, 405, 405},
			"attributes by GET":      {"GET", "/v1/users/bob/attributes", server, 405, 405},
			"no path":                {"GET", "/v1", server, 404, 404},
			"unknown path":           {"GET", "/v1/rooms", server, 404, 404},
			"deeper":                 {"GET", "/v1/users/bob/attributes/x", server, 404, 404},
			"v2 users":               {"GET", "/v2/users/bob", server, 404, 404},
			"calls without id":       {"PUT", "/v1/calls", server, 404, 404},
			"unknown user":           {"GET", "/v1/users/nobody", server, 404, 404},
			"unknown user's PUT":     {"PUT", "/v1/users/nobody/attributes", server, 400, 400}, // its body is judged first
			"empty user":             {"GET", "/v1/users/", server, 400, 400},
			"user too long":          {"GET", "/v1/users/" + strings.Repeat("x", 129), server, 400, 400},
			"a control character":    {"GET", "/v1/users/a%00", server, 400, 400},
			"another app's key":      {"GET", "/v1/users/bob", n.other(t), 404, 404},
			"address without token":  {"GET", "/v2/getStringeeServerAddress", "", 401, 1},
			"address, client":        {"GET", "/v2/getStringeeServerAddress", client, 200, 0},
			"address, server":        {"GET", "/v2/getStringeeServerAddress", server, 200, 0},
			"a preflight of nothing": {"OPTIONS", "/v1/users/bob", server, 405, 405},
		} {
			for _, how := range []string{"header", "parameter"} {
				path, more := row.path, []string{"X-STRINGEE-AUTH", row.token}
				if how == "parameter" {
					path, more = path+"?access_token="+row.token, nil
				}
				code, body, head := n.callWith(row.method, path, "", more...)
				var got wrong
				if err := json.Unmarshal([]byte(body), &got); err != nil && row.method != "HEAD" {
					t.Errorf("%s by %s: %q: %v", name, how, body, err)
				}
				if code != row.status || got.R != row.r || got.R != 0 && (got.Message == "" || got.Message != got.Msg) || head.Get("Content-Type") != "application/json; charset=utf-8" {
					t.Errorf("%s by %s: got %d %s, want %d with r %d", name, how, code, body, row.status, row.r)
				}
				if len(row.token) > 20 && strings.Contains(body, row.token[len(row.token)-16:]) {
					t.Errorf("%s: the answer holds the token", name)
				}
			}
		}
		if _, _, err := n.Topics.Set(t.Context(), user("known"), []topic.Attribute{{Name: "x", Value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		if code, body := n.call("GET", "/v1/users/known", ""); code != 200 || !strings.HasPrefix(body, `{"loginTime":0,`) {
			t.Errorf("who was never here and has an attribute: %d %s", code, body)
		}
		if code, body := n.call("PUT", "/v1/users/nobody/attributes", `[{"attribute":"x","value":1}]`); code != 404 {
			t.Errorf("an unknown user's attribute: %d %s", code, body)
		}
		if r, err := n.Topics.Get(t.Context(), user("nobody")); err != nil || r.Revision != 0 {
			t.Errorf("it was kept: %+v %v", r, err)
		}
	})
}

// other is a server's token of the other app.
func (n *node) other(t *testing.T) string {
	o := &node{Core: n.Core, t: t}
	a := testApps()[1]
	raw, err := signApp(a, map[string]any{"rest_api": true})
	if err != nil {
		t.Fatal(err)
	}
	return o.Log.Secret(raw)
}

// Attributes by REST: all or nothing, in the order of the array, one message for
// each that changed; every limit from both sides (notes B5.4 and B5.5).
func TestSetAttributes(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		watcher := n.connect(n.client("alice", "s,s2"), "web-a")
		n.connect(n.client("bob", "", "b>s", "a>s", "a>s2", "never>s"), "web-b")
		put := func(body string) (int, string) { return n.call("PUT", "/v1/users/bob/attributes", body) }
		for name, body := range map[string]string{
			"no body": "", "null": "null", "an object": `{"attribute":"a","value":1}`, "an empty array": "[]", "cut": `[{"attribute":"a"`, "texts": `["a"]`,
			"no attribute": `[{"value":1}]`, "no value": `[{"attribute":"a"}]`, "attribute is a number": `[{"attribute":1,"value":1}]`,
			"a reserved one":      `[{"attribute":"a","value":1},{"attribute":"onlineStatus","value":"offline"}]`,
			"another":             `[{"attribute":"call","value":"Ended"},{"attribute":"a","value":1}]`,
			"name too long":       `[{"attribute":"a","value":1},{"attribute":"` + strings.Repeat("n", 65) + `","value":1}]`,
			"value too long":      `[{"attribute":"a","value":1},{"attribute":"b","value":"` + strings.Repeat("v", 4095) + `"}]`,
			"too many":            `[` + many(65, func(i int) string { return fmt.Sprintf(`{"attribute":"n%d","value":1}`, i) }) + `]`,
			"a control character": `[{"attribute":"a\u0001","value":1}]`,
		} {
			if code, got := put(body); code != 400 || !strings.Contains(got, `"r":400`) {
				t.Errorf("%s: got %d %s", name, code, got)
			}
		}
		if code, got := put(`[` + strings.Repeat(" ", maxBody) + `]`); code != 413 {
			t.Errorf("a long body: got %d %s", code, got)
		}
		if r, err := n.Topics.Get(t.Context(), user("bob")); err != nil || len(r.Attributes) != 0 {
			t.Errorf("after what was refused: %+v %v", r, err)
		}
		watcher.hears("what was refused")

		code, got := put(`[{"attribute":"a","value":{"x": [1, 2.50, "é"]}},{"attribute":"b","value":false},{"attribute":"c","value":7}]`)
		if code != 200 || !strings.Contains(got, `[{"attribute":"onlineStatus","value":"online"},{"attribute":"call"},{"attribute":"a","value":{"x":[1,2.50,"é"]}},{"attribute":"b","value":false},{"attribute":"c","value":7},{"attribute":"never"}]`) {
			t.Errorf("got %d %s", code, got)
		}
		watcher.hears("in the array's order", `s bob a={"x":[1,2.50,"é"]}`, `s2 bob a={"x":[1,2.50,"é"]}`, `s bob b=false`)
		put(`[{"attribute":"b","value":false},{"attribute":"a","value":1}]`)
		watcher.hears("the same again is not told", `s bob a=1`, `s2 bob a=1`)

		n.Topics.Erase(t.Context(), user("bob"))
		if code, got := put(`[` + many(64, func(i int) string {
			return fmt.Sprintf(`{"attribute":"n%d","value":"%s"}`, i, strings.Repeat("v", 4094))
		}) + `]`); code != 200 {
			t.Errorf("all that fits: got %d %.200s", code, got)
		}
		if code, got := put(`[{"attribute":"one more","value":1}]`); code != 400 {
			t.Errorf("the 65th: got %d %.200s", code, got)
		}
	})
}

// loginTime is the begin of the newest connection, then of the last.
func TestLoginTime(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		login := func(what string, want time.Time) {
			t.Helper()
			_, got := n.call("GET", "/v1/users/bob", "")
			if !strings.HasPrefix(got, fmt.Sprintf(`{"loginTime":%d,`, want.UnixMilli())) {
				t.Errorf("%s: got %.60s, want %d", what, got, want.UnixMilli())
			}
		}
		n.connect(n.client("bob", ""), "web-1")
		doortest.Elapse(time.Second)
		second := time.Now()
		p := n.connect(n.client("bob", ""), "web-2")
		login("two", second)
		p.hangUp()
		doortest.Elapse(10 * time.Second)
		first, last := n.Tracker.Sessions(user("bob"))[0].True.Since.Time(), second
		login("the older is left", first)
		if _, err := n.Tracker.Drop(t.Context(), user("bob"), nil); err != nil {
			t.Fatal(err)
		}
		login("none", last)
		doortest.Elapse(10 * time.Minute)
		login("long gone", n.Tracker.Presence(user("bob")).LastSeenShown.Time())
	})
}

// Who is online: pages, filters, and what they refuse.
func TestListUsers(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		const online = 250
		for i := range online {
			id := fmt.Sprintf("u%03d", i)
			n.Open(id, presence.Device{Door: "live"})
			state := "busy"
			if i%2 == 0 {
				state = "available"
			}
			if i < 120 {
				attributes := []topic.Attribute{{Name: "agentStatus", Value: json.RawMessage(`"` + state + `"`)}, {Name: "level", Value: json.RawMessage(fmt.Sprint(i % 3))}}
				if _, _, err := n.Topics.Set(t.Context(), user(id), attributes); err != nil {
					t.Fatal(err)
				}
			}
		}
		n.Core.Close(n.Open("gone", presence.Device{}), presence.ReasonLogout)
		ask := func(query string) (page, []string) {
			t.Helper()
			code, body := n.call("GET", "/v1/users?"+query, "")
			var p page
			if err := json.Unmarshal([]byte(body), &p); err != nil || code != 200 {
				t.Fatalf("%s: %d %s", query, code, body)
			}
			ids := make([]string, 0, len(p.Users))
			for _, u := range p.Users {
				ids = append(ids, u.User)
			}
			if p.PageSize != len(ids) || strings.Contains(body, "chatCustomer") {
				t.Errorf("%s: %.200s", query, body)
			}
			return p, ids
		}
		seen := map[string]bool{}
		for i, want := range []int{100, 100, 50, 0} {
			p, ids := ask(fmt.Sprintf("page=%d", i+1))
			if p.Count != online || len(ids) != want {
				t.Errorf("page %d: %d of %d", i+1, len(ids), p.Count)
			}
			for _, id := range ids {
				seen[id] = true
			}
		}
		if len(seen) != online || seen["gone"] {
			t.Errorf("all pages have %d users, want %d", len(seen), online)
		}
		for query, want := range map[string]int{
			"agentStatus=available": 60, "agentStatus=available&level=0": 20, "level=1": 40, "level=01": 0, "onlineStatus=online": online, "call=": online,
			"agentStatus=available&agentStatus=busy": 120, "nothing=x": 0, "userId=u000,u001,gone,nobody": 2, "userId=u000,u001&agentStatus=busy": 1, "page=2&limit=10&level=1": 40,
		} {
			if p, _ := ask(query); p.Count != want {
				t.Errorf("%s: %d, want %d", query, p.Count, want)
			}
		}
		_, first := ask("agentStatus=available&limit=40")
		_, rest := ask("agentStatus=available&limit=40&page=2")
		if all := slices.Compact(slices.Sorted(slices.Values(append(first, rest...)))); len(first) != 40 || len(rest) != 20 || len(all) != 60 {
			t.Errorf("pages of a filter: %d and %d, %d users", len(first), len(rest), len(all))
		}
		for _, query := range []string{"page=0", "page=x", "page=1000001", "limit=0", "limit=101", "limit=-1", "userId=", "userId=a,,b", "userId=" + many(101, func(i int) string { return fmt.Sprint(i) })} {
			if code, body := n.call("GET", "/v1/users?"+query, ""); code != 400 {
				t.Errorf("%.40s: %d %s", query, code, body)
			}
		}
		n.door.filter <- struct{}{}
		n.door.filter <- struct{}{}
		if code, body := n.call("GET", "/v1/users?level=1", ""); code != 429 {
			t.Errorf("a third filter: %d %s", code, body)
		}
		<-n.door.filter
		<-n.door.filter
	})
}

// More than so many calls a second are refused, each app for itself.
func TestRESTRate(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		n.connect(n.client("bob", ""), "web-b")
		raw := n.sign(map[string]any{"rest_api": true})
		codes := map[int]int{}
		for range callsPerSecond + 10 {
			code, _, head := n.callWith("GET", "/v1/users/bob", "", "X-STRINGEE-AUTH", raw)
			codes[code]++
			if code == 429 && head.Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q", head.Get("Retry-After"))
			}
		}
		if codes[200] != callsPerSecond || codes[429] != 10 {
			t.Errorf("got %v", codes)
		}
		n.door.SetApps(testApps()) // a reload gives nobody more
		if code, _, _ := n.callWith("GET", "/v1/users/bob", "", "X-STRINGEE-AUTH", raw); code != 429 {
			t.Errorf("after a reload: %d", code)
		}
		doortest.Elapse(time.Second)
		if code, _, _ := n.callWith("GET", "/v1/users/bob", "", "X-STRINGEE-AUTH", raw); code != 200 {
			t.Errorf("a second later: %d", code)
		}
	})
}

// Pages of other hosts: the preflight, and what they may read (note B5.11).
func TestCORS(t *testing.T) {
	t.Parallel()
	origins := map[presence.AppID][]string{doortest.App: {"https://app.example"}, doortest.Other: {"https://other.example"}}
	inBubble(t, doortest.Config{Origins: origins}, Config{}, func(t *testing.T, n *node) {
		code, body, head := n.callWith("OPTIONS", "/v2/getStringeeServerAddress", "", "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
		if code != http.StatusNoContent || body != "" || head.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(head.Get("Access-Control-Allow-Headers"), "X-STRINGEE-AUTH") {
			t.Errorf("preflight: %d %q %v", code, body, head)
		}
		raw := n.client("bob", "")
		for origin, want := range map[string]struct {
			code   int
			allows string
		}{
			"https://app.example": {200, "https://app.example"}, "https://other.example": {403, "https://other.example"}, "https://evil.example": {403, ""}, "http://porchlight.test": {200, ""}, "": {200, ""},
		} {
			code, body, head := n.callWith("GET", "/v2/getStringeeServerAddress?access_token="+url.QueryEscape(raw), "", "Origin", origin)
			if code != want.code || head.Get("Access-Control-Allow-Origin") != want.allows || head.Get("Vary") != "Origin" {
				t.Errorf("%q: %d %s %v", origin, code, body, head)
			}
		}
		if code, _, head := n.callWith("GET", "/v1/users/bob", "", "Origin", "https://app.example"); code != 401 || head.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("a page must be able to read a refusal: %d %v", code, head)
		}
	})
}

// Where the client is sent: what is configured, else the host that was asked.
func TestServerAddress(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		raw := n.client("bob", "")
		for host, row := range map[string]struct {
			addresses []string
			want      string
		}{
			"presence.example":      {nil, `[{"ip":"presence.example","port":443}]`},
			"presence.example:8443": {nil, `[{"ip":"presence.example","port":8443}]`},
			"[2001:db8::1]:8443":    {nil, `[{"ip":"[2001:db8::1]","port":8443}]`},
			"x":                     {[]string{"a.example:443", "[2001:db8::2]:444"}, `[{"ip":"a.example","port":443},{"ip":"[2001:db8::2]","port":444}]`},
		} {
			n.door.SetPlaces(Places{Addresses: row.addresses})
			if got := n.addressAt(host, raw); got != `{"r":0,"data":{"stringeeServerAddrs":{"web":`+row.want+`}}}` {
				t.Errorf("%s: got %s", host, got)
			}
		}
	})
}

// "/" is the socket with an Upgrade, and else a page.
func TestRoot(t *testing.T) {
	t.Parallel()
	inBubble(t, doortest.Config{}, Config{}, func(t *testing.T, n *node) {
		if code, body, head := n.callWith("GET", "/", ""); code != 200 || !strings.Contains(body, "Porchlight is running") || !strings.HasPrefix(head.Get("Content-Type"), "text/plain") {
			t.Errorf("got %d %s", code, body)
		}
		if code, _, _ := n.callWith("POST", "/", "", "Upgrade", "websocket"); code != http.StatusUpgradeRequired {
			t.Errorf("an upgrade by POST: %d", code)
		}
	})
}

func FuzzBodies(f *testing.F) {
	for _, s := range []string{`[{"attribute":"a","value":1}]`, `{"participants":["a"],"state":"Calling"}`, `page=1&limit=2&userId=a,b&x=y`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if list, no := parseAttributes([]byte(s)); no == nil {
			for _, a := range list {
				if !json.Valid(a.Value) {
					t.Errorf("%q: the value %q", s, a.Value)
				}
			}
		}
		parseCall([]byte(s))
		if v, err := url.ParseQuery(s); err == nil {
			if q, no := parseQuery(v); no == nil && (q.page < 1 || q.limit < 1 || q.limit > maxPage || len(q.users) > maxPage) {
				t.Errorf("%q: %+v", s, q)
			}
		}
	})
}
