package rest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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

// Changes come by pull, whole and in order, of one app.
func TestChanges(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.wants("GET", "/changes", "", `{"events":[],"next":"*","more":false}`)
		n.put("alice")
		n.put("bob")
		if w := n.doAs(otherSecret, "PUT", Prefix+"/users/mallory/presence", `{"ttl":60}`); w.Code != 200 {
			t.Fatal(w.Code)
		}
		n.ok("DELETE", "/users/alice/presence", "")
		var got []string
		next, calls := "", 0
		for more := true; more; calls++ {
			page := n.ok("GET", "/changes?limit=2&after="+next, "")
			for _, e := range list(t, page, "events") {
				got = append(got, fmt.Sprintf("%v %v %v", e["user"], e["kind"], e["user_seq"]))
			}
			next, more = page["next"].(string), page["more"].(bool)
		}
		if want := []string{"alice opened 1", "bob opened 1", "alice closed 2"}; !slices.Equal(got, want) || calls < 2 {
			t.Errorf("got %v in %d calls, want %v", got, calls, want)
		}
		n.wants("GET", "/changes?after="+next, "", `{"events":[],"next":"*","more":false}`)

		for query, field := range map[string]string{
			"after=x": "query.after", "after=999999": "query.after", "limit=0": "query.limit", "limit=1001": "query.limit", "wait=31": "query.wait", "wait=-1": "query.wait", "since=1": "query.since",
		} {
			p := n.refused("GET", "/changes?"+query, "", 422, "FIELD_INVALID")
			if errs := list(t, p, "errors"); errs[0]["location"] != field {
				t.Errorf("%s: got %v, want it at %s", query, errs, field)
			}
		}

		// Who waits is told as soon as something happens, and when nothing does.
		answers := make(chan map[string]any)
		wait := func(seconds int) {
			go func() { answers <- decode(t, n.do("GET", fmt.Sprintf("/changes?wait=%d&after=%s", seconds, next), "")) }()
			synctest.Wait()
		}
		began := time.Now()
		wait(7)
		if a := <-answers; len(list(t, a, "events")) != 0 || time.Since(began) != 7*time.Second {
			t.Errorf("got %v after %v, want nothing after 7 s", a, time.Since(began))
		}
		began = time.Now()
		wait(30)
		<-time.After(3 * time.Second)
		n.put("carol")
		a := <-answers
		if e := list(t, a, "events"); len(e) != 1 || e[0]["user"] != "carol" || time.Since(began) > 3*time.Second+100*time.Millisecond {
			t.Errorf("got %v after %v, want carol at once", a, time.Since(began))
		}
		next = a["next"].(string)
		wait(30)
		n.door.Drain()
		if a := <-answers; a["next"] != next || len(list(t, a, "events")) != 0 {
			t.Errorf("got %v, want what it knew when the node stops", a)
		}
	})
}

func TestHistory(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		for range 3 {
			n.put("alice")
			n.ok("DELETE", "/users/alice/presence", "")
		}
		n.put("bob")
		var got []string
		for next := ""; ; {
			page := n.ok("GET", "/users/alice/history?limit=4&next="+next, "")
			for _, e := range list(t, page, "events") {
				got = append(got, fmt.Sprintf("%v%v", e["user_seq"], e["kind"]))
			}
			if page["next"] == nil {
				break
			}
			next = page["next"].(string)
		}
		if want := []string{"6closed", "5opened", "4closed", "3opened", "2closed", "1opened"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		n.wants("GET", "/users/nobody/history", "", `{"events":[]}`)
		if w := n.doAs(otherSecret, "GET", Prefix+"/users/alice/history", ""); strings.Contains(w.Body.String(), "alice") {
			t.Errorf("another app reads %s", w.Body)
		}
		n.refused("GET", "/users/alice/history?next=x", "", 422, "FIELD_INVALID")
		n.refused("GET", "/users/alice/history?limit=1001", "", 422, "FIELD_INVALID")
	})
}

// snapshot reads a snapshot's lines.
func snapshot(t *testing.T, body io.Reader) (lines []map[string]any) {
	t.Helper()
	dec := json.NewDecoder(body)
	for {
		var line map[string]any
		if err := dec.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatalf("%v after %v", err, lines)
		}
		lines = append(lines, line)
	}
}

// names are the users of a snapshot's lines; the lines around them are checked.
func names(t *testing.T, lines []map[string]any) (users []string) {
	t.Helper()
	first, last := lines[0], lines[len(lines)-1]
	for _, l := range lines[1 : len(lines)-1] {
		users = append(users, l["user"].(string))
	}
	n, _ := last["users"].(float64)
	if first["type"] != "snapshot" || first["app"] != "demo" || first["position"] == nil || last["type"] != "end" || int(n) != len(users) {
		t.Errorf("got %v … %v around %d users", first, last, len(users))
	}
	slices.Sort(users)
	return users
}

// A snapshot is everybody at one position; the changes behind it tell the rest.
func TestSnapshot(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		n.ok("PUT", "/users/bob/presence", `{"ttl":60,"status":"busy","invisible":true,"properties":{"seats":9007199254740993}}`)
		n.put("carol")
		n.ok("DELETE", "/users/carol/presence", "")
		n.doAs(otherSecret, "PUT", Prefix+"/users/mallory/presence", `{"ttl":60}`)
		w := n.do("GET", "/snapshot", "")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/x-ndjson" || w.Header().Get("Content-Encoding") != "" {
			t.Fatalf("got %d %v", w.Code, w.Header())
		}
		raw := w.Body.String()
		lines := snapshot(t, strings.NewReader(raw))
		if got := names(t, lines); !slices.Equal(got, []string{"alice", "bob", "carol"}) {
			t.Errorf("got %v, want all of the app", got)
		}
		for _, l := range lines[1 : len(lines)-1] {
			sessions, _ := l["sessions"].([]any)
			switch l["user"] {
			case "alice":
				if l["available"] != true || l["shown_available"] != true || l["user_seq"] != 1.0 || len(sessions) != 1 {
					t.Errorf("got %v", l)
				}
			case "bob":
				if l["available"] != true || l["shown_available"] != nil || sessions[0].(map[string]any)["invisible"] != true || !strings.Contains(raw, `"seats":9007199254740993`) {
					t.Errorf("got %v", l)
				}
			case "carol":
				if l["available"] != nil || l["last_seen"] == nil || len(sessions) != 0 || l["user_seq"] != 2.0 {
					t.Errorf("got %v", l)
				}
			}
		}
		at := lines[0]["position"].(string)
		if w := n.do("GET", "/snapshot?online=true", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice", "bob"}) {
			t.Error("online=true: not those who are")
		}
		n.ok("DELETE", "/users/alice/presence", "")
		if e := list(t, n.ok("GET", "/changes?after="+at, ""), "events"); len(e) != 1 || e[0]["user"] != "alice" {
			t.Errorf("behind the snapshot: got %v, want alice's closing", e)
		}
		if w := n.do("GET", "/snapshot?online=true", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"bob"}) {
			t.Error("now: want bob alone")
		}
		if w := n.do("GET", "/snapshot?online=true&at="+at, ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice", "bob"}) {
			t.Error("as it was: want alice and bob")
		}
		n.refused("GET", "/snapshot?at=x", "", 422, "FIELD_INVALID")
		n.refused("GET", "/snapshot?at=999999", "", 422, "FIELD_INVALID")
		n.refused("GET", "/snapshot?online=maybe", "", 422, "FIELD_INVALID")
	})
}

func TestSnapshotCompressed(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		ask := func(accept string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
			r.Header.Set("Authorization", "Bearer "+secret)
			r.Header.Set("Accept-Encoding", accept)
			w := httptest.NewRecorder()
			n.door.ServeHTTP(w, r)
			return w
		}
		for accept, zipped := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "br": false, "": false, "gzip; q=0.0, br": false} {
			w := ask(accept)
			var body io.Reader = w.Body
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: got %v", accept, w.Header())
			}
			if zipped {
				z, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			if got := names(t, snapshot(t, body)); !slices.Equal(got, []string{"alice"}) {
				t.Errorf("%q: got %v", accept, got)
			}
		}
	})
}

// A peer has time for each piece of a snapshot, not for the whole of it.
func TestSnapshotDeadlines(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		for i := range 450 {
			n.put(fmt.Sprintf("user-%d-%s", i, strings.Repeat("x", 100)))
		}
		r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := &slowReader{ResponseRecorder: httptest.NewRecorder()}
		n.door.ServeHTTP(w, r)
		if got := names(t, snapshot(t, w.Body)); len(got) != 450 {
			t.Errorf("%d users", len(got))
		}
		if len(w.deadlines) < 3 || w.deadlines[1].Sub(w.deadlines[0]) != 20*time.Second {
			t.Errorf("deadlines %v, want one for each 64 KiB", w.deadlines)
		}
	})
}

// Of an app two snapshots are read at once; one that ends, well or not, makes room.
func TestSnapshotsAtOnce(t *testing.T) {
	told(t, func(t *testing.T, n *node) {
		n.put("alice")
		var readers sync.WaitGroup
		for range mostSnapshots {
			readers.Go(func() {
				r := httptest.NewRequest("GET", "http://node"+Prefix+"/snapshot", nil)
				r.Header.Set("Authorization", "Bearer "+secret)
				n.door.ServeHTTP(&slowReader{ResponseRecorder: httptest.NewRecorder()}, r)
			})
		}
		synctest.Wait()
		n.refused("GET", "/snapshot", "", 429, "RATE_LIMITED")
		readers.Wait()
		for range mostSnapshots + 1 { // those that are refused count for nothing
			n.refused("GET", "/snapshot?at=999999", "", 422, "FIELD_INVALID")
		}
		if w := n.do("GET", "/snapshot", ""); !slices.Equal(names(t, snapshot(t, w.Body)), []string{"alice"}) {
			t.Errorf("after the others ended: got %d %s", w.Code, w.Body)
		}
	})
}

// slowReader takes 20 s for each piece.
type slowReader struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

// SetWriteDeadline is for http.ResponseController.
func (s *slowReader) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		s.deadlines = append(s.deadlines, t)
	}
	return nil
}

// Write takes its time.
func (s *slowReader) Write(b []byte) (int, error) {
	<-time.After(20 * time.Second)
	return s.ResponseRecorder.Write(b)
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
