package tencentim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

func newCallback(t testing.TB, change func(*CallbackConfig)) *Callback {
	t.Helper()
	cfg := CallbackConfig{ID: 888888}
	if change != nil {
		change(&cfg)
	}
	c, err := NewCallback(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func profile2025(c *CallbackConfig) { c.Profile = Profile2025 }

// told is an event about a session as the shown view gives it.
func told(kind presence.RecordKind, reason presence.Reason, change ...func(*webhook.Event)) webhook.Event {
	e := webhook.Event{Fact: presence.Fact{
		Kind: kind, Reason: reason, User: presence.User{App: "demo", ID: "testuser316"}, Time: 1629883332497,
		Session: presence.FoldedSession{ID: presence.SessionID{1}, Device: presence.Device{Platform: "web", Addr: "127.0.0.1:5000"}},
	}}
	for _, c := range change {
		c(&e)
	}
	return e
}

func on(platform string) func(*webhook.Event) {
	return func(e *webhook.Event) { e.Session.Device.Platform = platform }
}

func request(t testing.TB, c *Callback, e webhook.Event, address string) webhook.Request {
	t.Helper()
	r, err := c.Request(&webhook.Delivery{App: "demo", Events: []webhook.Event{e}}, webhook.Attempt{Number: 1, Time: time.Unix(1767225600, 987e6), URL: address})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The request of the document: its URL's example and its body, without the white
// space of its print.
func TestDocumentedRequest(t *testing.T) {
	t.Parallel()
	printed, err := os.ReadFile("testdata/documented.json")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, printed); err != nil {
		t.Fatal(err)
	}
	r := request(t, newCallback(t, nil), told(presence.RecordClosed, presence.ReasonLogout), "https://www.example.com")
	if string(r.Body) != want.String() {
		t.Errorf("got %s, want %s", r.Body, &want)
	}
	const address = "https://www.example.com?SdkAppid=888888&CallbackCommand=State.StateChange&contenttype=json&ClientIP=127.0.0.1&OptPlatform=Web"
	if r.URL != address || !reflect.DeepEqual(r.Header, http.Header{"Content-Type": {"application/json"}}) {
		t.Errorf("got %s %v, want %s", r.URL, r.Header, address)
	}
	sent, err := http.NewRequest(http.MethodPost, r.URL, nil)
	if err != nil || sent.URL.RequestURI() != "/?"+strings.TrimPrefix(address, "https://www.example.com?") {
		t.Errorf("the request line has %s, %v", sent.URL.RequestURI(), err)
	}
}

// The whole sample of the later documents, and the same for a custom status.
func TestBodiesOf2025(t *testing.T) {
	t.Parallel()
	c := newCallback(t, profile2025)
	e := told(presence.RecordOpened, presence.ReasonOpened, func(e *webhook.Event) {
		e.Replaced = []presence.FoldedSession{{Device: presence.Device{Platform: "windows"}}, {Device: presence.Device{Platform: "android"}}}
	})
	const sample = `{"CallbackCommand":"State.StateChange","EventTime":1629883332497,"Info":{"Action":"Login","To_Account":"testuser316","Reason":"Register"},"KickedDevice":[{"Platform":"Windows"},{"Platform":"Android"}]}`
	if got := string(request(t, c, e, "http://h/").Body); got != sample {
		t.Errorf("got %s, want %s", got, sample)
	}
	custom := told(presence.RecordCustom, presence.ReasonNone, func(e *webhook.Event) {
		e.Session.Status = &presence.Status{Text: presence.Value{Kind: presence.KindText, Text: "<at lunch>"}}
	})
	const want = `{"CallbackCommand":"State.StateChange","EventTime":1629883332497,"Info":{"Action":"CustomStatusChange","To_Account":"testuser316","Reason":"SetCustomStatus","CustomStatus":"<at lunch>"}}`
	if got := string(request(t, c, custom, "http://h/").Body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	custom.Session.Status = nil
	if got := string(request(t, c, custom, "http://h/").Body); !strings.Contains(got, `"CustomStatus":""}}`) {
		t.Errorf("cleared: got %s", got)
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	if got := Sign("xxxxyyyy", "1669872112"); got != "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061" {
		t.Errorf("V1, published: got %s", got)
	}
	if got := Sign("xxxyyy", "1669872112"); got != "e78a85473bed2cdc8d6fa8c4d5a4ba4735fd64156e15a99516b9890293e135de" {
		t.Errorf("the misprint of one version: got %s", got)
	}
	c := newCallback(t, func(c *CallbackConfig) { c.ID, c.Token = 1400000001, "plCallbackToken1" })
	const v2 = "http://127.0.0.1:9002/?SdkAppid=1400000001&CallbackCommand=State.StateChange&contenttype=json&ClientIP=127.0.0.1&OptPlatform=Web&Sign=5823d052e378c049f1d5bc8162ac120a2a011adc82b8a64cd9623d4ee93ca39c&RequestTime=1767225600"
	if got := request(t, c, told(presence.RecordOpened, presence.ReasonOpened), "http://127.0.0.1:9002/").URL; got != v2 {
		t.Errorf("V2: got %s, want %s", got, v2)
	}
}

func TestAddressStaysAsItIs(t *testing.T) {
	t.Parallel()
	c := newCallback(t, nil)
	const ours = "SdkAppid=888888&CallbackCommand=State.StateChange&contenttype=json&ClientIP=127.0.0.1&OptPlatform=Web"
	for address, want := range map[string]string{
		"http://h/a?z=1&b=%2f": "http://h/a?z=1&b=%2f&" + ours, "http://h/a?": "http://h/a?" + ours, "http://h/a?b&": "http://h/a?b&" + ours, "http://h/a#f": "http://h/a?" + ours,
	} {
		if got := request(t, c, told(presence.RecordOpened, presence.ReasonOpened), address).URL; got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	for _, good := range []string{"https://example.com", "https://example.com/a%20b?sdkappid=1"} {
		if err := c.CheckURL(good); err != nil {
			t.Errorf("%s: got %v, want it taken", good, err)
		}
	}
	for bad, want := range map[string]string{
		"https://example.com/?marked=1&SdkAppid=1": "has SdkAppid", "https://example.com/?OptPlatform": "has OptPlatform", "https://example.com/?Sign=marked": "has Sign",
		"https://example.com/?Request%54ime=marked": "has RequestTime", "https://example.com/mar ked": "percent-encoded", "https://example.com/%zz": "not a URL",
	} {
		if err := c.CheckURL(bad); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: got %v, want an error with %q that repeats nothing", bad, err, want)
		}
	}
}

// The table of design §4, both profiles: action, reason and OptPlatform.
func TestEveryReason(t *testing.T) {
	t.Parallel()
	follows := func(e *webhook.Event) { e.OpeningFollows = true }
	for _, v := range []struct {
		name        string
		e           webhook.Event
		early, late string
	}{
		{"opened", told(presence.RecordOpened, presence.ReasonOpened), "Login Register Web", ""},
		{"logout", told(presence.RecordClosed, presence.ReasonLogout), "Logout Unregister Web", ""},
		{"left", told(presence.RecordClosed, presence.ReasonLeft), "Disconnect LinkClose Web", ""},
		{"link lost", told(presence.RecordClosed, presence.ReasonLinkLost), "Disconnect LinkClose Web", ""},
		{"timed out", told(presence.RecordClosed, presence.ReasonTimedOut), "Disconnect TimeOut Web", ""},
		{"replaced", told(presence.RecordClosed, presence.ReasonReplaced, follows), "Logout Unregister Web", "-"},
		{"replaced by one that is invisible", told(presence.RecordClosed, presence.ReasonReplaced), "Logout Unregister Web", ""},
		{"dropped", told(presence.RecordClosed, presence.ReasonDropped), "Logout Unregister RESTAPI", ""},
		{"expired", told(presence.RecordClosed, presence.ReasonExpired), "Disconnect TimeOut Web", ""},
		{"node lost", told(presence.RecordClosed, presence.ReasonNodeLost), "Disconnect LinkClose Web", ""},
		{"hidden", told(presence.RecordHidden, presence.ReasonHidden), "Disconnect LinkClose Web", ""},
		{"shown", told(presence.RecordShown, presence.ReasonShown), "Login Register Web", ""},
		{"custom", told(presence.RecordCustom, presence.ReasonNone), "-", "CustomStatusChange SetCustomStatus Web"},
		{"moved", told(presence.RecordMoved, presence.ReasonMoved), "-", ""},
		{"erased", told(presence.RecordErased, presence.ReasonNone), "-", ""},
		{"set by a server", told(presence.RecordOpened, presence.ReasonOpened, func(e *webhook.Event) { e.Session.Device.Door = "rest" }), "Login Register RESTAPI", ""},
		{"iPhone", told(presence.RecordOpened, presence.ReasonOpened, on("iOS")), "Login Register IOS", ""},
		{"iPad", told(presence.RecordOpened, presence.ReasonOpened, on("ipados")), "Login Register IOS", "Login Register iPad"},
		{"Android", told(presence.RecordOpened, presence.ReasonOpened, on("android")), "Login Register Android", ""},
		{"Windows", told(presence.RecordOpened, presence.ReasonOpened, on("Windows 11")), "Login Register Windows", ""},
		{"Mac", told(presence.RecordOpened, presence.ReasonOpened, on("macOS")), "Login Register Mac", ""},
		{"Linux", told(presence.RecordOpened, presence.ReasonOpened, on("linux")), "Login Register Unknown", ""},
		{"nothing known", told(presence.RecordOpened, presence.ReasonOpened, on("")), "Login Register Unknown", ""},
	} {
		if v.late == "" {
			v.late = v.early
		}
		for profile, want := range map[string]string{Profile2020: v.early, Profile2025: v.late} {
			c := newCallback(t, func(c *CallbackConfig) { c.Profile = profile })
			got := "-"
			if c.Wants(&v.e) {
				r := request(t, c, v.e, "http://h/")
				var b body
				if err := json.Unmarshal(r.Body, &b); err != nil {
					t.Fatal(err)
				}
				_, opt, _ := strings.Cut(r.URL, "OptPlatform=")
				got = fmt.Sprint(b.Info.Action, " ", b.Info.Reason, " ", opt)
			}
			if got != want {
				t.Errorf("%s, %s: got %s, want %s", v.name, profile, got, want)
			}
		}
	}
}

// A device that replaced its own former session kicked no other one.
func TestKickedDevices(t *testing.T) {
	t.Parallel()
	e := told(presence.RecordOpened, presence.ReasonOpened, func(e *webhook.Event) {
		e.Session.Device.ID = "d1"
		for _, platform := range []string{"ios", "ipad", "android", "web", "windows", "mac", "linux"} {
			e.Replaced = append(e.Replaced, presence.FoldedSession{Device: presence.Device{Platform: platform}})
		}
		e.Replaced[3].Device.ID = "d1"
	})
	const want = `"KickedDevice":[{"Platform":"iOS"},{"Platform":"iPad"},{"Platform":"Android"},{"Platform":"Windows"},{"Platform":"Mac"},{"Platform":"Linux"}]}`
	if got := string(request(t, newCallback(t, profile2025), e, "http://h/").Body); !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want it to end with %s", got, want)
	}
	if got := string(request(t, newCallback(t, nil), e, "http://h/").Body); strings.Contains(got, "Kicked") || strings.Contains(got, "EventTime") {
		t.Errorf("2020: got %s", got)
	}
	alone := told(presence.RecordOpened, presence.ReasonOpened)
	if got := string(request(t, newCallback(t, profile2025), alone, "http://h/").Body); strings.Contains(got, "Kicked") {
		t.Errorf("nobody kicked: got %s", got)
	}
}

// Login and logout of one device within 100 ms: the logout alone.
func TestReceivedAtTheSameTime(t *testing.T) {
	t.Parallel()
	at := func(ms presence.Time) func(*webhook.Event) { return func(e *webhook.Event) { e.Time += ms } }
	session := func(n byte, device string) func(*webhook.Event) {
		return func(e *webhook.Event) { e.Session.ID, e.Session.Device.ID = presence.SessionID{n}, device }
	}
	opened := told(presence.RecordOpened, presence.ReasonOpened)
	for _, v := range []struct {
		name     string
		e, later webhook.Event
		want     bool
	}{
		{"at once", opened, told(presence.RecordClosed, presence.ReasonLogout), true},
		{"100 ms", opened, told(presence.RecordClosed, presence.ReasonLogout, at(100)), true},
		{"101 ms", opened, told(presence.RecordClosed, presence.ReasonLogout, at(101)), false},
		{"shown", told(presence.RecordShown, presence.ReasonShown), told(presence.RecordClosed, presence.ReasonLogout, at(9)), true},
		{"another session", opened, told(presence.RecordClosed, presence.ReasonLogout, session(2, "")), false},
		{"another session of the device", told(presence.RecordOpened, presence.ReasonOpened, session(1, "d")), told(presence.RecordClosed, presence.ReasonLogout, session(2, "d")), true},
		{"no logout: it left", opened, told(presence.RecordClosed, presence.ReasonLeft), false},
		{"no logout: dropped", opened, told(presence.RecordClosed, presence.ReasonDropped), false},
		{"no logout: hidden", opened, told(presence.RecordHidden, presence.ReasonHidden), false},
		{"the other way round", told(presence.RecordClosed, presence.ReasonLogout), opened, false},
	} {
		c := newCallback(t, nil)
		if got := c.Voids(&v.e, &v.later); got != v.want {
			t.Errorf("%s: got %v, want %v", v.name, got, v.want)
		}
		if got, want := c.Hold(&v.e) == 100*time.Millisecond, c.changeOf(&v.e) == login; got != want || !want && c.Hold(&v.e) != 0 {
			t.Errorf("%s: held for %v", v.name, c.Hold(&v.e))
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	c := newCallback(t, nil)
	for _, v := range []struct {
		status int
		body   string
		want   webhook.Outcome
		says   string
	}{
		{200, `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}`, webhook.Delivered, ""},
		{200, ` {"ErrorCode":0,"ErrorInfo":"","ActionStatus":"OK"}` + "\n", webhook.Delivered, ""},
		{200, `{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":"x"}`, webhook.Delivered, "failed"},
		{200, `{"ErrorCode":"0"}`, webhook.Delivered, ""},
		{200, ``, webhook.Refused, "not JSON"},
		{200, `OK`, webhook.Refused, "not JSON"},
		{200, `<html>`, webhook.Refused, "not JSON"},
		{204, ``, webhook.Refused, "204"}, {302, `{}`, webhook.Refused, "302"}, {404, `{}`, webhook.Refused, "404"}, {500, `{"ActionStatus":"OK"}`, webhook.Refused, "500"},
	} {
		// The content type does not count: clients answer text/plain.
		got := c.Judge(outbound.Answer{Status: v.status, Body: []byte(v.body), Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}})
		if got.Outcome != v.want || !strings.Contains(got.Detail, v.says) || v.says == "" && got.Detail != "" {
			t.Errorf("%d %s: got %+v, want %v with %q", v.status, v.body, got, v.want, v.says)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	want := webhook.Policy{View: webhook.Shown, Batch: webhook.Batch{Events: 1}, Timeout: 2 * time.Second, Retry: webhook.Retry{Attempts: 1}}
	for _, change := range []func(*CallbackConfig){nil, profile2025} {
		if p := newCallback(t, change).Policy(); p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
	}
	want.Retry = webhook.Retry{Attempts: 2, First: 500 * time.Millisecond, Most: 500 * time.Millisecond}
	if p := newCallback(t, func(c *CallbackConfig) { c.Profile, c.Retry = Profile2025, true }).Policy(); p != want {
		t.Errorf("with retries: got %+v, want %+v", p, want)
	}
}

func TestNewCallbackRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]CallbackConfig{
		"no id": {}, "a negative id": {ID: -1}, "unknown profile": {ID: 1, Profile: "2030"}, "retries in 2020": {ID: 1, Retry: true},
	} {
		if _, err := NewCallback(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := newCallback(t, nil).Request(&webhook.Delivery{Events: make([]webhook.Event, 2)}, webhook.Attempt{}); err == nil {
		t.Error("two events in a request: no error")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	c := newCallback(t, func(c *CallbackConfig) { c.Token = "marked" })
	app := App{App: "demo", ID: 1, Key: "marked"}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "callback", c, "app", app)
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v", c, c, c, c, app, app, app)
	if strings.Contains(b.String(), "marked") {
		t.Errorf("a secret shows: %s", b.String())
	}
}
