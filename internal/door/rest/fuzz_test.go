package rest

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// fuzzBody sends whatever bytes as the body of one call. The answer must be
// JSON, a problem unless it is 200, and never an internal error.
func fuzzBody(f *testing.F, method, target string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	for _, s := range []string{``, `{}`, `null`, `[]`, `{"a":`, `{"ttl":1e400}`, "{\"\xff\":1}", strings.Repeat(`{"a":`, 200)} {
		f.Add(s)
	}
	n := newNode(f)
	f.Fuzz(func(t *testing.T, body string) {
		n.answered(t, n.do(method, target, body))
	})
}

// answered fails the test unless w is an answer that may be given to anything.
func (n *node) answered(t *testing.T, w *httptest.ResponseRecorder) {
	if w.Header().Get("Content-Type") == typeLines && w.Code == 200 {
		return
	}
	var v map[string]any
	switch err := json.Unmarshal(w.Body.Bytes(), &v); {
	case err != nil:
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	case w.Code >= 500:
		t.Fatalf("%d %s", w.Code, w.Body)
	case w.Code != 200 && (v["code"] == nil || w.Header().Get("Content-Type") != "application/problem+json"):
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func FuzzQueryUsers(f *testing.F) {
	fuzzBody(f, "POST", "/users/query", `{"users":["alice","b\u0000b"],"view":true}`)
}

func FuzzPutPresence(f *testing.F) {
	fuzzBody(f, "PUT", "/users/bot/presence",
		`{"status":"busy","rich_text":"x","ttl":60,"device":{"platform":"desk"}}`,
		`{"ttl":60,"properties":{"a":-0,"b":1e30,"c":9223372036854775808,"d":{"token":"t","args":{"x":"y"},"fallback":"z"},"e":true}}`,
		`{"ttl":60,"rich_text":{"token":"t"},"invisible":true}`)
}

// FuzzTargets sends any path and query.
func FuzzTargets(f *testing.F) {
	for _, s := range []string{"/users/a%2Fb", "/users/%ff?view=1", "/online?next=AW8B&limit=2", "/users/../x", "/users/a/sessions/Q0rYb1cKTo2mFqS4kq1pCA", "/users/a/presence?name=%00", "/changes?after=1.0.0&limit=5", "/snapshot?at=1&online=true",
		"/users/a/history?next=1", "/webhooks", "/webhooks/main/dead?next=1", "/webhooks/main/replays/x"} {
		f.Add("GET", s)
		f.Add("DELETE", s)
	}
	n := newNode(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(Prefix + target)
		if err != nil || method != "GET" && method != "DELETE" && method != "PUT" || u.Query().Has("wait") { // which would take that long
			return
		}
		r := httptest.NewRequest(method, "http://node/", nil)
		r.URL = u
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		n.door.ServeHTTP(w, r)
		n.answered(t, w)
	})
}

func FuzzReplaceFriends(f *testing.F) {
	fuzzBody(f, "PUT", "/users/alice/friends", `{"friends":["bob","carol","bob"]}`, `{"friends":["alice"]}`)
}

func FuzzPushFriends(f *testing.F) {
	fuzzBody(f, "POST", "/friends/changes", `{"changes":[{"user":"alice","added":["bob"],"removed":["carol"]},{"user":"dave","reread":true}]}`)
}

func FuzzReplay(f *testing.F) {
	fuzzBody(f, "POST", "/webhooks/main/replay", `{"position":"1.0.0"}`, `{"time":"2026-05-04T10:20:30.400Z"}`, `{"time":"0001-01-01T00:00:00Z"}`, `{"time":"9999-12-31T23:59:59Z"}`)
}

func FuzzResend(f *testing.F) {
	fuzzBody(f, "POST", "/webhooks/main/resend", `{"ids":["1","2"],"force":true}`, `{"all":true}`)
}
