package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told runs a test with a node under the fake clock.
func told(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newNode(t)) })
}

// put sets a presence of a user for a minute.
func (n *node) put(user string) {
	n.t.Helper()
	n.ok("PUT", "/users/"+user+"/presence", `{"ttl":60}`)
}

// settle waits until everything was told that is to be told now.
func (n *node) settle() {
	<-time.After(time.Second)
	synctest.Wait()
}

// list are the objects of an answer's list.
func list(t testing.TB, m map[string]any, key string) (all []map[string]any) {
	t.Helper()
	items, ok := m[key].([]any)
	if !ok {
		t.Fatalf("got %v, want a list of %s", m, key)
	}
	for _, one := range items {
		all = append(all, one.(map[string]any))
	}
	return all
}

func TestWebhookCalls(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		n.settle()
		n.wants("GET", "/webhooks", "", `{"webhooks":[`+status("main", "hook", 1)+`,`+status("spare", "spare", 1)+`]}`)
		n.wants("GET", "/webhooks/main", "", status("main", "hook", 1))
		if w := n.do("GET", "/webhooks/main", ""); strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("shows the address: %s", w.Body)
		}
		n.receiver.answer(503)
		n.put("bob")
		n.settle()
		got := n.ok("GET", "/webhooks/main", "")
		if got["dead"] != 1.0 || got["failures"] != 1.0 || got["last_error"] != "status 503" || got["last_error_at"] == nil || got["doing"] != "live" {
			t.Errorf("got %v, want one dead letter and its reason", got)
		}
		for _, c := range [][3]string{
			{"GET", "/webhooks/nope", ""}, {"GET", "/webhooks/theirs", ""}, {"GET", "/webhooks/nope/dead", ""}, {"POST", "/webhooks/nope/replay", `{"position":"1"}`},
			{"POST", "/webhooks/theirs/resend", `{"all":true}`}, {"DELETE", "/webhooks/nope/replays/x", ""},
		} {
			n.refused(c[0], c[1], c[2], 404, "WEBHOOK_UNKNOWN")
		}
		n.refused("DELETE", "/webhooks/main/replays/rp_none", "", 404, "REPLAY_UNKNOWN")
	})
}

// status is an endpoint that is told everything.
func status(name, host string, delivered int) string {
	return fmt.Sprintf(`{"name":%q,"format":"native","host":"https://%s.example","doing":"live","position":"*","lanes":16,"waiting":0,"unread":false,"lag_seconds":0,"in_flight":0,
		"breaker":"closed","delivered":%d,"attempts":%[3]d,"failures":0,"gaps":0,"dead":0,"last_success":"*","replays":[]}`, name, host, delivered)
}

// Dead letters are listed in pages, and sent again with care for their order.
func TestDeadLetters(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.receiver.answer(500)
		for i := range 5 {
			n.put(fmt.Sprintf("user%d", i))
		}
		n.settle()
		first := n.ok("GET", "/webhooks/main/dead?limit=3", "")
		rest := n.ok("GET", "/webhooks/main/dead?limit=3&next="+first["next"].(string), "")
		all := append(list(t, first, "letters"), list(t, rest, "letters")...)
		if len(all) != 5 || rest["next"] != nil {
			t.Fatalf("got %v and %v, want five letters in two pages", first, rest)
		}
		var ids []string
		for _, l := range all {
			e := l["event"].(map[string]any)
			if e["kind"] != "opened" || e["user_seq"] != 1.0 || e["event_id"] == "" || l["attempts"] != 1.0 || l["why"] != "status 500" || l["died"] == nil {
				t.Errorf("got %v", l)
			}
			ids = append(ids, l["id"].(string))
		}
		n.refused("GET", "/webhooks/main/dead?next=x", "", 422, "FIELD_INVALID")

		n.wants("POST", "/webhooks/main/resend", fmt.Sprintf(`{"ids":[%q]}`, ids[0]), `{"sent":0,"failed":1,"older":[],"errors":{"status 500":1}}`)
		n.receiver.answer(200)
		user := all[1]["event"].(map[string]any)["user"].(string)
		n.ok("DELETE", "/users/"+user+"/presence", "") // his opening is older than that
		n.settle()
		n.wants("POST", "/webhooks/main/resend", fmt.Sprintf(`{"ids":[%q,%q]}`, ids[0], ids[1]), fmt.Sprintf(`{"sent":1,"failed":0,"older":[%q],"errors":{}}`, ids[1]))
		n.wants("POST", "/webhooks/main/resend", fmt.Sprintf(`{"ids":[%q],"force":true}`, ids[1]), `{"sent":1,"failed":0,"older":[],"errors":{}}`)
		n.wants("POST", "/webhooks/main/resend", `{"all":true}`, `{"sent":3,"failed":0,"older":[],"errors":{}}`)
		n.wants("GET", "/webhooks/main/dead", "", `{"letters":[]}`)
		bodies := n.receiver.taken()
		if last := bodies[len(bodies)-1]; !last.Resent || last.Endpoint != "main" || len(last.Events) == 0 {
			t.Errorf("got %+v, want it marked as sent again", last)
		}
		for body, where := range map[string]string{
			`{}`: "body", `{"all":true,"ids":["1"]}`: "body", `{"ids":["999"]}`: "body", `{"ids":["x"]}`: "body", `{"ids":[]}`: "body", `{"all":true,"x":1}`: "body.x",
		} {
			p := n.refused("POST", "/webhooks/main/resend", body, 422, "FIELD_INVALID")
			if errs := list(t, p, "errors"); errs[0]["location"] != where {
				t.Errorf("%s: got %v, want it at %s", body, errs, where)
			}
		}
	})
}

// A replay tells again what happened from a position or a time, to one endpoint.
func TestReplay(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		n.settle()
		middle := n.ok("GET", "/changes?after=now", "")["next"].(string)
		at := time.Now().UTC()
		n.settle()
		n.put("bob")
		n.settle()
		before := len(n.receiver.taken())
		replay := func(from string, want ...string) {
			t.Helper()
			r := n.ok("POST", "/webhooks/main/replay", from)
			id := r["replay"].(string)
			n.settle()
			var users []string
			bodies := n.receiver.taken()
			for _, b := range bodies[before:] {
				if b.Replay != id || b.Endpoint != "main" {
					t.Errorf("got %+v, want it marked with %s", b, id)
				}
				for _, e := range b.Events {
					users = append(users, e.User)
				}
			}
			before = len(bodies)
			if slices.Sort(users); !slices.Equal(users, want) {
				t.Errorf("from %s: told of %v, want %v", from, users, want)
			}
			replays := list(t, n.ok("GET", "/webhooks/main", ""), "replays")
			last := replays[len(replays)-1]
			if last["replay"] != id || last["doing"] != "done" || last["progress"] != 1.0 || last["events"] != float64(len(want)) || last["ended"] == nil {
				t.Errorf("got %v, want it done", last)
			}
			if d := n.ok("DELETE", "/webhooks/main/replays/"+id, ""); d["doing"] != "done" {
				t.Errorf("cancelled when over: %v", d)
			}
		}
		replay(`{"position":"`+middle+`"}`, "bob")
		replay(`{"position":"0"}`, "alice", "bob")
		replay(`{"time":"`+at.Format(time.RFC3339Nano)+`"}`, "bob")
		replay(`{"time":"1999-01-01T00:00:00Z"}`, "alice", "bob")
		for body, where := range map[string]string{
			`{}`: "body", `{"position":"1","time":"2000-01-01T00:00:00Z"}`: "body", `{"position":"x"}`: "body.position", `{"position":"1.2"}`: "body.position", `{"time":"yesterday"}`: "body.time",
			`{"position":"999999"}`: "body.position", `{"postion":"1"}`: "body.postion",
		} {
			p := n.refused("POST", "/webhooks/main/replay", body, 422, "FIELD_INVALID")
			if errs := list(t, p, "errors"); len(errs) != 1 || errs[0]["location"] != where {
				t.Errorf("%s: got %v, want it at %s alone", body, errs, where)
			}
		}
		n.wants("GET", "/webhooks/spare", "", status("spare", "spare", 2)) // a replay is of one endpoint
	})
}

// An erased user is nowhere in what was told or will be told again.
func TestErasureReachesWhatIsTold(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.receiver.answer(500)
		n.put("alice")
		n.put("bob")
		n.settle()
		if got := len(list(t, n.ok("GET", "/webhooks/main/dead", ""), "letters")); got != 2 {
			t.Fatalf("%d dead letters, want 2", got)
		}
		n.receiver.answer(200)
		n.ok("DELETE", "/users/alice", "")
		n.settle()
		for _, path := range []string{"/webhooks/main/dead", "/users/alice/history", "/changes", "/snapshot"} {
			body := n.do("GET", path, "").Body.String()
			for line := range strings.SplitSeq(strings.ReplaceAll(body, `{"position"`, "\n"+`{"position"`), "\n") {
				if strings.Contains(line, "alice") && !strings.Contains(line, `"kind":"erased"`) && !strings.Contains(line, `"reason":"dropped"`) {
					t.Errorf("%s: %s", path, line)
				}
			}
			if path != "/users/alice/history" && !strings.Contains(body, "bob") {
				t.Errorf("%s lost bob: %s", path, body)
			}
		}
		var kinds []string
		for _, b := range n.receiver.taken() {
			for _, e := range b.Events {
				if e.User == "alice" && b.Endpoint == "main" {
					kinds = append(kinds, e.Kind)
				}
			}
		}
		if !slices.Contains(kinds, "erased") {
			t.Errorf("the webhook was told %v, want erased", kinds)
		}
	})
}

// Without the log the calls say so, and when to come again.
func TestToldWithoutTheLog(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.webhooks.Stop(t.Context())
		w := n.do("GET", "/webhooks/main", "")
		n.problem(w, "stopped", http.StatusServiceUnavailable, "DRAINING")
	})
}
