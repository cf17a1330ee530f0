package rongcloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

const (
	appKey    = "plAppKey01"
	appSecret = "plSecret-7hQ2"
)

func newCallback(t testing.TB, change func(*CallbackConfig)) *Callback {
	t.Helper()
	cfg := CallbackConfig{Key: appKey, Secret: appSecret}
	if change != nil {
		change(&cfg)
	}
	c, err := NewCallback(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// told is an event about a session as the shown view gives it.
func told(kind presence.RecordKind, reason presence.Reason, change ...func(*webhook.Event)) webhook.Event {
	e := webhook.Event{Fact: presence.Fact{
		Kind: kind, Reason: reason, User: presence.User{App: "demo", ID: "apert60541"}, Time: 1437982625625,
		Session: presence.FoldedSession{Device: presence.Device{Platform: "ios", Addr: "172.20.10.94:41748"}},
	}}
	for _, c := range change {
		c(&e)
	}
	return e
}

func public(t testing.TB, s string) presence.PublicID {
	t.Helper()
	id, err := presence.ParsePublicID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The request of the document, byte for byte but for the white space of its
// print: three users, the array, the order and the types of the fields. Two of
// its session ids are none that 16 bytes have, so ours stand in their place.
func TestDocumentedRequest(t *testing.T) {
	t.Parallel()
	ids := []string{"0O6Bvfvik_L9R_NxR6GqQQ", "0O9Fvfvik_L9R_NaR3GqYw", "0O4Hvfvik_L3B_XaR7GxAQ"}
	of := func(n int, user, platform string) func(*webhook.Event) {
		return func(e *webhook.Event) {
			e.User.ID, e.Session.Device.Platform, e.Session.Public = presence.UserID(user), platform, public(t, ids[n])
		}
	}
	d := &webhook.Delivery{App: "demo", Events: []webhook.Event{
		told(presence.RecordClosed, presence.ReasonLeft, of(0, "apert60541", "iOS")),
		told(presence.RecordClosed, presence.ReasonTimedOut, of(1, "apert60592", "Android")),
		told(presence.RecordClosed, presence.ReasonLogout, of(2, "apert60533", "android")),
	}}
	const want = `[{"userid":"apert60541","status":"1","os":"iOS","time":1437982625625,"clientIp":"172.20.10.94:41748","sessionId":"0O6Bvfvik_L9R_NxR6GqQQ"},` +
		`{"userid":"apert60592","status":"1","os":"Android","time":1437982625625,"clientIp":"172.20.10.94:41748","sessionId":"0O9Fvfvik_L9R_NaR3GqYw"},` +
		`{"userid":"apert60533","status":"2","os":"Android","time":1437982625625,"clientIp":"172.20.10.94:41748","sessionId":"0O4Hvfvik_L3B_XaR7GxAQ"}]`
	c := newCallback(t, nil)
	first, err := c.Request(d, webhook.Attempt{Number: 1, Time: time.UnixMilli(1408710653491), URL: "http://example.com/online_status.php"})
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Body) != want {
		t.Errorf("body:\ngot  %s\nwant %s", first.Body, want)
	}
	if !reflect.DeepEqual(first.Header, http.Header{"Content-Type": {"application/json"}}) {
		t.Errorf("header: got %v", first.Header)
	}
	if begin := "http://example.com/online_status.php?appKey=plAppKey01&timestamp=1408710653491&nonce="; !strings.HasPrefix(first.URL, begin) {
		t.Errorf("URL: got %s, want it to begin with %s", first.URL, begin)
	}
	verify(t, first)

	second, err := c.Request(d, webhook.Attempt{Number: 2, Time: time.UnixMilli(1408710658991), URL: "http://example.com/online_status.php"})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, second)
	a, b := query(t, first), query(t, second)
	for _, name := range []string{"nonce", "timestamp", "signature"} {
		if a.Get(name) == b.Get(name) {
			t.Errorf("the second attempt has the %s of the first", name)
		}
	}
	if string(second.Body) != want {
		t.Error("the second attempt has another body")
	}
}

// The body that the document prints, without its white space.
func TestDocumentedBody(t *testing.T) {
	t.Parallel()
	printed, err := os.ReadFile("testdata/documented.json")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, printed); err != nil {
		t.Fatal(err)
	}
	const client = "172.20.10.94:41748"
	got, err := encode([]event{
		{"apert60541", wentOffline, "iOS", 1437982625625, client, "0O6Bvfvik_L9R_NxR6GqQb"},
		{"apert60592", wentOffline, "Android", 1437982625625, client, "0O9Fvfvik_L9R_NaR3GqYz"},
		{"apert60533", loggedOut, "Android", 1437982625625, client, "0O4Hvfvik_L3B_XaR7GxAf"},
	})
	if err != nil || string(got) != want.String() {
		t.Errorf("got %s, %v; want %s", got, err, &want)
	}
}

// verify is what a receiver does.
func verify(t testing.TB, r webhook.Request) {
	t.Helper()
	q := query(t, r)
	if n := len(q.Get("nonce")); n == 0 || n > 18 {
		t.Errorf("nonce of %d characters, want 1 to 18", n)
	}
	if q.Get("appKey") != appKey || q.Get("signature") != Signature(appSecret, q.Get("nonce"), q.Get("timestamp")) {
		t.Errorf("the signature of %s is wrong", r.URL)
	}
}

func query(t testing.TB, r webhook.Request) url.Values {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func TestSignedURL(t *testing.T) {
	t.Parallel()
	const (
		v1 = "appKey=plAppKey01&timestamp=1767225600123&nonce=48213&signature=6e0c16b78d2e327e60f71b619ce2534c38f560da"
		v2 = "appKey=plAppKey01&timestamp=1767225605123&nonce=9007199254&signature=46390e6c2b5b2c3581d77a8dd76b223d94ea12c3"
	)
	at1, at2 := time.UnixMilli(1767225600123), time.UnixMilli(1767225605123)
	c := newCallback(t, nil)
	for _, v := range []struct {
		name, address, nonce string
		at                   time.Time
		want                 string
	}{
		{"V1", "http://127.0.0.1:9001/online_status.php", "48213", at1, "http://127.0.0.1:9001/online_status.php?" + v1},
		{"V2: a query of its own, as it is", "http://127.0.0.1:9001/hook?tenant=a%2Fb&x=1", "9007199254", at2, "http://127.0.0.1:9001/hook?tenant=a%2Fb&x=1&" + v2},
		{"no path", "http://127.0.0.1:9001", "48213", at1, "http://127.0.0.1:9001?" + v1},
		{"ends with ?", "http://127.0.0.1:9001/a?", "48213", at1, "http://127.0.0.1:9001/a?" + v1},
		{"ends with &", "http://127.0.0.1:9001/a?b&", "48213", at1, "http://127.0.0.1:9001/a?b&" + v1},
		{"fragment", "http://127.0.0.1:9001/a#b?c", "48213", at1, "http://127.0.0.1:9001/a?" + v1},
		{"not sorted, not escaped anew", "http://h/z%7e?z=1&a=%41+b", "48213", at1, "http://h/z%7e?z=1&a=%41+b&" + v1},
	} {
		got := c.signedURL(v.address, v.nonce, v.at)
		if got != v.want {
			t.Errorf("%s: got %s, want %s", v.name, got, v.want)
		}
		r, err := http.NewRequest(http.MethodPost, got, nil)
		if err != nil {
			t.Fatal(err)
		}
		if line, want := r.URL.RequestURI(), strings.TrimPrefix(strings.TrimPrefix(v.want, "http://h"), "http://127.0.0.1:9001"); strings.TrimPrefix(line, "/") != strings.TrimPrefix(want, "/") {
			t.Errorf("%s: the request line has %s, want %s", v.name, line, want)
		}
	}
	legacy := newCallback(t, func(c *CallbackConfig) { c.Style = StyleSignTimestamp })
	if got, want := legacy.signedURL("http://h/", "48213", at1), "http://h/?signTimestamp=1767225600123&nonce=48213&signature=6e0c16b78d2e327e60f71b619ce2534c38f560da"; got != want {
		t.Errorf("signTimestamp: got %s, want %s", got, want)
	}
	odd := newCallback(t, func(c *CallbackConfig) { c.Key = "a&b=c d" })
	if got := odd.signedURL("http://h/", "1", at1); !strings.HasPrefix(got, "http://h/?appKey=a%26b%3Dc+d&timestamp=") {
		t.Errorf("App Key: got %s, want it escaped", got)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	c := newCallback(t, nil)
	for _, good := range []string{"https://example.com", "https://example.com/a%20b?appkey=1&time=2#f", "http://[::1]:80/?signTimestamp=1", "https://example.com/z%7E/?x=%zz"} {
		if err := c.CheckURL(good); err != nil {
			t.Errorf("%s: got %v, want it taken", good, err)
		}
	}
	for bad, want := range map[string]string{
		"https://example.com/?marked=1&appKey=1": "has appKey", "https://example.com/?timestamp": "has timestamp", "https://example.com/?nonce=": "has nonce",
		"https://example.com/?signature=marked": "has signature", "https://example.com/?app%4Bey=marked": "has appKey",
		"https://example.com/mar ked": "percent-encoded", "https://example.com/?q=mar ked": "percent-encoded", "https://example.com/ü": "percent-encoded",
		"https://example.com/%zz": "not a URL",
	} {
		if err := c.CheckURL(bad); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: got %v, want an error with %q that repeats nothing", bad, err, want)
		}
	}
	legacy := newCallback(t, func(c *CallbackConfig) { c.Style = StyleSignTimestamp })
	if legacy.CheckURL("https://example.com/?appKey=1") != nil || legacy.CheckURL("https://example.com/?signTimestamp=1") == nil {
		t.Error("the style signTimestamp takes other names")
	}
}

// Every reason of the core has its status, and only what others see is told.
func TestStatusOfEveryReason(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		kind   presence.RecordKind
		reason presence.Reason
		want   string
	}{
		{presence.RecordOpened, presence.ReasonOpened, "0"}, {presence.RecordShown, presence.ReasonShown, "0"},
		{presence.RecordHidden, presence.ReasonHidden, "1"}, {presence.RecordClosed, presence.ReasonLogout, "2"},
		{presence.RecordClosed, presence.ReasonLeft, "1"}, {presence.RecordClosed, presence.ReasonLinkLost, "1"},
		{presence.RecordClosed, presence.ReasonTimedOut, "1"}, {presence.RecordClosed, presence.ReasonReplaced, "1"},
		{presence.RecordClosed, presence.ReasonDropped, "1"}, {presence.RecordClosed, presence.ReasonExpired, "1"},
		{presence.RecordClosed, presence.ReasonNodeLost, "1"},
		{presence.RecordCustom, presence.ReasonNone, ""}, {presence.RecordErased, presence.ReasonNone, ""}, {presence.RecordMoved, presence.ReasonMoved, ""},
	} {
		e := told(v.kind, v.reason)
		if got := status(&e); got != v.want {
			t.Errorf("%v %v: got %q, want %q", v.kind, v.reason, got, v.want)
		}
		if got := newCallback(t, nil).Wants(&e); got != (v.want != "") {
			t.Errorf("%v %v: wanted: %v", v.kind, v.reason, got)
		}
	}
}

// notify_all_offline off: only the last connection's going is told, comings and
// logouts all the same.
func TestLastOnly(t *testing.T) {
	t.Parallel()
	c := newCallback(t, func(c *CallbackConfig) { c.LastOnly = true })
	last := func(e *webhook.Event) { e.First = true }
	kicked := func(e *webhook.Event) { e.First, e.OpeningFollows = true, true }
	for _, v := range []struct {
		name string
		e    webhook.Event
		want bool
	}{
		{"one of several goes", told(presence.RecordClosed, presence.ReasonLinkLost), false},
		{"the last goes", told(presence.RecordClosed, presence.ReasonLinkLost, last), true},
		{"one of several hides", told(presence.RecordHidden, presence.ReasonHidden), false},
		{"the last hides", told(presence.RecordHidden, presence.ReasonHidden, last), true},
		{"the only one is kicked by another", told(presence.RecordClosed, presence.ReasonReplaced, kicked), false},
		{"one of several logs out", told(presence.RecordClosed, presence.ReasonLogout), true},
		{"a second comes", told(presence.RecordOpened, presence.ReasonOpened), true},
	} {
		if got := c.Wants(&v.e); got != v.want {
			t.Errorf("%s: told: %v, want %v", v.name, got, v.want)
		}
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"172.20.10.94:41748": "172.20.10.94:41748", "[2001:db8::7]:41748": "[2001:db8::7]:41748", "[::ffff:192.0.2.1]:5": "192.0.2.1:5",
		"[fe80::1%eth0]:5": "[fe80::1]:5", "": "",
	} {
		if got := clientIP(addr); got != want {
			t.Errorf("%q: got %q, want %q", addr, got, want)
		}
	}
}

func TestOSOfEveryPlatform(t *testing.T) {
	t.Parallel()
	for want, platforms := range map[string][]string{
		"iOS": {"ios", "iOS", "iPhone", "iPad", "ipados", "IOS 17", "iphone-15"}, "Android": {"android", "Android 14", "android-tv"},
		"Websocket": {"web", "Websocket", "browser", "linux", "WebOS"}, "PC": {"windows", "Win32", "macos", "Mac OS X", "desktop", "pc", "", "toaster"},
		"MiniProgram": {"MiniProgram", "mini_program", "wechat"}, "HarmonyOS": {"harmonyos", "HarmonyOS NEXT"},
	} {
		for _, p := range platforms {
			if got := osOf(&presence.Device{Platform: p, Door: "isonline"}); got != want {
				t.Errorf("%q: got %s, want %s", p, got, want)
			}
		}
	}
	if got := osOf(&presence.Device{Platform: "toaster", Door: "live"}); got != "Websocket" {
		t.Errorf("unknown at a WebSocket: got %s", got)
	}
}

// What people write stays as it is on the wire.
func TestBodyEscapesNothingMore(t *testing.T) {
	t.Parallel()
	b, err := bodyOf([]webhook.Event{told(presence.RecordOpened, presence.ReasonOpened, func(e *webhook.Event) { e.User.ID = `<ü&"\>` })})
	if err != nil || !strings.Contains(string(b), `"userid":"<ü&\"\\>"`) {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	c := newCallback(t, nil)
	for status, want := range map[int]webhook.Outcome{
		200: webhook.Delivered, 201: webhook.Failed, 204: webhook.Failed, 301: webhook.Failed, 400: webhook.Failed, 410: webhook.Failed, 500: webhook.Failed,
	} {
		if got := c.Judge(outbound.Answer{Status: status, Body: []byte("signature error")}); got.Outcome != want {
			t.Errorf("%d: got %v, want %v", status, got.Outcome, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	p := newCallback(t, nil).Policy()
	want := webhook.Policy{
		View: webhook.Shown, Batch: webhook.Batch{Events: 100, Linger: 200 * time.Millisecond}, Timeout: 5 * time.Second, MaxAnswer: 1 << 20,
		Retry:   webhook.Retry{Attempts: 3, First: 500 * time.Millisecond, Most: time.Second},
		Breaker: webhook.Breaker{Consecutive: 10, Share: 50, Attempts: 20, Window: 30 * time.Second, TimeoutsOnly: true, Pause: time.Minute},
	}
	if p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
}

func TestNewCallbackRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]CallbackConfig{
		"no key": {Secret: "s"}, "no secret": {Key: "k"}, "unknown style": {Key: "k", Secret: "s", Style: "md5"},
	} {
		if _, err := NewCallback(cfg); err == nil || strings.Contains(err.Error(), "plSecret") {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	app := App{App: "demo", Key: appKey, Secret: appSecret}
	log.Info("x", "callback", newCallback(t, nil), "app", app)
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v", newCallback(t, nil), newCallback(t, nil), newCallback(t, nil), newCallback(t, nil), app, app, app)
	if strings.Contains(b.String(), appSecret) {
		t.Errorf("the secret shows: %s", b.String())
	}
}
