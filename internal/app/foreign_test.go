package app_test

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// askRongCloud queries a user as a backend written for RongCloud does.
func askRongCloud(t *testing.T, a *app.App, key, secret, user string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.HTTPAddr().String()+"/user/checkOnline.json", strings.NewReader("userId="+user))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum([]byte(secret + "14314" + "1767225600"))
	for name, value := range map[string]string{
		"App-Key": key, "Nonce": "14314", "Timestamp": "1767225600", "Signature": hex.EncodeToString(sum[:]), "Content-Type": "application/x-www-form-urlencoded",
	} {
		r.Header.Set(name, value)
	}
	_, text := exchange(t, r)
	return text
}

// The doors of other interfaces stand on the HTTP port, and a reload changes whom
// they serve.
func TestForeignDoors(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	tenants(p.Config, map[string]config.App{
		"one": {JWT: tenant("k").JWT, RongCloud: config.RongCloud{AppKey: "one", AppSecret: "s1"}},
		"two": {JWT: tenant("k").JWT, RongCloud: config.RongCloud{AppKey: "two", AppSecret: "s2"}},
	})
	a := running(t, p)
	join(t, a, jwt(t, "one", "k", "bob"))
	const online, offline = `{"code":200,"status":"1"}`, `{"code":200,"status":"0"}`
	if got := askRongCloud(t, a, "one", "s1", "bob"); got != online {
		t.Errorf("got %s, want %s", got, online)
	}
	if got := askRongCloud(t, a, "two", "s2", "bob"); got != offline {
		t.Errorf("another app: got %s, want %s", got, offline)
	}
	next := *p.Config
	tenants(&next, map[string]config.App{"one": {JWT: tenant("k").JWT, RongCloud: config.RongCloud{AppKey: "one", AppSecret: "new"}}})
	if err := a.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if got := askRongCloud(t, a, "one", "new", "bob"); got != online {
		t.Errorf("after the reload: got %s, want %s", got, online)
	}
	for _, former := range [][2]string{{"one", "s1"}, {"two", "s2"}} {
		if got := askRongCloud(t, a, former[0], former[1], "bob"); !strings.Contains(got, `"errorMessage"`) {
			t.Errorf("%s with its former secret: got %s, want it refused", former[0], got)
		}
	}
}

// userSig signs as Tencent's own libraries do.
func userSig(t *testing.T, id int64, key, user string) string {
	t.Helper()
	now := time.Now().Unix()
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:600\n", user, id, now)
	text, err := json.Marshal(map[string]any{
		"TLS.ver": "2.0", "TLS.identifier": user, "TLS.sdkappid": id, "TLS.expire": 600, "TLS.time": now, "TLS.sig": base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(text)
	z.Close()
	return strings.NewReplacer("+", "*", "/", "-", "=", "_").Replace(base64.StdEncoding.EncodeToString(b.Bytes()))
}

// askTencentIM queries a user as a backend written for Tencent IM does.
func askTencentIM(t *testing.T, a *app.App, id int64, key, user string) string {
	t.Helper()
	at := fmt.Sprintf("http://%s/v4/openim/query_online_status?sdkappid=%d&identifier=administrator&usersig=%s&random=1&contenttype=json", a.HTTPAddr(), id, userSig(t, id, key, "administrator"))
	r, err := http.NewRequestWithContext(t.Context(), "POST", at, strings.NewReader(`{"To_Account":["`+user+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	_, text := exchange(t, r)
	return text
}

func TestForeignDoorOfTencent(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	admins := []string{"administrator"}
	tenants(p.Config, map[string]config.App{
		"one": {JWT: tenant("k").JWT, TencentIM: config.TencentIM{SDKAppID: 1, Key: "key one", Admins: admins}},
		"two": {JWT: tenant("k").JWT, TencentIM: config.TencentIM{SDKAppID: 2, Key: "key two", Admins: admins}},
	})
	a := running(t, p)
	join(t, a, jwt(t, "one", "k", "bob"))
	if got := askTencentIM(t, a, 1, "key one", "bob"); !strings.Contains(got, `"Status":"Online"`) {
		t.Errorf("got %s, want bob online", got)
	}
	if got := askTencentIM(t, a, 2, "key two", "bob"); strings.Contains(got, "Online") {
		t.Errorf("another app: got %s, want nobody online", got)
	}
	next := *p.Config
	tenants(&next, map[string]config.App{"one": {JWT: tenant("k").JWT, TencentIM: config.TencentIM{SDKAppID: 1, Key: "new key", Admins: admins}}})
	if err := a.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if got := askTencentIM(t, a, 1, "new key", "bob"); !strings.Contains(got, `"Status":"Online"`) {
		t.Errorf("after the reload: got %s, want bob online", got)
	}
	if got := askTencentIM(t, a, 1, "key one", "bob"); !strings.Contains(got, "FAIL") {
		t.Errorf("with the former key: got %s, want it refused", got)
	}
}

// A door may have a port and a host of its own, where it alone answers, at every
// path; at the HTTP port it answers as before.
func TestDoorsOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	tenants(p.Config, map[string]config.App{"one": {JWT: tenant("k").JWT, RongCloud: config.RongCloud{AppKey: "one", AppSecret: "s1"}}})
	p.Config.Listen.RongCloud = config.Own{Listen: "127.0.0.1:0", Host: "API.rong.example"}
	p.Config.Listen.TencentIM = config.Own{Host: "console.tim.example"}
	p.Config.Listen.Stringee = config.OwnStringee{Host: "api.stringee.example"}
	a := running(t, p)
	if a.DoorAddr("rongcloud") == nil || a.DoorAddr("tencentim") != nil {
		t.Fatalf("ports: got %v and %v, want one", a.DoorAddr("rongcloud"), a.DoorAddr("tencentim"))
	}
	own, shared := a.DoorAddr("rongcloud").String(), a.HTTPAddr().String()
	for _, v := range []struct{ name, address, host, path, want string }{
		{"its own port", own, own, "/", `"code":404`},
		{"its own port, a path of ours", own, own, "/healthz", `"code":404`},
		{"its own port, its path", own, own, "/user/checkOnline.json", `"code":1001`},
		{"its host", shared, "api.RONG.example:80", "/healthz", `"code":404`},
		{"its host, its path", shared, "api.rong.example", "/user/checkOnline.json", `"code":1001`},
		{"Stringee's host", shared, "api.stringee.example", "/healthz", `"r":404`},
		{"Stringee's host, its page", shared, "api.stringee.example", "/", "Stringee's client connects here"},
		{"its path without a host", shared, "elsewhere.example", "/v1/users", `"r":405`},
		{"the other's host", shared, "console.tim.example", "/", `"ErrorCode":60009`},
		{"another host", shared, "elsewhere.example", "/user/x", `"code":404`},
		{"another host, a path of ours", shared, "elsewhere.example", "/healthz", "this page is read with GET"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+v.address+v.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = v.host
		resp, err := bounded().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(b), v.want) {
			t.Errorf("%s: got %d %s %v, want %s", v.name, resp.StatusCode, b, err, v.want)
		}
	}
	next := *p.Config
	next.Listen.RongCloud.Host = "other.example"
	if err := a.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
}

// A port that is taken stops the start, and leaves nothing behind.
func TestDoorPortIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := params(t, t.TempDir())
	p.Config.Listen.RongCloud.Listen = "127.0.0.1:0"
	p.Config.Listen.TencentIM.Listen = taken.Addr().String()
	a, err := app.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "tencentim") {
		t.Errorf("got %v, want the door whose port is taken", err)
	}
	if a.DoorAddr("rongcloud") != nil {
		t.Error("the other port is still open")
	}
}
