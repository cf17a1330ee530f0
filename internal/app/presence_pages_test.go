package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// signIn posts an access token to the pages, and returns the cookie.
func signIn(t *testing.T, a *app.App, jwt string, header ...string) (code int, cookie *http.Cookie) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.HTTPAddr().String()+"/login", strings.NewReader(url.Values{"assertion": {jwt}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := bounded().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		cookie = c
	}
	return resp.StatusCode, cookie
}

// The pages know from a proxy that is trusted whether the browser speaks TLS, and
// a reload changes whose users have them.
func TestPresencePages(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	tenants(p.Config, map[string]config.App{"one": {JWT: tenant("k").JWT, Mozpresence: config.Mozpresence{Publishers: config.PublishersOpen}}})
	p.Config.Listen.TrustedProxies = []string{"127.0.0.0/8"}
	a := running(t, p)
	if code, c := signIn(t, a, jwt(t, "one", "k", "bob")); code != 200 || c == nil || c.Secure || c.Name != "porchlight-pages" {
		t.Errorf("in the clear: %d, %v", code, c)
	}
	if code, c := signIn(t, a, jwt(t, "one", "k", "bob"), "X-Forwarded-Proto", "https"); code != 200 || c == nil || !c.Secure || c.Name != "__Host-porchlight-pages" {
		t.Errorf("by a proxy that took TLS off: %d, %v", code, c)
	}
	next := *p.Config
	tenants(&next, map[string]config.App{"one": {JWT: tenant("k").JWT}})
	next.Listen.TrustedProxies = nil
	if err := a.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if code, c := signIn(t, a, jwt(t, "one", "k", "bob"), "X-Forwarded-Proto", "https"); code != 403 || c != nil {
		t.Errorf("after the app lost its pages: %d, %v", code, c)
	}
}
