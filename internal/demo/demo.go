// Package demo is the page that `porchlight dev` shows at /demo/: a user in each
// tab, who see each other. It is written as a product's page would be, on
// clients/js, and this package plays the product's backend for it: it signs in
// whoever asks, as one of a few users of the development configuration, and
// keeps their friend lists.
//
// So it must never be served beside users of one's own: package app mounts it
// only where the root package was told to, and that refuses any configuration
// but the development one, whose keys everybody knows.
package demo

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// App is the app that the users are of.
const App presence.AppID = "demo"

// users are those whom the page can sign in.
var users = []presence.UserID{"alice", "bob", "carol"}

// tokenLife is how long a page's token is good; it gets a new one then.
const tokenLife = time.Hour

//go:embed page
var page embed.FS

// Friends keeps the friend lists, as the roster does.
type Friends interface {
	// Friends gives a user's list.
	Friends(ctx context.Context, user presence.User) ([]presence.UserID, error)
	// Add puts somebody on it, and with both the user on his.
	Add(ctx context.Context, user presence.User, friend presence.UserID, both bool) (changed bool, err error)
	// Remove is the contrary.
	Remove(ctx context.Context, user presence.User, friend presence.UserID, both bool) (changed bool, err error)
}

// Config is what the page stands on. All of it is required.
type Config struct {
	// Token makes an access token.
	Token   func(app, user string, ttl time.Duration) (string, error)
	Friends Friends
	// Notify puts a live notification for a user: a text, and a link to follow.
	Notify func(ctx context.Context, to presence.User, text, link string) error
	Logger *slog.Logger
}

// Demo serves the page, below /demo.
type Demo struct {
	cfg Config
	mux *http.ServeMux
}

// New makes it.
func New(cfg Config) *Demo {
	files, err := fs.Sub(page, "page")
	if err != nil {
		files = page // never: the name is a valid one
	}
	d := &Demo{cfg: cfg, mux: http.NewServeMux()}
	d.mux.Handle("GET /demo/", headed(http.StripPrefix("/demo/", http.FileServerFS(files))))
	d.mux.Handle("GET /demo", http.RedirectHandler("/demo/", http.StatusFound))
	d.mux.HandleFunc("POST /demo/token/{user}", d.own(d.token))
	d.mux.HandleFunc("GET /demo/friends/{user}", d.own(d.list))
	d.mux.HandleFunc("PUT /demo/friends/{user}/{friend}", d.own(d.befriend))
	d.mux.HandleFunc("DELETE /demo/friends/{user}/{friend}", d.own(d.unfriend))
	d.mux.HandleFunc("POST /demo/nudge/{user}/{friend}", d.own(d.nudge))
	return d
}

// ServeHTTP answers below /demo.
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// headed says what the page may do: nothing but what it is made of.
func headed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache") // it changes with the binary
		h.ServeHTTP(w, r)
	})
}

// own lets the page of this machine call, and no page of another site: not by
// its name for this machine either.
func (d *Demo) own(call func(http.ResponseWriter, *http.Request, presence.User)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		site := r.Header.Get("Sec-Fetch-Site")
		if !local(r.Host) || site != "" && site != "same-origin" {
			http.Error(w, "only the demo page, opened on this machine, may ask", http.StatusForbidden)
			return
		}
		id := presence.UserID(r.PathValue("user"))
		if !slices.Contains(users, id) {
			http.Error(w, "the demo's users are alice, bob and carol", http.StatusNotFound)
			return
		}
		call(w, r, presence.User{App: App, ID: id})
	}
}

// local reports whether a Host header names this machine.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (d *Demo) token(w http.ResponseWriter, _ *http.Request, user presence.User) {
	jwt, err := d.cfg.Token(string(user.App), string(user.ID), tokenLife)
	if err != nil {
		d.failed(w, err)
		return
	}
	answer(w, map[string]string{"token": jwt})
}

func (d *Demo) list(w http.ResponseWriter, r *http.Request, user presence.User) {
	friends, err := d.cfg.Friends.Friends(r.Context(), user)
	if err != nil {
		d.failed(w, err)
		return
	}
	if friends == nil {
		friends = []presence.UserID{}
	}
	answer(w, map[string][]presence.UserID{"friends": friends})
}

func (d *Demo) befriend(w http.ResponseWriter, r *http.Request, user presence.User) {
	d.change(w, r, user, d.cfg.Friends.Add)
}

func (d *Demo) unfriend(w http.ResponseWriter, r *http.Request, user presence.User) {
	d.change(w, r, user, d.cfg.Friends.Remove)
}

func (d *Demo) change(w http.ResponseWriter, r *http.Request, user presence.User, change func(context.Context, presence.User, presence.UserID, bool) (bool, error)) {
	friend := presence.UserID(r.PathValue("friend"))
	if !slices.Contains(users, friend) || friend == user.ID {
		http.Error(w, "friends of the demo's users are the others of them", http.StatusNotFound)
		return
	}
	if _, err := change(r.Context(), user, friend, false); err != nil {
		d.failed(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// nudge lets a user tell another that he is wanted.
func (d *Demo) nudge(w http.ResponseWriter, r *http.Request, user presence.User) {
	friend := presence.UserID(r.PathValue("friend"))
	if !slices.Contains(users, friend) || friend == user.ID {
		http.Error(w, "who can be nudged are the others of the demo's users", http.StatusNotFound)
		return
	}
	link := "http://" + r.Host + "/demo/?user=" + string(friend)
	if err := d.cfg.Notify(r.Context(), presence.User{App: App, ID: friend}, string(user.ID)+" nudges you", link); err != nil {
		d.failed(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Demo) failed(w http.ResponseWriter, err error) {
	d.cfg.Logger.Warn("the demo page was not answered", "error", err)
	http.Error(w, "this cannot be done now; the node's log says why", http.StatusServiceUnavailable)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body) // the page may be gone
}
