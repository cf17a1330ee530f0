package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"
)

const (
	foreignKey    = "a server key of these tests, thirty-two bytes"
	rongKey       = "plAppKey01"
	rongSecret    = "plSecret-7hQ2"
	tencentID     = 1400000001
	tencentKey    = "pl-usersig-key-0000000000000000000000000000000000000000000000000001"
	tencentAdmin  = "administrator"
	foreignConfig = `
apps:
  demo:
    server_keys: [{id: k, secret: "` + foreignKey + `"}]
    jwt: {issuer: i, keys: [{secret: "an access token key of these tests, 32 bytes"}]}
    rongcloud: {app_key: ` + rongKey + `, app_secret: ` + rongSecret + `}
    tencentim: {sdkappid: 1400000001, key: ` + tencentKey + `, admins: [administrator]}
`
)

// TestForeignInterfaces starts a server that backends written for RongCloud and
// Tencent IM call, and lets the vendors' own packages at it.
func TestForeignInterfaces(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, foreignConfig)
	s.put(t, "on", "ios", time.Hour)
	s.put(t, "we ird+ü&x=1", "web", time.Hour)
	t.Run("node", func(t *testing.T) { t.Parallel(); testForeignNode(t, s) })
	t.Run("go", func(t *testing.T) { t.Parallel(); testForeignGo(t, s) })
}

// put sets a presence of a user by the REST API.
func (s *server) put(t *testing.T, user, platform string, ttl time.Duration) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"status": "online", "ttl": int(ttl.Seconds()), "device": map[string]any{"platform": platform}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+s.http+"/api/v1/users/"+url.PathEscape(user)+"/presence?name="+platform, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+foreignKey)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("putting the presence of %s: %d %s %v", user, resp.StatusCode, b, err)
	}
}

func testForeignNode(t *testing.T, s *server) {
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node", "there is no node on this machine")
	}
	if _, err := os.Stat("node/node_modules/rongcloud-sdk"); err != nil {
		missing(t, "node", "its packages are not installed: make test-tools does it")
	}
	runNode(t, "node", []string{"PORCHLIGHT_HTTP=" + s.http}, "foreign.mjs")
}

// tencent calls the server as a backend for Tencent IM does, with a UserSig of
// the vendor's library.
func (s *server) tencent(t *testing.T, command, body string) string {
	t.Helper()
	sig, err := tencentyun.GenUserSig(tencentID, tencentKey, tencentAdmin, 3600)
	if err != nil {
		t.Fatal(err)
	}
	query := "?sdkappid=1400000001&identifier=" + tencentAdmin + "&usersig=" + sig + "&random=99999999&contenttype=json"
	resp, err := http.Post("http://"+s.http+"/v4/"+command+query, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", command, resp.StatusCode, b, err)
	}
	return string(b)
}

// testForeignGo is a story: a phone and a browser come, the phone's time is over,
// the user is kicked.
func testForeignGo(t *testing.T, s *server) {
	s.put(t, "carol", "android", time.Second)
	s.put(t, "carol", "web", time.Hour)
	const ask = `{"To_Account":["carol"],"IsNeedDetail":1}`
	until(t, func() string { return s.tencent(t, "openim/query_online_status", ask) }, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":`+
		`[{"To_Account":"carol","Status":"Online","Detail":[{"Platform":"Android","Status":"PushOnline"},{"Platform":"Web","Status":"Online"}]}]}`)
	if got := s.tencent(t, "im_open_login_svc/kick", `{"UserID":"carol"}`); got != `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}` {
		t.Errorf("kick: got %s", got)
	}
	if got := s.tencent(t, "openim/querystate", ask); got != `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"QueryResult":[{"To_Account":"carol","State":"Offline"}]}` {
		t.Errorf("after the kick: got %s", got)
	}
}

// until polls until the answer is as wanted.
func until(t *testing.T, ask func() string, want string) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for got := ask(); got != want; got = ask() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("got %s, want %s within %v", got, want, patience)
		}
	}
}

// TestForeignPages runs the commands of the two interfaces' pages.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, foreignConfig)
	if n := len(runPage(t, s, "docs/interfaces/rongcloud.md")); n != 1 {
		t.Errorf("%d blocks of commands, want 1", n)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		missing(t, "python", "there is no python3 on this machine")
	}
	if n := len(runPage(t, s, "docs/interfaces/tencentim.md")); n != 3 {
		t.Errorf("%d blocks of commands, want 3", n)
	}
}
