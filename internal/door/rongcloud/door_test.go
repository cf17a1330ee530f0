package rongcloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// people are who is known, and how.
type people map[presence.User]*presence.Presence

// Presence returns a picture as the tracker does.
func (p people) Presence(name presence.User) *presence.Presence {
	if name.ID == "panic" {
		panic("a fault of ours")
	}
	if one := p[name]; one != nil {
		return one
	}
	return &presence.Presence{User: name}
}

func user(id string) presence.User { return presence.User{App: "demo", ID: presence.UserID(id)} }

// rig is a door to some people.
type rig struct {
	t     testing.TB
	door  *Door
	log   bytes.Buffer
	calls []string
}

func newRig(t testing.TB, change func(*Config)) *rig {
	r := &rig{t: t}
	open := presence.Face{Opened: 1, Changed: 1}
	known := people{
		user("on"):                {Version: 1, Sessions: []*presence.View{{True: open, Shown: open}}},
		user("we+ird+ü&x=1"):      {Version: 1, Sessions: []*presence.View{{True: open, Shown: open}}},
		user("invisible"):         {Version: 1, Sessions: []*presence.View{{True: open}}},
		user("off"):               {Version: 1},
		{App: "other", ID: "off"}: {Version: 1, Sessions: []*presence.View{{True: open, Shown: open}}},
	}
	cfg := Config{
		Tracker: known, Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
		Apps:   []App{{App: "demo", Key: appKey, Secret: appSecret}, {App: "other", Key: "other key", Secret: "other secret"}},
		Called: func(method, code string, _ time.Duration) { r.calls = append(r.calls, method+" "+code) },
	}
	if change != nil {
		change(&cfg)
	}
	r.door = New(cfg)
	return r
}

// request is a right one; change makes it another.
func request(body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://node"+checkOnline, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("App-Key", appKey)
	r.Header.Set("Nonce", "14314")
	r.Header.Set("Timestamp", "1767225600000")
	r.Header.Set("Signature", "d0b7d2b78a29b3de11b8b9376f66f6afc8c1e4a5")
	for _, c := range change {
		c(r)
	}
	return r
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, value)
		}
	}
}

// signedWith makes the signature right for other texts.
func signedWith(nonce, timestamp string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Nonce", nonce)
		r.Header.Set("Timestamp", timestamp)
		r.Header.Set("Signature", Signature(appSecret, nonce, timestamp))
	}
}

// ask sends a request and wants status and code in an answer of the interface.
func (r *rig) ask(req *http.Request, status, code int) string {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, req)
	var answer struct {
		Code    *int
		Status  *string
		Message *string `json:"errorMessage"`
	}
	in := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	in.DisallowUnknownFields()
	if err := in.Decode(&answer); err != nil || answer.Code == nil {
		r.t.Fatalf("%d %s: %v, want JSON with a code", w.Code, w.Body, err)
	}
	if w.Code != status || *answer.Code != code || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
		r.t.Errorf("got %d %s %s, want %d with code %d", w.Code, w.Header(), w.Body, status, code)
	}
	if ok := code == codeOK; ok != (answer.Status != nil) || ok != (answer.Message == nil) || !ok && *answer.Message == "" {
		r.t.Errorf("got %s, want a status or else an errorMessage", w.Body)
	}
	for _, s := range []string{appSecret, "other secret"} {
		if strings.Contains(w.Body.String()+r.log.String(), s) {
			r.t.Errorf("a secret shows: %s %s", w.Body, &r.log)
		}
	}
	if last := r.calls[len(r.calls)-1]; !strings.HasSuffix(last, " "+strconv.Itoa(code)) {
		r.t.Errorf("counted as %q, want %d", last, code)
	}
	return w.Body.String()
}

func TestCheckOnline(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const on, off = `{"code":200,"status":"1"}`, `{"code":200,"status":"0"}`
	for _, v := range []struct{ name, body, want string }{
		{"online", "userId=on", on},
		{"offline", "userId=off", off},
		{"invisible", "userId=invisible", off},
		{"never seen", "userId=never", off},
		{"special characters as the Go SDK writes them", "userId=we%2Bird%2B%C3%BC%26x%3D1", on},
		{"plus is a space", "userId=we+ird%2B%C3%BC%26x%3D1", off},
		{"more in the form", "a=b&userId=on&c", on},
		{"the first of two", "userId=on&userId=off", on},
		{"64 bytes", "userId=" + strings.Repeat("x", 64), off},
	} {
		if got := r.ask(request(v.body), 200, codeOK); got != v.want {
			t.Errorf("%s: got %s, want %s", v.name, got, v.want)
		}
	}
	if got := r.ask(request("userId=on", with("Content-Type", "")), 200, codeOK); got != on {
		t.Errorf("without a content type: got %s", got)
	}
	got := r.ask(request("userId=off", with("App-Key", "other key"), with("Signature", Signature("other secret", "14314", "1767225600000"))), 200, codeOK)
	if got != on {
		t.Errorf("the other app's user: got %s, want %s", got, on)
	}
}

// Node percent-encodes what Go's form has as a plus.
func TestWeirdUserOfNode(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"userId=we+ird%2B%C3%BC%26x%3D1", "userId=we%20ird%2B%C3%BC%26x%3D1"} {
		if got, no := parseUser(body); no != nil || got != "we ird+ü&x=1" {
			t.Errorf("%s: got %q, %v, want we ird+ü&x=1", body, got, no)
		}
	}
}

// What real clients send differs from the documents in every header.
func TestLenientHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for name, change := range map[string]func(*http.Request){
		"seconds and 19 digits, Go": signedWith("3928947509245219280", "1767225600"),
		"a nonce with a dot, Java":  signedWith("345678.90123", "1767225600"),
		"a time long ago":           signedWith("1", "0"),
		"a time that is none":       signedWith("1", "yesterday"),
		"64 characters":             signedWith(strings.Repeat("n", 64), "1767225600000"),
		"RC- headers": func(r *http.Request) {
			for _, name := range []string{"App-Key", "Nonce", "Timestamp", "Signature"} {
				r.Header.Set("RC-"+name, r.Header.Get(name))
				r.Header.Del(name)
			}
		},
		"one RC- header": func(r *http.Request) {
			r.Header.Set("rc-nonce", r.Header.Get("Nonce"))
			r.Header.Del("Nonce")
		},
		"the plain header counts": with("RC-App-Key", "another"),
		"a request id":            with("X-Request-ID", "7888fe7c-a100"),
	} {
		t.Log(name)
		r.ask(request("userId=on", change), 200, codeOK)
	}
	for range 3 { // the Node SDK signs once for all its requests
		r.ask(request("userId=on"), 200, codeOK)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	path := func(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }
	method := func(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	for _, v := range []struct {
		name         string
		body         string
		change       func(*http.Request)
		status, code int
	}{
		{"the .xml of old documents", "userId=on", path("/user/checkOnline.xml"), 404, 404},
		{"another path", "userId=on", path("/user/getToken.json"), 404, 404},
		{"the segment alone", "userId=on", path("/user"), 404, 404},
		{"a slash more", "userId=on", path("/user/checkOnline.json/"), 404, 404},
		{"GET", "userId=on", method("GET"), 404, 404},
		{"PUT", "userId=on", method("PUT"), 404, 404},
		{"no App-Key", "userId=on", with("App-Key", ""), 401, 1001},
		{"foreign App-Key", "userId=on", with("App-Key", "else"), 401, 1001},
		{"no nonce", "userId=on", with("Nonce", ""), 401, 1004},
		{"no time", "userId=on", with("Timestamp", ""), 401, 1004},
		{"no signature", "userId=on", with("Signature", ""), 401, 1004},
		{"wrong signature", "userId=on", with("Signature", "d0b7d2b78a29b3de11b8b9376f66f6afc8c1e4a6"), 401, 1004},
		{"the other app's signature", "userId=on", with("Signature", Signature("other secret", "14314", "1767225600000")), 401, 1004},
		{"another nonce than is signed", "userId=on", with("Nonce", "14315"), 401, 1004},
		{"a nonce without end", "userId=on", signedWith(strings.Repeat("1", 129), "1"), 400, 1005},
		{"no body", "", nil, 400, 1003},
		{"no userId", "user=on", nil, 400, 1002},
		{"empty userId", "userId=", nil, 400, 1002},
		{"JSON", `{"userId":"on"}`, with("Content-Type", "application/json"), 400, 1002},
		{"broken escape", "userId=%zz", nil, 400, 1002},
		{"not UTF-8", "userId=%ff", nil, 400, 1002},
		{"control character", "userId=a%00b", nil, 400, 1002},
		{"65 bytes", "userId=" + strings.Repeat("x", 65), nil, 400, 1005},
		{"65 bytes in 33 characters", "userId=" + strings.Repeat("%C3%BC", 32) + "x", nil, 400, 1005},
		{"a body without end", "userId=" + strings.Repeat("x", 1<<20), nil, 400, 1005},
		{"a fault of ours", "userId=panic", nil, 500, 1000},
	} {
		t.Log(v.name)
		if v.change == nil {
			v.change = func(*http.Request) {}
		}
		r.ask(request(v.body, v.change), v.status, v.code)
	}
	if !strings.Contains(r.log.String(), "a fault of ours") {
		t.Error("the panic is not in the log")
	}
	r.ask(request("", func(r *http.Request) { r.Body = io.NopCloser(cut{}) }), 400, 1003)
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, request("", method("HEAD")))
	if w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("HEAD: got %d and %d bytes", w.Code, w.Body.Len())
	}
}

// cut is a body that breaks off.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// The table has a status for every code, those of the vendor's table.
func TestStatusOfEveryCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]int{200: 200, 404: 404, 1000: 500, 1001: 401, 1002: 400, 1003: 400, 1004: 401, 1005: 400, 1008: 429, 1050: 504} {
		if got := statusOf(code); got != want {
			t.Errorf("%d: got %d, want %d", code, got, want)
		}
	}
}

// Only a user who is not known here is waited for.
func TestUnsure(t *testing.T) {
	t.Parallel()
	asked := 0
	r := newRig(t, func(c *Config) { c.Unsure = func(presence.User) bool { asked++; return true } })
	r.ask(request("userId=never"), 504, 1050)
	r.ask(request("userId=on"), 200, 200)
	r.ask(request("userId=off"), 200, 200)
	if asked != 1 {
		t.Errorf("asked of %d users, want of the one who is not known", asked)
	}
}

// 100 calls a second for each app, whatever the other does.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for range 100 {
			r.ask(request("userId=on"), 200, codeOK)
		}
		r.ask(request("userId=on"), 429, 1008)
		r.ask(request("userId=on", with("Signature", "wrong")), 401, 1004) // strangers use nothing up
		r.ask(request("userId=off", with("App-Key", "other key"), with("Signature", Signature("other secret", "14314", "1767225600000"))), 200, codeOK)
		r.door.SetApps([]App{{App: "demo", Key: appKey, Secret: appSecret}}) // a reload gives nothing back
		r.ask(request("userId=on"), 429, 1008)
		<-time.After(9 * time.Millisecond)
		r.ask(request("userId=on"), 429, 1008)
		<-time.After(time.Millisecond)
		r.ask(request("userId=on"), 200, codeOK)
		r.ask(request("userId=on"), 429, 1008)
		r.ask(request("userId=off", with("App-Key", "other key")), 401, 1001) // the app is gone
	})
}

// An app may have the time looked at: within its window, in seconds or in
// milliseconds, before and after.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Apps[0].Window = time.Minute })
		at := func(d time.Duration, milli bool) func(*http.Request) {
			n := time.Now().Add(d).Unix()
			if milli {
				n = time.Now().Add(d).UnixMilli()
			}
			return signedWith("1", strconv.FormatInt(n, 10))
		}
		for _, milli := range []bool{false, true} {
			r.ask(request("userId=on", at(0, milli)), 200, codeOK)
			r.ask(request("userId=on", at(-time.Minute, milli)), 200, codeOK)
			r.ask(request("userId=on", at(time.Minute, milli)), 200, codeOK)
			r.ask(request("userId=on", at(-61*time.Second, milli)), 401, 1004)
			r.ask(request("userId=on", at(61*time.Second, milli)), 401, 1004)
		}
		r.ask(request("userId=on", at(-60001*time.Millisecond, true)), 401, 1004)
		r.ask(request("userId=on", signedWith("1", "yesterday")), 401, 1004)
	})
}

func FuzzParseUser(f *testing.F) {
	for _, s := range []string{"userId=on", "userId=we%20ird%2B%C3%BC%26x%3D1", "a&b=c;d", "userId=%zz", "userId", "=", strings.Repeat("userId=x&", 99)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, no := parseUser(body)
		if no != nil {
			if statusOf(no.Code) != 400 || no.Message == "" || got != "" {
				t.Errorf("got %q with %v", got, no)
			}
			return
		}
		if !presence.ValidUserID(got) || len(got) > maxUser {
			t.Errorf("%q is no user's id", got)
		}
		if again, no := parseUser("userId=" + url.QueryEscape(got)); no != nil || again != got {
			t.Errorf("%q written again: got %q, %v", got, again, no)
		}
	})
}
