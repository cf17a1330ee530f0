package conformance

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// The two receivers below are written from the interfaces' documents alone, as a
// customer would write them.

const callbackToken = "plCallbackToken1"

// book keeps what receivers took, and what was wrong with it.
type book struct {
	mu    sync.Mutex // guards all below
	took  []string
	wrong []string
	once  map[string]bool
}

func (b *book) note(to *[]string, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*to = append(*to, fmt.Sprintf(format, args...))
}

// first reports whether name is said for the first time.
func (b *book) first(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.once == nil {
		b.once = map[string]bool{}
	}
	was := b.once[name]
	b.once[name] = true
	return !was
}

func (b *book) text(of *[]string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(*of)
	slices.Sort(list) // users come by lanes that do not wait for each other
	return strings.Join(list, "\n")
}

// rongCloud answers the first request of each body with 500, so that it comes
// again, and a repeat must be signed anew.
func (b *book) rongCloud(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	query := r.URL.RawQuery
	v := r.URL.Query()
	nonce, timestamp := v.Get("nonce"), v.Get("timestamp")
	sum := sha1.Sum([]byte(rongSecret + nonce + timestamp))
	at, timeErr := strconv.ParseInt(timestamp, 10, 64)
	want := "tenant=a%2Fb&appKey=" + rongKey + "&timestamp=" + timestamp + "&nonce=" + nonce + "&signature=" + hex.EncodeToString(sum[:])
	switch {
	case err != nil || timeErr != nil || r.Method != http.MethodPost || r.URL.Path != "/online_status.php" || r.Header.Get("Content-Type") != "application/json":
		b.note(&b.wrong, "rongcloud: %s %s %v %v", r.Method, r.URL, r.Header, err)
	case query != want:
		b.note(&b.wrong, "rongcloud: query %s, want %s", query, want)
	case time.Since(time.UnixMilli(at)).Abs() > time.Minute || len(timestamp) != 13 || len(nonce) > 18:
		b.note(&b.wrong, "rongcloud: timestamp %s, nonce %s", timestamp, nonce)
	case !b.first("nonce " + nonce):
		b.note(&b.wrong, "rongcloud: nonce %s comes again", nonce)
	}
	if b.first("body " + string(body)) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var events []struct {
		User    string `json:"userid"`
		Status  string `json:"status"`
		OS      string `json:"os"`
		Time    int64  `json:"time"`
		Client  string `json:"clientIp"`
		Session string `json:"sessionId"`
	}
	if err := json.Unmarshal(body, &events); err != nil || len(events) == 0 {
		b.note(&b.wrong, "rongcloud: body %s: %v", body, err)
	}
	for _, e := range events {
		client, _, _ := net.SplitHostPort(e.Client) // what a server sets has none
		b.note(&b.took, "%s", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.User, e.Status, e.OS, client)))
		if len(e.Session) != 22 || time.Since(time.UnixMilli(e.Time)).Abs() > time.Minute {
			b.note(&b.wrong, "rongcloud: %+v", e)
		}
	}
}

// tencent answers as a client library does: text/plain, and the fields in another
// order.
func (b *book) tencent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	v := r.URL.Query()
	sum := sha256.Sum256([]byte(callbackToken + v.Get("RequestTime")))
	want := fmt.Sprintf("SdkAppid=%d&CallbackCommand=State.StateChange&contenttype=json&ClientIP=%s&OptPlatform=%s&Sign=%s&RequestTime=%s",
		tencentID, v.Get("ClientIP"), v.Get("OptPlatform"), hex.EncodeToString(sum[:]), v.Get("RequestTime"))
	at, timeErr := strconv.ParseInt(v.Get("RequestTime"), 10, 64)
	switch {
	case err != nil || timeErr != nil || r.Method != http.MethodPost || r.URL.Path != "/":
		b.note(&b.wrong, "tencent: %s %s %v", r.Method, r.URL, err)
	case r.URL.RawQuery != want:
		b.note(&b.wrong, "tencent: query %s, want %s", r.URL.RawQuery, want)
	case time.Since(time.Unix(at, 0)).Abs() > time.Minute:
		b.note(&b.wrong, "tencent: time %d", at)
	}
	var change struct {
		CallbackCommand string
		Info            struct{ Action, To_Account, Reason string }
	}
	in := json.NewDecoder(strings.NewReader(string(body)))
	in.DisallowUnknownFields() // the document of 2020 knows no more
	if err := in.Decode(&change); err != nil || change.CallbackCommand != "State.StateChange" {
		b.note(&b.wrong, "tencent: body %s: %v", body, err)
	}
	b.note(&b.took, "%s", strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", change.Info.To_Account, change.Info.Action, change.Info.Reason, v.Get("OptPlatform"), v.Get("ClientIP"))))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, `{"ErrorCode":0,"ErrorInfo":"","ActionStatus":"OK"}`)
}

// visit has a user come with a phone at the live door, and log out when that was
// told: sooner the logout would swallow the login.
func (s *server) visit(t *testing.T, user string, told func() string) {
	t.Helper()
	c, err := client.New(client.Config{
		Addr: "ws://" + s.http, Device: client.Device{Platform: "ios"},
		Token: func(context.Context) (string, error) { return s.token(t, user), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session, err := c.Open(t.Context(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	until(t, told, "told")
	if err := session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestForeignReceivers has the real binary call both receivers: presences that
// come, end by themselves, are taken away, a user who is kicked, and a device.
func TestForeignReceivers(t *testing.T) {
	t.Parallel()
	var rong, tim book
	rongServer := httptest.NewServer(http.HandlerFunc(rong.rongCloud))
	defer rongServer.Close()
	timServer := httptest.NewServer(http.HandlerFunc(tim.tencent))
	defer timServer.Close()
	s := startConfigured(t, foreignConfig+`
    webhooks:
      rong: {url: "`+rongServer.URL+`/online_status.php?tenant=a%2Fb", allow_private: true, format: rongcloud}
      tim: {url: "`+timServer.URL+`", allow_private: true, format: tencentim, tencentim: {token: `+callbackToken+`}}
`)
	s.put(t, "alice", "ios", time.Second) // ends as timed out
	s.put(t, "bob", "web", time.Hour)
	s.put(t, "carol", "windows", time.Hour)
	if got := s.tencent(t, "im_open_login_svc/kick", `{"UserID":"carol"}`); !strings.Contains(got, `"OK"`) {
		t.Fatalf("kick: got %s", got)
	}
	s.visit(t, "dave", func() string {
		if strings.Contains(tim.text(&tim.took), "dave Login") {
			return "told"
		}
		return ""
	})
	until(t, func() string { return rong.text(&rong.took) }, strings.Join([]string{
		"alice 0 iOS", "alice 1 iOS", "bob 0 Websocket", "carol 0 PC", "carol 1 PC", "dave 0 iOS 127.0.0.1", "dave 2 iOS 127.0.0.1",
	}, "\n"))
	until(t, func() string { return tim.text(&tim.took) }, strings.Join([]string{
		"alice Disconnect TimeOut RESTAPI", "alice Login Register RESTAPI", "bob Login Register RESTAPI",
		"carol Login Register RESTAPI", "carol Logout Unregister RESTAPI",
		"dave Login Register IOS 127.0.0.1", "dave Logout Unregister IOS 127.0.0.1",
	}, "\n"))
	for name, b := range map[string]*book{"rongcloud": &rong, "tencent": &tim} {
		if wrong := b.text(&b.wrong); wrong != "" {
			t.Errorf("%s:\n%s", name, wrong)
		}
		// Of one user, in the order in which it happened.
		b.mu.Lock()
		for _, pair := range [][2]string{{"alice 0", "alice 1"}, {"carol 0", "carol 1"}, {"dave 0", "dave 2"}, {"dave Login", "dave Logout"}, {"alice Login", "alice Disconnect"}, {"carol Login", "carol Logout"}} {
			at := func(begin string) int {
				return slices.IndexFunc(b.took, func(s string) bool { return strings.HasPrefix(s, begin) })
			}
			if at(pair[0]) > at(pair[1]) {
				t.Errorf("%s: %q stands before %q", name, pair[1], pair[0])
			}
		}
		b.mu.Unlock()
	}
}
