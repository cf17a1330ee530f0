package app_test

import (
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

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
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
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
