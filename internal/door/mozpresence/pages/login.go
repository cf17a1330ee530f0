package pages

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	// loginLife is how long a login is good, whatever the life of the access token
	// that it came by. It ends before when the user's tokens are revoked.
	loginLife = time.Hour
	// maxNext bounds the address of ours that a login leads to; a grant page's has
	// another address in it.
	maxNext = 4 << 10
)

// forLogin is what the cookie's note is sealed for.
const forLogin = "mozpresence/login"

// The cookie's names. A browser takes the first only from where it was set, by TLS
// and for this very host.
const (
	secureCookie = "__Host-porchlight-pages"
	plainCookie  = "porchlight-pages"
)

// login is what the cookie holds.
type login struct {
	App     presence.AppID  `json:"a"`
	User    presence.UserID `json:"u"`
	Nonce   string          `json:"n"` // what forms of this login are bound to
	Issued  int64           `json:"i"` // of the access token; seconds, 0: it does not say
	Expires int64           `json:"e"` // seconds
}

func (l login) access() token.Access {
	a := token.Access{App: l.App, User: l.User, Expires: time.Unix(l.Expires, 0)}
	if l.Issued != 0 {
		a.IssuedAt = time.Unix(l.Issued, 0)
	}
	return a
}

// newLogin begins a login by an access token.
func newLogin(a token.Access) login {
	l := login{App: a.App, User: a.User, Nonce: rand.Text(), Expires: time.Now().Add(loginLife).Unix()}
	if !a.IssuedAt.IsZero() {
		l.Issued = a.IssuedAt.Unix()
	}
	return l
}

func (v *visit) cookieName() string {
	if v.p.cfg.Secure(v.r) {
		return secureCookie
	}
	return plainCookie
}

// identify finds out who visits: by an access token in the header, or by the
// cookie. A cookie that is not good any more is nobody's.
func (v *visit) identify() error {
	if raw, ok := strings.CutPrefix(v.r.Header.Get("Authorization"), "Bearer "); ok {
		a, err := v.p.cfg.Gate.Access(v.r.Context(), raw)
		if err != nil {
			return v.refusedToken(err)
		}
		return v.enter(newLogin(a), true)
	}
	c, err := v.r.Cookie(v.cookieName())
	if err != nil {
		return nil
	}
	text, ok := v.p.cfg.Gate.OpenNote(forLogin, c.Value)
	var l login
	if !ok || json.Unmarshal(text, &l) != nil || v.p.cfg.Gate.Still(l.access(), time.Now()) != nil {
		return nil
	}
	if _, served := v.p.app(l.App); !served {
		return nil
	}
	return v.enter(l, false)
}

func (v *visit) enter(l login, direct bool) error {
	app, ok := v.p.app(l.App)
	if !ok {
		return &problem{Code: http.StatusForbidden, Title: "Your app has no publishers",
			Text: "The access token is good, but its app does not take part in this. Its operator switches it on with mozpresence in the configuration."}
	}
	v.login, v.app, v.direct = l, app, direct
	return nil
}

// refusedToken says why an access token is not taken.
func (v *visit) refusedToken(err error) *problem {
	switch fault.KindOf(err) {
	case fault.JWTExpired:
		return &problem{Code: http.StatusUnauthorized, Errno: errnoExpired, Title: "Your sign-in is too old", Text: "The access token has expired, or was revoked. Please get a new one and sign in again."}
	case fault.KeysUnavailable:
		return &problem{Code: http.StatusServiceUnavailable, Title: "We cannot check your sign-in right now", Text: "The keys of your app cannot be fetched. Please try again in a few seconds.", after: 2 * time.Second}
	}
	return &problem{Code: http.StatusUnauthorized, Errno: errnoAssertion, Title: "We could not sign you in",
		Text: "What was sent is not a good access token (assertion) of an app of ours. Copy the whole of it, or ask the people who run the app."}
}

// sendToLogin answers who has to sign in first. A form is not sent on: what it
// says is lost anyway, and browsers do not let forms lead to other sites.
func (v *visit) sendToLogin() error {
	next := "/" + strings.TrimPrefix(v.r.URL.RequestURI(), "/")
	if v.r.Method == http.MethodPost {
		next = ""
		if v.at.get != nil {
			next = v.r.URL.Path
		}
		to := "/login"
		if next != "" {
			to += "?" + url.Values{"next": {next}}.Encode()
		}
		return &problem{Code: http.StatusUnauthorized, Errno: errnoExpired, Title: "Your sign-in has ended",
			Text: "You are not signed in, or you were for longer than an hour. Nothing was changed. Please sign in and do it again.", Link: to, Words: "Sign in"}
	}
	if v.json {
		return &problem{Code: http.StatusUnauthorized, Errno: errnoAssertion, Title: "Sign in first", Text: "Give an access token as Authorization: Bearer, or sign in by POST /login."}
	}
	if !goodNext(next) {
		next = ""
	}
	if app, ok := v.appFor(v.at.id); ok && app.LoginURL != "" {
		return v.goTo(loginAt(app.LoginURL, next))
	}
	return v.loginPage(http.StatusUnauthorized, loginForm{Next: next})
}

// loginAt is an app's page for signing in, with what comes after.
func loginAt(address, next string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // never: it was checked
	}
	q := u.Query()
	q.Set("next", next)
	u.RawQuery = q.Encode()
	return u.String()
}

// appFor guesses the app of somebody who is not signed in: that of the publisher
// he wants to see, or the only one there is.
func (v *visit) appFor(id string) (App, bool) {
	if id != "" {
		if p, err := v.p.cfg.Publishers.Get(v.r.Context(), id); err == nil {
			return v.p.app(p.App)
		}
	}
	apps := *v.p.apps.Load()
	if len(apps) == 1 {
		for _, a := range apps {
			return a, true
		}
	}
	return App{}, false
}

// goodNext reports whether an address is one of our pages: a path with a query,
// which no browser reads as another site's.
func goodNext(s string) bool {
	if len(s) > maxNext || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" {
		return false
	}
	at := find(u.Path)
	return u.Path == u.EscapedPath() && at.get != nil && at.name != "login"
}

// loginForm is the page for signing in.
type loginForm struct {
	Next  string
	Where string // the host of the app's page for it; empty: the token is pasted
	Go    string
	Why   *problem
	Demo  bool // tokens are made by hand, for development
}

func (v *visit) showLogin() error {
	next := v.r.URL.Query().Get("next")
	if !goodNext(next) {
		next = ""
	}
	return v.loginPage(http.StatusOK, loginForm{Next: next})
}

func (v *visit) loginPage(code int, f loginForm) error {
	id := ""
	if f.Next != "" {
		path, _, _ := strings.Cut(f.Next, "?")
		id = find(path).id
	}
	if app, ok := v.appFor(id); ok && app.LoginURL != "" && v.login.User == "" {
		if u, err := url.Parse(app.LoginURL); err == nil {
			f.Where, f.Go = u.Host, loginAt(app.LoginURL, f.Next)
		}
	}
	for _, a := range *v.p.apps.Load() {
		f.Demo = f.Demo || a.AllowPrivate
	}
	return v.show(code, view{Page: "login", Title: "Sign in", Body: f, Wrong: f.Why != nil})
}

// signIn takes an access token and begins a login.
func (v *visit) signIn() error {
	next := v.field("next")
	if !goodNext(next) {
		next = "/grant"
	}
	a, err := v.p.cfg.Gate.Access(v.r.Context(), v.field("assertion"))
	if err != nil {
		why := v.refusedToken(err)
		if v.json {
			return why
		}
		v.login = login{}
		return v.loginPage(why.Code, loginForm{Next: next, Why: why})
	}
	l := newLogin(a)
	if err := v.enter(l, false); err != nil {
		return err
	}
	if !v.signsIn() {
		v.login = login{}
		return &problem{Code: http.StatusForbidden, Title: "This did not come from your app's sign-in page",
			Text: "Another site tried to sign you in here, and we did not let it. Please begin again on the page that you wanted to see.", Link: "/login", Words: "Sign in"}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	v.setCookie(v.p.cfg.Gate.SealNote(forLogin, text), int(loginLife/time.Second))
	if v.json {
		return v.writeJSON(http.StatusOK, map[string]string{"result": "OK", "email": string(a.User), "user": string(a.User)})
	}
	return v.goTo(next)
}

// signsIn reports whether the visitor's sign-in came from where it may: a page of
// ours, the app's page for it, or no browser at all. Any other site could sign
// him in as somebody else without his notice.
func (v *visit) signsIn() bool {
	origin := v.r.Header.Get("Origin")
	switch site := v.r.Header.Get("Sec-Fetch-Site"); {
	case origin == "":
		return site == "" || site == "same-origin" || site == "none"
	case admit.SameOrigin(origin, v.r.Host):
		return true
	}
	u, err := url.Parse(v.app.LoginURL)
	return err == nil && u.Host != "" && strings.EqualFold(origin, u.Scheme+"://"+u.Host)
}

// signOut ends the login in this browser.
func (v *visit) signOut() error {
	if err := v.checkForm("logout", ""); err != nil {
		return err
	}
	v.setCookie("", -1)
	if v.json {
		return v.writeJSON(http.StatusOK, map[string]string{"result": "OK"})
	}
	v.login = login{}
	return v.show(http.StatusOK, view{Page: "goodbye", Title: "You are signed out"})
}

func (v *visit) setCookie(value string, age int) {
	http.SetCookie(v.w, &http.Cookie{
		Name: v.cookieName(), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: v.p.cfg.Secure(v.r), SameSite: http.SameSiteLaxMode,
	})
}
