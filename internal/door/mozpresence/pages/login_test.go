package pages_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// withBearer is a request of a program.
func withBearer(method, path, jwt, form string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Header.Set("Authorization", "Bearer "+jwt)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	return r
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		b := n.browser()
		b.get("/myapps").want("a stranger", 401, "Paste it here", `name="next" value="/myapps"`, `<label for="assertion">`)
		b.get("/login?next=https://evil.example/").want("the page for it", 200, `name="next" value=""`)
		b.post("/login", "assertion", n.core.JWT("alice"), "next", "//evil.example").want("sign in", 303)
		c := b.cookies["porchlight-pages"]
		if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure || c.MaxAge != 3600 {
			t.Fatalf("the cookie is %+v", c)
		}
		if strings.Contains(c.Value, "alice") || strings.Contains(c.Value, "eyJ") {
			t.Errorf("the cookie can be read: %s", c.Value)
		}
		page := b.get("/grant").want("signed in", 200, "Signed in as", "alice", "Nobody at the moment")
		b.get("/login").want("again", 200, "You are signed in")
		b.post("/logout").want("out without a note", 403)
		b.post("/logout", page.form("/logout")...).want("out", 200, "You are signed out")
		if len(b.cookies) != 0 {
			t.Errorf("there is still %v", b.cookies)
		}
		b.get("/grant").want("signed out", 401)
	})
}

// Over TLS the cookie is the one that no other host can set, and no other is read.
func TestCookieOverTLS(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		plain := n.signedIn("alice")
		b := n.browser()
		b.tls = true
		b.post("/login", "assertion", n.core.JWT("alice")).want("sign in", 303)
		if c := b.cookies["__Host-porchlight-pages"]; c == nil || !c.Secure || c.Path != "/" || c.Domain != "" {
			t.Fatalf("the cookies are %v", b.cookies)
		}
		b.get("/grant").want("signed in", 200)
		b.cookies = plain.cookies
		b.get("/grant").want("with a cookie that came in the clear", 401)
	})
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		good := n.core.JWT("alice")
		for name, c := range map[string]struct {
			jwt   string
			says  string
			errno float64
		}{
			"none":           {"", "not a good access token", 34},
			"altered":        {good[:len(good)-4] + "AAAA", "not a good access token", 34},
			"BrowserID":      {good + "~" + good, "not a good access token", 34},
			"long":           {strings.Repeat("x", 20000), "not a good access token", 34},
			"markup":         {`"><script>alert(1)</script>`, "not a good access token", 34},
			"another issuer": {n.core.Sign(token.Issuer{App: "demo", Issuer: "https://evil.example", Keys: []token.Key{{ID: "x", Secret: []byte("a secret of thirty-two bytes or more!")}}}, "alice", time.Hour), "not a good access token", 34},
		} {
			b := n.browser()
			b.post("/login", "assertion", c.jwt).want(name, 401, c.says, `aria-invalid="true"`, "Error: Sign in")
			if len(b.cookies) != 0 {
				t.Errorf("%s: cookies %v", name, b.cookies)
			}
			r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"assertion": {c.jwt}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Accept", "*/*")
			if got := b.send(r); got.code != 401 || got.json()["errno"] != c.errno || got.json()["result"] != "KO" {
				t.Errorf("%s for programs: %d %s", name, got.code, got.body)
			}
		}
		old := n.core.Sign(token.Development(), "alice", time.Minute)
		<-time.After(2 * time.Minute)
		n.browser().post("/login", "assertion", old).want("expired", 401, "has expired")
	})
}

// A login is over after an hour, when the user's tokens are revoked, when its app
// is gone, and when it was tampered with.
func TestLoginEnds(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		p, _ := n.active(user("dora"), chat)
		b := n.signedIn("alice")
		ask := b.get("/" + p.ID + "/grant?redirect=https://chat.example.com/").form("/" + p.ID + "/grant")
		<-time.After(time.Hour - time.Second)
		b.get("/grant").want("in the hour", 200)
		<-time.After(2 * time.Second)
		b.get("/grant").want("after it", 401)
		got := b.post("/"+p.ID+"/grant", append(ask, "allow", "1")...).want("a form after it", 401, "Your sign-in has ended", "Nothing was changed", "/login?next=")
		if got.header.Get("Location") != "" {
			t.Error("a form was sent on")
		}
		if all, _ := n.reg.Grants(t.Context(), user("alice")); len(all) != 0 {
			t.Errorf("granted: %v", all)
		}

		b = n.signedIn("alice")
		b.post("/"+p.ID+"/grant", append(ask, "allow", "1")...).want("the former login's form", 403, "not good any more")
		<-time.After(2 * time.Second)
		if _, err := n.core.Revocations.Revoke(t.Context(), user("alice")); err != nil {
			t.Fatal(err)
		}
		b.get("/grant").want("revoked", 401)

		b = n.signedIn("bob")
		c := b.cookies["porchlight-pages"]
		for i := 0; i < len(c.Value); i += 7 {
			was := c.Value
			c.Value = was[:i] + "_" + was[i+1:]
			if c.Value != was && b.get("/grant").code != 401 {
				t.Errorf("a cookie altered at %d is taken", i)
			}
			c.Value = was
		}
		b.get("/grant").want("bob", 200)
		n.pages.SetApps([]pages.App{{App: doortest.Other}})
		b.get("/grant").want("his app has no pages any more", 401)
		n.browser().post("/login", "assertion", n.core.JWT("bob")).want("nor can he sign in", 403, "has no publishers")
	})
}

// Nobody signs a user in behind his back, as himself or as somebody else.
func TestSignInFromElsewhere(t *testing.T) {
	t.Parallel()
	n := newNode(t, pages.App{App: doortest.App, Open: true, LoginURL: "https://app.example/sign-in?lang=en"})
	defer n.stop()
	for _, c := range []struct {
		origin, site string
		code         int
	}{
		{"https://app.example", "cross-site", 303},
		{"https://APP.example", "cross-site", 303},
		{"http://presence.example", "same-origin", 303},
		{"http://app.example", "cross-site", 403},
		{"https://app.example:8443", "cross-site", 403},
		{"https://app.example.evil.example", "cross-site", 403},
		{"https://evil.example", "cross-site", 403},
		{"https://a.presence.example", "same-site", 403},
		{"null", "cross-site", 403},
		{"https://evil.example", "-", 403},
		{"http://presence.example", "-", 303},
	} {
		b := n.browser()
		b.origin, b.site = c.origin, c.site
		if got := b.post("/login", "assertion", n.core.JWT("mallory"), "next", "/grant"); got.code != c.code || (len(b.cookies) > 0) != (c.code == 303) {
			t.Errorf("from %s: status %d, cookies %v, want %d", c.origin, got.code, b.cookies, c.code)
		}
	}
	r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"assertion": {n.core.JWT("mallory")}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	n.browser().send(r).want("without an origin", 403)
}

// Who is not signed in goes to the app's own page for it, with the way back.
func TestSentToTheAppsPage(t *testing.T) {
	t.Parallel()
	n := newNode(t, pages.App{App: doortest.App, Open: true, LoginURL: "https://app.example/sign-in?lang=en"}, pages.App{App: doortest.Other, LoginURL: "https://other.example/in"})
	defer n.stop()
	p, _ := n.active(user("dora"), chat)
	ask := "/" + p.ID + "/grant?redirect=https%3A%2F%2Fchat.example.com%2F&id=ann"
	got := n.browser().get(ask).want("a stranger", 303)
	to, err := url.Parse(got.header.Get("Location"))
	if err != nil || to.Host != "app.example" || to.Path != "/sign-in" || to.Query().Get("lang") != "en" || to.Query().Get("next") != ask {
		t.Errorf("sent to %s", to)
	}
	n.browser().get("/login?next="+url.QueryEscape(ask)).want("the page", 200, "Sign in at app.example")
	b := n.browser()
	b.origin, b.site = "https://app.example", "cross-site"
	if got := b.post("/login", "assertion", n.core.JWT("ann"), "next", ask); got.code != 303 || got.header.Get("Location") != ask {
		t.Errorf("came back to %d %s", got.code, got.header.Get("Location"))
	}
	n.browser().get("/grant").want("two apps, and nobody knows which", 401, "Paste it here")
}

// Programs and the prototype's pages.
func TestProgramsSignIn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		b := n.browser()
		r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"assertion": {n.core.JWT("alice")}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "*/*")
		if got := b.send(r).want("sign in", 200).json(); got["email"] != "alice" || len(b.cookies) != 1 {
			t.Errorf("got %v", got)
		}
		if got := n.browser().send(withBearer("GET", "/getApps", n.core.JWT("alice"), "")).want("by token", 200); got.body != "{\"apps\":[]}\n" {
			t.Errorf("got %s", got.body)
		}
		r = withBearer("GET", "/getApps", "x", "")
		if got := n.browser().send(r).want("by a bad token", 401); got.json()["errno"] != 34.0 || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("got %s", got.body)
		}
		r = httptest.NewRequest("GET", "/getApps", nil)
		r.Header.Set("Accept", "*/*")
		n.browser().send(r).want("by nobody", 401)
	})
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *node) {
		b := n.signedIn("alice")
		for _, c := range []struct {
			method, path string
			code         int
			allow        string
		}{
			{"GET", "/logout", 405, "POST"}, {"GET", "/activate_app", 405, "POST"}, {"GET", "/validate_app", 405, "POST"}, {"DELETE", "/myapps", 405, "GET, HEAD, POST"},
			{"POST", "/grant", 405, "GET, HEAD"}, {"PUT", "/login", 405, "GET, HEAD, POST"}, {"GET", "/", 404, ""}, {"GET", "/grant/", 404, ""}, {"GET", "/grant/x", 404, ""},
			{"GET", "/revoke", 404, ""}, {"GET", "/myapps/", 404, ""}, {"GET", "/MYAPPS", 404, ""}, {"GET", "/grant//", 404, ""}, {"HEAD", "/myapps", 200, ""},
		} {
			r := httptest.NewRequest(c.method, c.path, nil)
			got := b.send(r)
			got.want(c.method+" "+c.path, c.code)
			if got.header.Get("Allow") != c.allow || c.method == "HEAD" && got.body != "" {
				t.Errorf("%s %s: Allow %q, body %q", c.method, c.path, got.header.Get("Allow"), got.body)
			}
		}
		r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"assertion":"x"}`))
		r.Header.Set("Content-Type", "application/json")
		b.send(r).want("JSON where a form is wanted", 400, "did not arrive")
	})
}
