package demo_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/demo"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// lists keeps friend lists in memory.
type lists map[presence.User][]presence.UserID

var errNever = errors.New("the store does not answer")

// Friends fails for bob.
func (l lists) Friends(_ context.Context, u presence.User) ([]presence.UserID, error) {
	if u.ID == "bob" {
		return nil, errNever
	}
	return l[u], nil
}

// Add puts f on u's list.
func (l lists) Add(_ context.Context, u presence.User, f presence.UserID, _ bool) (bool, error) {
	l[u] = append(l[u], f)
	return true, nil
}

// Remove takes f off it.
func (l lists) Remove(_ context.Context, u presence.User, f presence.UserID, _ bool) (bool, error) {
	l[u] = slices.DeleteFunc(l[u], func(o presence.UserID) bool { return o == f })
	return true, nil
}

func newDemo(t *testing.T) *demo.Demo {
	return demo.New(demo.Config{
		Token: func(app, user string, ttl time.Duration) (string, error) {
			return app + "/" + user + "/" + ttl.String(), nil
		},
		Friends: lists{},
		Notify: func(_ context.Context, to presence.User, text, link string) error {
			if to.ID == "carol" || text != "alice nudges you" && text != "carol nudges you" || link != "http://127.0.0.1:7400/demo/?user="+string(to.ID) {
				return errNever
			}
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/demo", 302, ""},
		{"GET", "/demo/", 200, `<script type="module" src="demo.js">`},
		{"GET", "/demo/demo.js", 200, "PresenceSession"},
		{"GET", "/demo/porchlight-client.js", 200, "PresenceSession"},
		{"GET", "/demo/style.css", 200, ":root"},
		{"GET", "/demo/icon.svg", 200, "<svg"},
		{"GET", "/demo/demo.go", 404, ""},
		{"GET", "/demo/../demo.go", 307, ""},
		{"POST", "/demo/", 405, ""},
		{"POST", "/demo/token/alice", 200, `{"token":"demo/alice/1h0m0s"}`},
		{"GET", "/demo/token/alice", 404, ""},
		{"POST", "/demo/token/mallory", 404, "alice, bob and carol"},
		{"GET", "/demo/friends/alice", 200, `{"friends":[]}`},
		{"PUT", "/demo/friends/alice/bob", 204, ""},
		{"PUT", "/demo/friends/alice/carol", 204, ""},
		{"GET", "/demo/friends/alice", 200, `{"friends":["bob","carol"]}`},
		{"DELETE", "/demo/friends/alice/bob", 204, ""},
		{"GET", "/demo/friends/alice", 200, `{"friends":["carol"]}`},
		{"GET", "/demo/friends/carol", 200, `{"friends":[]}`},
		{"PUT", "/demo/friends/alice/alice", 404, "the others"},
		{"PUT", "/demo/friends/alice/mallory", 404, "the others"},
		{"GET", "/demo/friends/bob", 503, "log says why"},
		{"POST", "/demo/nudge/alice/bob", 204, ""},
		{"POST", "/demo/nudge/carol/alice", 204, ""},
		{"POST", "/demo/nudge/alice/carol", 503, "log says why"},
		{"POST", "/demo/nudge/alice/alice", 404, "the others"},
		{"POST", "/demo/nudge/alice/mallory", 404, "the others"},
		{"POST", "/demo/nudge/mallory/alice", 404, "alice, bob and carol"},
	} {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(c.method, "http://127.0.0.1:7400"+c.path, nil))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s: got %d %q, want %d and %q", c.method, c.path, w.Code, w.Body, c.code, c.says)
		}
		if strings.Contains(w.Body.String(), errNever.Error()) {
			t.Errorf("%s %s shows a cause that is for the log", c.method, c.path)
		}
	}
}

// Who is not the page on this machine gets no token, in whatever way it asks.
func TestOtherPagesMayNotAsk(t *testing.T) {
	t.Parallel()
	d := newDemo(t)
	for _, c := range []struct {
		host, site string
		code       int
	}{
		{"127.0.0.1:7400", "same-origin", 200},
		{"localhost:7400", "same-origin", 200},
		{"localhost", "", 200}, // curl
		{"[::1]:7400", "same-origin", 200},
		{"127.0.0.1:7400", "cross-site", 403},
		{"127.0.0.1:7400", "same-site", 403},
		{"evil.example:7400", "same-origin", 403}, // a name of its own for this machine
		{"127.0.0.1.evil.example", "same-origin", 403},
	} {
		r := httptest.NewRequest("POST", "/demo/token/alice", nil)
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("Host %s, Sec-Fetch-Site %q: got %d, want %d", c.host, c.site, w.Code, c.code)
		}
	}
}
