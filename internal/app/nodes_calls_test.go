package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestCallsOfNodes makes every call at each of three nodes for users who are
// connected at another; the third must see what came of it.
func TestCallsOfNodes(t *testing.T) {
	nodes := cluster(t, 3)
	calls := []struct {
		name string
		do   func(c calling)
	}{
		{"queries", queriesAnywhere},
		{"friends and blocks", listsAnywhere},
		{"attributes and topics", attributesAnywhere},
		{"presence of a server", servedAnywhere},
		{"changes and history", historyAnywhere},
		{"drop", dropAnywhere},
		{"drop and revoke", revokeAnywhere},
		{"publishers", publishersAnywhere},
		{"erase", eraseAnywhere},
	}
	for n, call := range calls {
		for i := range nodes {
			c := calling{t: t, at: nodes[i], home: nodes[(i+1)%3], other: nodes[(i+2)%3], user: fmt.Sprintf("u%d-%d", n, i)}
			t.Run(fmt.Sprintf("%s at n%d", call.name, i+1), func(t *testing.T) {
				c.t = t
				his := speak(t, c.home, presence.UserID(c.user))
				c.mine = his.connect(his.make())
				watcher := speak(t, c.other, presence.UserID(c.watcher()))
				w := watcher.make()
				watcher.subscribe(w, c.user)
				c.sees = watcher.connect(w)
				c.become(isOnline)
				call.do(c)
			})
		}
	}
}

func queriesAnywhere(c calling) {
	c.answers(c.at, "", func(m map[string]any) bool { return m["available"] == true && len(m["sessions"].([]any)) == 1 })
	sessions := c.rest(c.at, "GET", "/sessions", "")["sessions"].([]any)
	if len(sessions) != 1 {
		c.t.Fatalf("sessions: %v", sessions)
	}
	id := sessions[0].(map[string]any)["session"].(string)
	c.rest(c.at, "GET", "/sessions/"+id, "")
	if m := rest(c.t, c.at, "POST", "/api/v1/users/query", fmt.Sprintf(`{"users":[%q]}`, c.user)); m["users"].([]any)[0].(map[string]any)["available"] != true {
		c.t.Errorf("query: %v", m)
	}
	if m := rest(c.t, c.at, "GET", "/api/v1/online?limit=1000", ""); !strings.Contains(fmt.Sprint(m), c.user) {
		c.t.Errorf("online: %v", m)
	}
	if got := askRongCloud(c.t, c.at, config.DevelopmentRongCloudKey, config.DevelopmentRongCloudSecret, c.user); got != `{"code":200,"status":"1"}` {
		c.t.Errorf("RongCloud: %s", got)
	}
	at := fmt.Sprintf("/v4/openim/query_online_status?sdkappid=%d&identifier=%s&usersig=%s&random=1&contenttype=json", config.DevelopmentTencentIMApp,
		config.DevelopmentTencentIMAdmin, userSig(c.t, config.DevelopmentTencentIMApp, config.DevelopmentTencentIMKey, config.DevelopmentTencentIMAdmin))
	if code, got := web(c.t, c.at, "POST", at, "", `{"To_Account":["`+c.user+`"]}`); code != 200 || !strings.Contains(got, `"Status":"Online"`) {
		c.t.Errorf("Tencent: %d %s", code, got)
	}
	if code, got := web(c.t, c.at, "GET", "/v1/users/"+c.user, vendor(c.t), ""); code != 200 || !strings.Contains(got, c.user) {
		c.t.Errorf("Stringee: %d %s", code, got)
	}
	if code, got := web(c.t, c.at, "GET", "/v1/users?userId="+c.user, vendor(c.t), ""); code != 200 || !strings.Contains(got, `"count":1`) {
		c.t.Errorf("Stringee's list: %d %s", code, got)
	}
}

func listsAnywhere(c calling) {
	c.rest(c.at, "PUT", "/friends", `{"friends":["x","y"]}`)
	for _, a := range []*app.App{c.home, c.other} {
		c.answers(a, "/friends", func(m map[string]any) bool { return len(m["friends"].([]any)) == 2 })
	}
	c.rest(c.at, "PUT", "/blocks/"+c.watcher(), "")
	happens(c.t, "who is blocked sees him leave", func() bool {
		says, _ := c.sees.last(c.user)
		return strings.HasPrefix(says, "SESSION_EVENT_KIND_CLOSED")
	})
	for _, a := range []*app.App{c.at, c.home, c.other} {
		blocked := speak(c.t, a, presence.UserID(c.watcher()))
		happens(c.t, "who is blocked is told that he is away", func() bool { return blocked.sees(c.user) == isNowhere })
	}
	c.become(isOnline) // for others
	c.rest(c.other, "DELETE", "/blocks/"+c.watcher(), "")
	happens(c.t, "he is back for who was blocked", func() bool { return speak(c.t, c.at, presence.UserID(c.watcher())).sees(c.user) == isOnline })
}

func attributesAnywhere(c calling) {
	topic := "of-" + c.user
	heard := c.hears(c.other, topic)
	agent := c.agent(topic)
	c.rest(c.at, "PUT", "/attributes/skill", `{"value":"go"}`)
	happens(c.t, "the topic is told at another node", func() bool { return slices.Contains(heard(), `skill="go"`) })
	for _, a := range []*app.App{c.at, c.home, c.other} {
		c.answers(a, "/attributes", func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m), "go") })
	}
	happens(c.t, "Stringee's call is taken", func() bool {
		code, _ := web(c.t, c.at, "PUT", "/v1/users/"+c.user+"/attributes", vendor(c.t), `[{"attribute":"skill","value":"rust"}]`)
		return code == 200
	})
	happens(c.t, "the topic is told of Stringee's call", func() bool { return slices.Contains(heard(), `skill="rust"`) })
	c.rest(c.at, "DELETE", "/attributes/skill", "")
	happens(c.t, "the topic is told that it was taken away", func() bool { return slices.Contains(heard(), `skill=null`) })
	if got := heard(); !inSequence(got, `skill="go"`, `skill="rust"`, `skill=null`) {
		c.t.Errorf("the topic was told %q", got)
	}
	// A call of the user at his own node and at another: both see it.
	if _, err := agent.SetAttributes(c.t.Context(), client.Attribute{Name: "skill", Value: json.RawMessage(`"c"`)}); err != nil {
		c.t.Error(err)
	}
	c.answers(c.other, "/attributes", func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m), "value:c") })
}

// inSequence reports whether want is in got in that order.
func inSequence(got []string, want ...string) bool {
	for _, s := range got {
		if len(want) > 0 && s == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func servedAnywhere(c calling) {
	opened := c.rest(c.home, "PUT", "/presence?name=desk", `{"ttl":600,"status":"online"}`)
	happens(c.t, "the same presence is put at another node", func() bool {
		m := c.rest(c.at, "PUT", "/presence?name=desk", `{"ttl":600,"status":"busy"}`)
		return m["session"] == opened["session"] && m["opened"] == false
	})
	for _, a := range []*app.App{c.at, c.home, c.other} {
		c.answers(a, "", func(m map[string]any) bool { return m["availability"] == "busy" && len(m["sessions"].([]any)) == 2 })
	}
	if m := c.rest(c.other, "DELETE", "/presence?name=desk", ""); m["removed"] != true {
		c.t.Errorf("removed at a third node: %v", m)
	}
	for _, a := range []*app.App{c.at, c.home} {
		c.answers(a, "", func(m map[string]any) bool { return m["availability"] == "online" && len(m["sessions"].([]any)) == 1 })
	}
	if m := c.rest(c.at, "DELETE", "/presence?name=desk", ""); m["removed"] != false {
		c.t.Errorf("removed again: %v", m)
	}
	short := c.rest(c.at, "PUT", "/presence?name=short", `{"ttl":3}`)
	c.answers(c.other, "", func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m), short["session"].(string)) })
	c.answers(c.other, "", func(m map[string]any) bool { return !strings.Contains(fmt.Sprint(m), short["session"].(string)) })
}

func historyAnywhere(c calling) {
	c.rest(c.home, "PUT", "/presence", `{"ttl":600}`)
	happens(c.t, "a presence that was put at one node is ended at another", func() bool {
		return c.rest(c.other, "DELETE", "/presence", "")["removed"] == true
	})
	var position string
	for _, a := range []*app.App{c.at, c.home, c.other} {
		c.answers(a, "/history?limit=10", func(m map[string]any) bool {
			events := m["events"].([]any)
			if len(events) == 3 {
				position = events[1].(map[string]any)["position"].(string)
			}
			return len(events) == 3 && events[0].(map[string]any)["kind"] == "closed"
		})
	}
	m := rest(c.t, c.at, "GET", "/api/v1/changes?limit=1000&after="+position, "")
	if got := fmt.Sprint(m["events"]); !strings.Contains(got, "user:"+c.user) || !strings.Contains(got, "kind:closed") {
		c.t.Errorf("changes behind %s: %v", position, m)
	}
	if code, text := web(c.t, c.at, "GET", "/api/v1/snapshot?online=true&at="+position, "Authorization: Bearer "+config.DevelopmentServerKey, ""); code != 200 || !strings.Contains(text, c.user) || !strings.Contains(text, `"type":"end"`) {
		c.t.Errorf("snapshot: %d %s", code, text)
	}
}

func dropAnywhere(c calling) {
	// One that is only made is known to its node alone.
	made := speak(c.t, c.home, presence.UserID(c.user)).make()
	m := c.rest(c.at, "DELETE", "/sessions", "")
	if m["dropped"] != 2.0 {
		c.t.Errorf("dropped: %v, want both", m)
	}
	c.become(isNowhere)
	happens(c.t, "his stream ends", func() bool { c.mine.mu.Lock(); defer c.mine.mu.Unlock(); return c.mine.err != nil })
	if err := speak(c.t, c.other, presence.UserID(c.user)).heartbeat(made); err == nil {
		c.t.Error("what was only made lives on")
	}
	if m := c.rest(c.at, "DELETE", "/sessions", ""); m["dropped"] != 0.0 {
		c.t.Errorf("dropped again: %v", m)
	}
}

func revokeAnywhere(c calling) {
	old := issuedAt(c.t, presence.UserID(c.user), time.Now().Add(-time.Minute))
	c.rest(c.at, "DELETE", "/sessions?revoke_tokens=true", "")
	c.become(isNowhere)
	for _, a := range []*app.App{c.home, c.other} {
		his := speak(c.t, a, presence.UserID(c.user))
		his.ctx = old
		happens(c.t, "his token is void at another node", func() bool { return strings.Contains(his.sees("asker"), "Unauthenticated") })
	}
}

func eraseAnywhere(c calling) {
	c.rest(c.other, "PUT", "/friends", `{"friends":["x"]}`)
	c.rest(c.other, "PUT", "/attributes/skill", `{"value":"go"}`)
	notify(c.t, c.other, c.user, "wait") // taken by nobody
	c.answers(c.at, "", func(m map[string]any) bool { return m["available"] == true })
	m := c.rest(c.at, "DELETE", "", "")
	if m["sessions"] != 1.0 {
		c.t.Errorf("erased: %v", m)
	}
	c.become(isNowhere)
	happens(c.t, "his stream ends", func() bool { c.mine.mu.Lock(); defer c.mine.mu.Unlock(); return c.mine.err != nil })
	for _, a := range []*app.App{c.at, c.home, c.other} {
		c.answers(a, "", func(m map[string]any) bool { _, seen := m["last_seen"]; return m["available"] == false && !seen })
		c.answers(a, "/history?limit=10", func(m map[string]any) bool {
			return !strings.Contains(fmt.Sprint(m), "kind:opened")
		})
		c.answers(a, "/friends", func(m map[string]any) bool { return len(m["friends"].([]any)) == 0 })
		c.answers(a, "/attributes", func(m map[string]any) bool { return !strings.Contains(fmt.Sprint(m), "go") })
		if n := notify(c.t, a, c.user, "new"); n > 3 {
			c.t.Errorf("his mailbox has %v", n)
		}
	}
	// Who is only made at another node is somebody, too.
	made := speak(c.t, c.home, presence.UserID(c.user)).make()
	c.rest(c.at, "DELETE", "", "")
	if err := speak(c.t, c.other, presence.UserID(c.user)).heartbeat(made); err == nil {
		c.t.Error("a session that was only made lives on after the erasure")
	}
}

// publishersAnywhere registers at one node, grants at another, asks at the third,
// and takes back at the first.
func publishersAnywhere(c calling) {
	proof := ""
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, proof)
	}))
	defer site.Close()
	domain := strings.TrimPrefix(site.URL, "http://")
	dora, his := bearer(c.t, "dora"), bearer(c.t, c.user)
	asJSON := "\nAccept: application/json"
	var made struct{ AppID, Key, UID string }
	form := func(a *app.App, who, path string, more ...string) string {
		c.t.Helper()
		v := url.Values{}
		for i := 0; i+1 < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		code, text := web(c.t, a, "POST", path, who+asJSON+"\nContent-Type: application/x-www-form-urlencoded", v.Encode())
		if code != 200 {
			c.t.Fatalf("%s: %d %s", path, code, text)
		}
		json.Unmarshal([]byte(text), &made)
		return text
	}
	form(c.at, dora, "/myapps", "domain", domain, "name", "Chat", "description", "Rooms to talk in.", "email", "dora@example.com")
	_, proof = web(c.t, c.home, "GET", "/myapps/"+made.AppID+"/proof", dora, "")
	form(c.other, dora, "/validate_app", "appid", made.AppID)
	form(c.home, dora, "/activate_app", "appid", made.AppID, "action", "activate")
	form(c.at, his, "/"+made.AppID+"/grant", "allow", "1", "redirect", site.URL+"/back?state=7", "id", "x")
	key, uid := "Authorization: Bearer "+made.Key, made.UID
	for _, a := range []*app.App{c.at, c.home, c.other} {
		happens(c.t, "the publisher is told that he is online", func() bool {
			code, text := web(c.t, a, "GET", "/"+made.AppID+"/presence?uid="+uid, key, "")
			return code == 200 && text == fmt.Sprintf("[[%q,\"online\"]]", uid)
		})
	}
	// Two of its connections, at two nodes, hear of him.
	first, second := c.listens(c.home, made.AppID, made.Key), c.listens(c.other, made.AppID, made.Key)
	for _, l := range []func() []string{first, second} {
		happens(c.t, "a connection of the publisher stands", func() bool { return strings.Contains(fmt.Sprint(l()), `"result":"OK"`) })
	}
	form(c.other, his, "/revoke/"+made.AppID)
	for _, l := range []func() []string{first, second} {
		happens(c.t, "the publisher is told that he is offline", func() bool {
			return strings.Contains(fmt.Sprint(l()), `"status":"offline"`) && strings.Contains(fmt.Sprint(l()), uid)
		})
	}
	for _, a := range []*app.App{c.at, c.home, c.other} {
		happens(c.t, "the publisher may not ask any more", func() bool {
			_, text := web(c.t, a, "GET", "/"+made.AppID+"/presence?uid="+uid, key, "")
			return text == fmt.Sprintf("[[%q,\"offline\"]]", uid)
		})
	}
}
