package pages_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a core with the pages.
type node struct {
	t     *testing.T
	core  *doortest.Core
	reg   *publisher.Registry
	pages *pages.Pages
}

func newNode(t *testing.T, apps ...pages.App) *node {
	t.Helper()
	if apps == nil {
		apps = []pages.App{{App: doortest.App, Open: true}, {App: doortest.Other, Open: true}}
	}
	n := &node{t: t, core: doortest.New(t, doortest.Config{})}
	var err error
	if n.reg, err = publisher.New(publisher.Config{Store: n.core.Store, Logger: n.core.Logger}); err != nil {
		t.Fatal(err)
	}
	n.pages, err = pages.New(pages.Config{Publishers: n.reg, Gate: n.core.Gate, Apps: apps, Logger: n.core.Logger})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) stop() {
	n.pages.Close()
	n.core.Stop()
}

// inBubble gives f a node under the fake clock.
func inBubble(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.stop()
		f(t, n)
	})
}

// active is a publisher of an app with its API key.
func (n *node) active(owner presence.User, r publisher.Registration) (publisher.Publisher, string) {
	n.t.Helper()
	p, err := n.reg.Register(n.t.Context(), owner, r)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err = n.reg.Prove(n.t.Context(), p.ID); err != nil {
		n.t.Fatal(err)
	}
	key, p, err := n.reg.Activate(n.t.Context(), p.ID, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	return p, key
}

func user(id string) presence.User {
	return presence.User{App: doortest.App, ID: presence.UserID(id)}
}

var chat = publisher.Registration{Domain: "chat.example.com", Name: "Chat", Description: "Talk to people.", Email: "people@chat.example.com"}

// browser keeps cookies and sends what a browser sends.
type browser struct {
	n       *node
	cookies map[string]*http.Cookie
	site    string // Sec-Fetch-Site of what it sends; "" for same-origin, "-" for browsers without
	origin  string // of its forms; "" for our own
	tls     bool
}

func (n *node) browser() *browser { return &browser{n: n, cookies: map[string]*http.Cookie{}} }

// reply is a page.
type reply struct {
	t      *testing.T
	code   int
	header http.Header
	body   string
}

func (b *browser) send(r *http.Request) reply {
	b.n.t.Helper()
	r.Host = "presence.example"
	if b.tls {
		r.TLS = httptest.NewRequest("GET", "https://presence.example/", nil).TLS
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	}
	w := httptest.NewRecorder()
	b.n.pages.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
	body, _ := io.ReadAll(res.Body)
	return reply{b.n.t, res.StatusCode, res.Header, string(body)}
}

func (b *browser) get(path string) reply {
	b.n.t.Helper()
	return b.send(httptest.NewRequest("GET", path, nil))
}

func (b *browser) post(path string, pairs ...string) reply {
	b.n.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.origin)
	if b.site != "-" {
		r.Header.Set("Sec-Fetch-Site", b.site)
	}
	if b.origin == "" {
		r.Header.Set("Origin", "http://presence.example")
		if b.tls {
			r.Header.Set("Origin", "https://presence.example")
		}
	}
	if b.site == "" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return b.send(r)
}

// signedIn is a browser of a user of App.
func (n *node) signedIn(id string) *browser {
	n.t.Helper()
	b := n.browser()
	if got := b.post("/login", "assertion", n.core.Log.Secret(n.core.JWT(id)), "next", "/myapps"); got.code != 303 || got.header.Get("Location") != "/myapps" {
		n.t.Fatalf("sign in: %d %s\n%s", got.code, got.header.Get("Location"), got.body)
	}
	for _, c := range b.cookies {
		n.core.Log.Secret(c.Value)
	}
	return b
}

// want checks a reply's status and some of its text, and that it has what every
// answer has.
func (r reply) want(what string, code int, says ...string) reply {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%s: got status %d, want %d\n%s", what, r.code, code, r.main())
	}
	for _, s := range says {
		if !strings.Contains(html.UnescapeString(r.body), s) && !strings.Contains(html.UnescapeString(tag.ReplaceAllString(r.body, "")), s) {
			r.t.Errorf("%s: the answer does not say %q:\n%s", what, s, r.main())
		}
	}
	r.safe(what)
	return r
}

var tag = regexp.MustCompile(`<[^>]*>`)

// main is what a page says.
func (r reply) main() string {
	if _, main, ok := strings.Cut(r.body, "<main"); ok {
		return main
	}
	return r.body
}

// safe checks what keeps a page from being framed, kept, or made to run what is
// not ours.
func (r reply) safe(what string) {
	r.t.Helper()
	policy := r.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, part) {
			r.t.Errorf("%s: the policy %q lacks %s", what, policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
		r.t.Errorf("%s: the policy %q lets more in than a style", what, policy)
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"} {
		if got := r.header.Get(name); got != want {
			r.t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
	if strings.Contains(r.body, "<script") || strings.Contains(strings.ToLower(r.body), "javascript:") {
		r.t.Errorf("%s: there is a script in it:\n%s", what, r.body)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// form returns the hidden fields of the form of a page that goes to an address,
// and for forms that go to the same, has a value in a field.
func (r reply) form(action string, has ...string) []string {
	r.t.Helper()
	for _, f := range strings.Split(r.body, "<form ")[1:] {
		f, _, _ = strings.Cut(f, "</form>")
		if !strings.Contains(f, `action="`+action+`"`) {
			continue
		}
		var pairs []string
		fits := len(has) == 0
		for _, m := range hidden.FindAllStringSubmatch(f, -1) {
			pairs = append(pairs, m[1], html.UnescapeString(m[2]))
			fits = fits || len(has) == 2 && m[1] == has[0] && m[2] == has[1]
		}
		if fits {
			return pairs
		}
	}
	r.t.Fatalf("no form goes to %s:\n%s", action, r.body)
	return nil
}

// json reads an answer for programs.
func (r reply) json() map[string]any {
	r.t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || r.header.Get("Content-Type") != "application/json" {
		r.t.Fatalf("%s is no JSON: %v", r.body, err)
	}
	return m
}

var secret = regexp.MustCompile(`(?s)aria-label="API key">([^<]*)<`)

// key is the API key that a page shows, or "".
func (r reply) key() string {
	m := secret.FindStringSubmatch(r.body)
	if m == nil {
		return ""
	}
	return m[1]
}

// domain is a web server on this machine that serves a proof.
type domain struct {
	host   string
	answer atomic.Pointer[http.HandlerFunc]
	calls  atomic.Int32
}

func newDomain(t *testing.T) *domain {
	t.Helper()
	d := &domain{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.calls.Add(1)
		if f := d.answer.Load(); f != nil && r.URL.Path == "/__presence" {
			(*f)(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	d.host = strings.TrimPrefix(s.URL, "http://")
	return d
}

func (d *domain) serves(f http.HandlerFunc) { d.answer.Store(&f) }
