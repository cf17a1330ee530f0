package pages

import (
	"html/template"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// App is an app that has pages.
type App struct {
	App presence.AppID
	// Open lets every user of the app register publishers; otherwise Developers
	// alone may.
	Open       bool
	Developers []presence.UserID
	// LoginURL is the app's page that signs users in and posts their access token
	// to /login. Without one the token is pasted.
	LoginURL string
	// AllowPrivate lets domains be addresses, have a port and lead to this machine
	// and its networks, and lets redirects be http: for development.
	AllowPrivate bool
}

// Config is what the pages need. Publishers, Gate and Logger are required.
type Config struct {
	Publishers *publisher.Registry
	Gate       *admit.Gate
	Apps       []App
	// Secure reports that the browser speaks TLS, to us or to a proxy of ours. Nil:
	// it does where the request came by TLS.
	Secure func(*http.Request) bool
	Logger *slog.Logger
	// Called, when not nil, hears of each request that was answered.
	Called func(method, code string, took time.Duration)
}

// Pages answers. Make it with New.
type Pages struct {
	cfg     Config
	log     *slog.Logger
	apps    atomic.Pointer[map[presence.AppID]App] // replaced as a whole
	look    map[string]*template.Template
	policy  string // the content security policy, up to where a form may lead
	calls   paces
	fetch   *outbound.Client
	private *outbound.Client // for apps with AllowPrivate
}

// New returns pages that answer at once.
func New(cfg Config) (*Pages, error) {
	p := &Pages{cfg: cfg, log: cfg.Logger}
	p.fetch, p.private = newFetcher(false), newFetcher(true)
	if p.cfg.Secure == nil {
		p.cfg.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if err := p.draw(); err != nil {
		return nil, err
	}
	p.SetApps(cfg.Apps)
	return p, nil
}

// SetApps replaces whose users have pages.
func (p *Pages) SetApps(apps []App) {
	fresh := make(map[presence.AppID]App, len(apps))
	for _, a := range apps {
		a.Developers = slices.Clone(a.Developers)
		fresh[a.App] = a
	}
	p.apps.Store(&fresh)
}

// app returns an app that has pages.
func (p *Pages) app(id presence.AppID) (App, bool) {
	a, ok := (*p.apps.Load())[id]
	return a, ok
}

// Close lets go of connections to domains.
func (p *Pages) Close() {
	p.fetch.Close()
	p.private.Close()
}

// Segments are the first segments of paths that are the pages' alone. Below
// /myapps, and below a publisher's id, the sockets are not: see Answers.
func Segments() []string {
	return []string{"login", "logout", "grant", "revoke", "getApps", "validate_app", "activate_app"}
}

// Answers reports that a request is for a page and for no socket or call.
func Answers(r *http.Request) bool {
	return r.Header.Get("Upgrade") == "" && find(r.URL.Path).name != ""
}

// route is one kind of page.
type route struct {
	name  string
	id    string // of the publisher that the path names
	json  bool   // the answer is JSON unless the caller wants HTML
	get   func(*visit) error
	post  func(*visit) error
	guest bool // open without a login
}

// find says what is at a path. Handlers of methods it does not take are nil.
func find(path string) route {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	first := segments[0]
	if len(segments) == 1 {
		switch first {
		case "login":
			return route{name: "login", json: true, get: (*visit).showLogin, post: (*visit).signIn, guest: true}
		case "logout":
			return route{name: "logout", json: true, post: (*visit).signOut}
		case "grant":
			return route{name: "granted", get: (*visit).showGranted}
		case "getApps":
			return route{name: "getApps", json: true, get: (*visit).getApps}
		case "myapps":
			return route{name: "myapps", get: (*visit).showMine, post: (*visit).register}
		case "validate_app":
			return route{name: "validate_app", json: true, post: (*visit).validate}
		case "activate_app":
			return route{name: "activate_app", json: true, post: (*visit).activate}
		}
		return route{}
	}
	return findOf(first, segments)
}

// findOf is find for the paths that name a publisher.
func findOf(first string, segments []string) route {
	grant := route{name: "grant", get: (*visit).ask, post: (*visit).answer}
	revoke := route{name: "revoke", json: true, get: (*visit).askRevoke, post: (*visit).revoke}
	second := segments[1]
	switch {
	case len(segments) == 3 && first == "myapps" && segments[2] == "proof" && publisher.ValidID(second):
		return route{name: "proof", id: second, get: (*visit).proof}
	case len(segments) > 2:
		return route{}
	case first == "myapps" && publisher.ValidID(second):
		return route{name: "publisher", id: second, get: (*visit).showOne}
	case first == "grant" && publisher.ValidID(second):
		grant.id = second
		return grant
	case first == "revoke" && publisher.ValidID(second):
		revoke.id = second
		return revoke
	case publisher.ValidID(first) && second == "grant":
		grant.id = first
		return grant
	case publisher.ValidID(first) && second == "revoke":
		revoke.id = first
		return revoke
	}
	return route{}
}

// ServeHTTP answers a request by its whole path.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	at := find(r.URL.Path)
	v := &visit{p: p, w: &noted{ResponseWriter: w}, r: r, at: at}
	v.json = wantsJSON(r, at.json)
	defer func() {
		if x := recover(); x != nil {
			p.log.ErrorContext(r.Context(), "panic", "door", "mozpresence", "page", at.name, "panic", x, "stack", string(debug.Stack()))
			v.say(internal())
		}
		if p.cfg.Called != nil {
			p.cfg.Called(or(at.name, "unknown"), strconv.Itoa(v.w.code), time.Since(began))
		}
	}()
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// noted remembers the status of an answer.
type noted struct {
	http.ResponseWriter
	code int
}

// WriteHeader notes the status.
func (n *noted) WriteHeader(code int) {
	n.code = code
	n.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

func or(s, preset string) string {
	if s == "" {
		return preset
	}
	return s
}
