package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a receiver, and what it told.
type rig struct {
	t    *testing.T
	r    *Receiver
	told []Request
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	g := &rig{t: t}
	cfg.Told = func(r Request) { g.told = append(g.told, r) }
	var err error
	if g.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return g
}

// post sends a request and returns what was told of it.
func (g *rig) post(target, body string, header http.Header) (Request, *httptest.ResponseRecorder) {
	g.t.Helper()
	req := httptest.NewRequest("POST", "http://receiver"+target, strings.NewReader(body))
	for k, v := range header {
		req.Header[k] = v
	}
	w := httptest.NewRecorder()
	before := len(g.told)
	g.r.ServeHTTP(w, req)
	if len(g.told) != before+1 {
		g.t.Fatalf("%d requests were told, want one", len(g.told)-before)
	}
	got := g.told[before]
	if w.Code != got.Answer {
		g.t.Errorf("answered %d, told %d", w.Code, got.Answer)
	}
	return got, w
}

// changes is a native body with one event per user's number.
func changes(user string, seqs ...uint64) string {
	var events []string
	for _, n := range seqs {
		events = append(events, fmt.Sprintf(`{"position":"%d.0.0","event_id":"%s-%d","user_seq":%d,"kind":"opened","reason":"opened","time":"2026-05-04T10:20:30.400Z","user":%q,"session":{"device":{"platform":"ios"},"status":{"show":"busy"}},"available":true,"was_available":false}`, n, user, n, n, user))
	}
	return `{"type":"presence.changes","app":"demo","endpoint":"main","events":[` + strings.Join(events, ",") + `]}`
}

// What cannot be read is said, and answered well: the signature is what counts.
func TestBodiesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	structured := http.Header{"Content-Type": {"application/cloudevents+json"}}
	for name, test := range map[string]struct {
		format, body, target string
		header               http.Header
		problem              string
	}{
		"native, no JSON":         {Native, "x", "/", nil, "no JSON object"},
		"native, an array":        {Native, "[]", "/", nil, "no JSON object"},
		"native, another type":    {Native, `{"type":"x"}`, "/", nil, `type "x" and 0 events`},
		"native, no id":           {Native, `{"type":"presence.changes","events":[{}]}`, "/", nil, "event 0: event_id or position is missing"},
		"rongcloud, an object":    {RongCloud, "{}", "/", nil, "no JSON array"},
		"rongcloud, a status":     {RongCloud, `[{"status":"9"}]`, "/", nil, `event 0 has status "9"`},
		"tencentim, no JSON":      {TencentIM, "x", "/", nil, "no JSON object"},
		"tencentim, two commands": {TencentIM, `{"CallbackCommand":"A"}`, "/?CallbackCommand=B", nil, `"B" in the URL and "A" in the body`},
		"tencentim, no app":       {TencentIM, `{"CallbackCommand":"A"}`, "/?CallbackCommand=A", nil, "SdkAppid is missing"},
		"cloudevents, plain JSON": {CloudEvents, "{}", "/", http.Header{"Content-Type": {"application/json"}}, `Content-Type is "application/json"`},
		"cloudevents, no version": {CloudEvents, "{}", "/", structured, "specversion 1.0"},
		"cloudevents, no data":    {CloudEvents, `{"specversion":"1.0","id":"a","type":"b","source":"c","data":1}`, "/", structured, "event 0: cannot be read"},
	} {
		got, w := newRig(t, Config{Format: test.format}).post(test.target, test.body, test.header)
		if !strings.Contains(got.Problem, test.problem) || w.Code != 200 {
			t.Errorf("%s: got %q, answered %d; want %q", name, got.Problem, w.Code, test.problem)
		}
	}
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	const one = `{"specversion":"1.0","id":"a","type":"dev.porchlight.presence.opened","source":"/apps/demo","data":{"position":"1.0.0","event_id":"a","user_seq":1,"kind":"opened","user":"alice"}}`
	const gone = `{"specversion":"1.0","id":"g","type":"dev.porchlight.presence.gap","source":"/apps/demo","data":{"from":"1.0.0","to":"9.0.0"}}`
	for body, kind := range map[string]string{one: "application/cloudevents+json; charset=utf-8", "[" + one + "," + gone + "]": "application/cloudevents-batch+json"} {
		got, _ := newRig(t, Config{Format: CloudEvents}).post("/", body, http.Header{"Content-Type": {kind}})
		if got.Problem != "" || got.Events[0].User != "alice" || got.Events[0].Seq != 1 {
			t.Errorf("got %+v", got)
		}
		if len(got.Events) > 1 && (got.Events[1].Kind != "gap" || !strings.Contains(got.Events[1].Text, "after 1.0.0 up to 9.0.0")) {
			t.Errorf("got %+v", got.Events[1])
		}
	}
}

// Repeats, gaps and wrong order are seen; what was answered badly comes again.
func TestOrder(t *testing.T) {
	t.Parallel()
	fail := false
	g := newRig(t, Config{FailRate: 0.5, Rand: func() float64 {
		if fail {
			return 0
		}
		return 0.9
	}})
	notes := func(body string) string {
		t.Helper()
		got, _ := g.post("/", body, nil)
		var list []string
		for _, e := range got.Events {
			list = append(list, e.Note)
		}
		return strings.Join(list, "|")
	}
	for i, step := range []struct {
		fail       bool
		body, want string
	}{
		{false, changes("alice", 4), ""}, // it began before this receiver did
		{false, changes("alice", 5, 6), "|"},
		{false, changes("alice", 6, 7), "repeat|"},
		{true, changes("alice", 8), ""},
		{false, changes("alice", 8), ""},
		{false, changes("alice", 11), "2 of this user did not come here"},
		{false, changes("alice", 10), "WRONG ORDER: number 10 came after 11"},
		{false, changes("bob", 1), ""},
		{false, strings.Replace(changes("bob", 1, 2), `"endpoint"`, `"replay":"rp_1","endpoint"`, 1), "repeat|"},
		{false, changes("bob", 2), "repeat"},
		{false, strings.Replace(changes("alice", 9), `"endpoint"`, `"resent":true,"endpoint"`, 1), ""},
		{false, changes("alice", 12), ""},
		{false, strings.Replace(changes("alice", 13), `"kind":"opened"`, `"kind":"erased"`, 1), ""},
		{false, changes("alice", 1, 2), "|"}, // numbers begin anew
	} {
		if fail = step.fail; notes(step.body) != step.want {
			t.Errorf("step %d: got %q, want %q", i, g.told[len(g.told)-1].Events, step.want)
		}
	}
	for i := range mostKnown {
		g.r.order.seen[strconv.Itoa(i)] = true
	}
	notes(changes("carol", 1))
	if len(g.r.order.seen) > 1 {
		t.Errorf("%d events are remembered", len(g.r.order.seen))
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got, w := newRig(t, Config{Answer: 503}).post("/", changes("a", 1), nil); w.Code != 503 || got.Answer != 503 {
			t.Errorf("got %d", w.Code)
		}
		if _, w := newRig(t, Config{Answer: 204}).post("/", changes("a", 1), nil); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
		if _, w := newRig(t, Config{Format: TencentIM, Answer: 500}).post("/", "{}", nil); w.Code != 500 || strings.Contains(w.Body.String(), "OK") {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
		began := time.Now()
		if got, _ := newRig(t, Config{Delay: 3 * time.Second}).post("/", changes("a", 1), nil); time.Since(began) != 3*time.Second || got.After != "3s" {
			t.Errorf("answered after %v, want 3 s", time.Since(began))
		}
		failed := 0
		g := newRig(t, Config{FailRate: 0.3})
		for i := range 1000 {
			if _, w := g.post("/", changes("a", uint64(i+1)), nil); w.Code == 500 {
				failed++
			}
		}
		if failed < 200 || failed > 400 {
			t.Errorf("%d of 1000 failed, want about 300", failed)
		}
	})
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: got %d %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	if r.ServeHTTP(w, httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, maxBody+1)))); w.Code != 400 {
		t.Errorf("a body without end: got %d", w.Code)
	}
	for name, cfg := range map[string]Config{
		"format": {Format: "xml"}, "answer": {Answer: 100}, "rate": {FailRate: 1.5}, "delay": {Delay: -1}, "secret": {Secrets: []string{"x"}}, "base64": {Secrets: []string{"whsec_!"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A line holds what counts, and nothing that a terminal would obey.
func TestText(t *testing.T) {
	t.Parallel()
	got, _ := newRig(t, Config{}).post("/hook", strings.Replace(changes("alice", 1), `"alice"`, `"alice\u001b[2J"`, 1), nil)
	text := got.String()
	for _, want := range []string{"POST /hook  1 event, signature unchecked, answered 200\n", "opened", "#1", "ios, busy, now available"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("%q has a control character", text)
	}
	b, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(b), `"signature":"unchecked"`) || !strings.Contains(string(b), `"raw":{"position":"1.0.0"`) {
		t.Errorf("%s, %v", b, err)
	}
	got, _ = newRig(t, Config{}).post("/", `{"type":"presence.gap","gap":{"from":"1.0.0","to":"5.0.0"}}`, nil)
	if text := got.String(); !strings.Contains(text, "gap  what happened after 1.0.0 up to 5.0.0 is no longer in the log") {
		t.Errorf("got %q", text)
	}
}

func FuzzReceiver(f *testing.F) {
	f.Add(0, "/?nonce=1&timestamp=2&signature=3", "application/json", changes("a", 1, 2))
	f.Add(1, "/", "application/cloudevents-batch+json", `[{"specversion":"1.0","id":"a","type":"b","source":"c","data":{}}]`)
	f.Add(2, "/?timestamp=1&nonce=2&signature=3", "", `[{"userid":"a","status":"0"}]`)
	f.Add(3, "/?SdkAppid=1&CallbackCommand=A", "", `{"CallbackCommand":"A"}`)
	f.Fuzz(func(t *testing.T, format int, query, contentType, body string) {
		cfg := Config{Format: Formats()[uint(format)%4]}
		cfg.Secrets = []string{"a"}
		if cfg.standard() {
			cfg.Secrets = []string{secret}
		}
		r, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("POST", "/", strings.NewReader(body))
		req.URL.RawQuery = query
		req.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized && !strings.Contains(query, "ign") {
			t.Errorf("answered %d without a signature", w.Code)
		}
	})
}
