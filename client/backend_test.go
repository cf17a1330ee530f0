package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
)

const backendKey = "a server key that nobody may read"

// asked is one request as a server sees it.
type asked struct{ Method, URI, Body string }

// restServer answers every request alike and keeps what it was asked. That a
// real one answers so is shown by the commands' tests.
func restServer(t *testing.T, answer func(w http.ResponseWriter, n int)) (*Backend, func() []asked) {
	t.Helper()
	got := make(chan asked, 100)
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+backendKey {
			t.Errorf("%s %s came with %q, not with the key", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- asked{r.Method, r.RequestURI, string(body)}
		n++
		answer(w, n)
	}))
	t.Cleanup(srv.Close)
	b, err := NewBackend(BackendConfig{URL: srv.URL, Key: backendKey, HTTP: srv.Client(), Locale: "de"})
	if err != nil {
		t.Fatal(err)
	}
	return b, func() (list []asked) {
		for len(got) > 0 {
			list = append(list, <-got)
		}
		return list
	}
}

func TestBackendRequests(t *testing.T) {
	t.Parallel()
	b, got := restServer(t, func(w http.ResponseWriter, _ int) {
		io.WriteString(w, `{"changed":true,"added":2,"removed":1,"dropped":3,"removed_":true,"session":"s","users":4}`)
	})
	ctx := t.Context()
	check := func(name string, err error, ok bool) {
		if err != nil || !ok {
			t.Errorf("%s: %v, or not what the server said", name, err)
		}
	}
	changed, err := b.AddFriend(ctx, "a/b", "c d", true)
	check("AddFriend", err, changed)
	changed, err = b.RemoveFriend(ctx, "..", "%", false)
	check("RemoveFriend", err, changed)
	added, removed, err := b.SetFriends(ctx, "alice", nil)
	check("SetFriends", err, added == 2 && removed == 1)
	changed, err = b.Block(ctx, "alice", "bob")
	check("Block", err, changed)
	changed, err = b.Unblock(ctx, "alice", "bob")
	check("Unblock", err, changed)
	n, err := b.Drop(ctx, "bob", true)
	check("Drop", err, n == 3)
	n, err = b.DropSession(ctx, "bob", "Q0rYb1cKTo2mFqS4kq1pCA")
	check("DropSession", err, n == 3)
	online, err := b.Online(ctx)
	check("Online", err, online == 4)
	session, err := b.PutPresence(ctx, "bot", ServerPresence{
		Name: "desk phone", TTL: 90 * time.Second, Device: Device{Platform: "phone"},
		Status: Status{Show: Busy, Template: &Ref{Token: "in_call", Args: map[string]any{"room": 7}, Fallback: "In a call"}, Properties: map[string]any{"n": int32(3)}},
	})
	check("PutPresence", err, session == "s")
	if _, err = b.SetAttributes(ctx, "alice", Attribute{Name: "a", Value: json.RawMessage(`[1]`), At: time.Now()}); err == nil {
		t.Errorf("SetAttributes: an answer without a count gave %v", err)
	}
	changed, err = b.RemoveAttribute(ctx, "alice", "a/b")
	check("RemoveAttribute", err, changed)
	want := []asked{
		{"PUT", "/api/v1/users/a%2Fb/friends/c%20d?direction=both", ""},
		{"DELETE", "/api/v1/users/%2E%2E/friends/%25", ""},
		{"PUT", "/api/v1/users/alice/friends", `{"friends":[]}`},
		{"PUT", "/api/v1/users/alice/blocks/bob", ""},
		{"DELETE", "/api/v1/users/alice/blocks/bob", ""},
		{"DELETE", "/api/v1/users/bob/sessions?revoke_tokens=true", ""},
		{"DELETE", "/api/v1/users/bob/sessions/Q0rYb1cKTo2mFqS4kq1pCA", ""},
		{"GET", "/api/v1/online/count", ""},
		{"PUT", "/api/v1/users/bot/presence?name=desk+phone",
			`{"device":{"platform":"phone"},"properties":{"n":3},"rich_text":{"args":{"room":7},"fallback":"In a call","token":"in_call"},"status":"busy","ttl":90}`},
		{"PUT", "/api/v1/users/alice/attributes", `{"attributes":[{"name":"a","value":[1]}]}`},
		{"DELETE", "/api/v1/users/alice/attributes/a%2Fb", ""},
	}
	if diff := cmp.Diff(want, got()); diff != "" {
		t.Errorf("the requests differ (-want +got):\n%s", diff)
	}
}

func TestBackendQuery(t *testing.T) {
	t.Parallel()
	b, got := restServer(t, func(w http.ResponseWriter, _ int) {
		io.WriteString(w, `{"users":[{"user":"bob","available":true,"invisible":true,"last_seen":"2026-05-04T10:20:30.400Z","sessions":[
			{"session":"Q0rYb1cKTo2mFqS4kq1pCA","device":{"platform":"ios","product":"chat"},"status":"busy","rich_text":"Im Gespräch","rich_text_locale":"de",
			 "properties":{"big":9007199254740993,"half":0.5,"map":{"token":"m","fallback":"Dust"},"on":true},"since":"2026-05-04T10:20:30.400Z","revision":2}]},
			{"user":"carol","available":false,"sessions":[],"stale_since":"2026-05-04T10:20:30.400Z","unknown":true}]}`)
	})
	list, err := b.Query(t.Context(), true, "bob", "carol")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 10, 20, 30, 400e6, time.UTC)
	want := []Presence{
		{User: "bob", Available: true, Invisible: true, LastSeen: at, Sessions: []UserSession{{
			ID: "Q0rYb1cKTo2mFqS4kq1pCA", Platform: "ios", Product: "chat", Show: Busy, Text: "Im Gespräch", Locale: "de", Revision: 2, ConnectedAt: at,
			Properties: map[string]any{"big": int64(9007199254740993), "half": 0.5, "map": "Dust", "on": true},
		}}},
		{User: "carol", StaleSince: at, Unknown: true},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("the answer differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]asked{{"POST", "/api/v1/users/query", `{"locale":"de","users":["bob","carol"],"view":true}`}}, got()); diff != "" {
		t.Errorf("the request differs (-want +got):\n%s", diff)
	}
}

func TestBackendPages(t *testing.T) {
	t.Parallel()
	b, got := restServer(t, func(w http.ResponseWriter, n int) {
		page := map[string]any{"friends": []string{fmt.Sprint("friend", n)}}
		if n < 3 {
			page["next"] = fmt.Sprint("after ", n)
		}
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	})
	list, err := b.Friends(t.Context(), "alice")
	if want := []string{"friend1", "friend2", "friend3"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("got %v, %v, want %v", list, err, want)
	}
	if all := got(); len(all) != 3 || all[2].URI != "/api/v1/users/alice/friends?limit=1000&next=after+2" {
		t.Errorf("asked %v, want three pages, each after the last", all)
	}
}

func TestBackendErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status    int
		body      string
		code      Code
		reason    Reason
		retry     time.Duration
		temporary bool
	}{
		"wrong key":    {401, `{"code":"KEY_INVALID","detail":"no app has this server key"}`, CodeUnauthenticated, "KEY_INVALID", 0, false},
		"rate":         {429, `{"code":"RATE_LIMITED","detail":"slower"}`, CodeResourceExhausted, ReasonRateLimited, 2 * time.Second, true},
		"field":        {422, `{"code":"FIELD_INVALID","detail":"x","errors":[{"location":"body.users[3]","message":"too long"}]}`, CodeInvalidArgument, ReasonFieldInvalid, 0, false},
		"a proxy":      {502, `<html>Bad Gateway</html>`, CodeUnavailable, "", 0, true},
		"another page": {404, `not here`, CodeNotFound, "", 0, false},
		"nonsense":     {200, `{"users":`, CodeInternal, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := restServer(t, func(w http.ResponseWriter, _ int) {
				if c.retry > 0 {
					w.Header().Set("Retry-After", "2")
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			_, err := b.Query(t.Context(), false, "bob")
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || e.Reason != c.reason || e.RetryAfter != c.retry || e.Temporary() != c.temporary {
				t.Errorf("got %+v, want %+v", err, c)
			}
			if name == "field" && (e == nil || len(e.Fields) != 1 || e.Fields[0].Path != "body.users[3]") {
				t.Errorf("got fields of %+v, want the one that the server named", e)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, b, b), backendKey) {
				t.Error("the key shows")
			}
		})
	}
}

func TestBackendUnreachable(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	b, err := NewBackend(BackendConfig{URL: srv.URL, Key: backendKey})
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := b.Online(t.Context()); !errors.As(err, &e) || e.Code != CodeUnavailable || !e.Temporary() {
		t.Errorf("got %v, want an error that says unavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Online(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// TestBackendAtTheWrongPort: gRPC's port answers with frames of HTTP/2, which are of no
// use to who reads the error.
func TestBackendAtTheWrongPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	go srv.Serve(l)
	defer srv.Stop()
	b, err := NewBackend(BackendConfig{URL: "http://" + l.Addr().String(), Key: backendKey})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Online(t.Context())
	if err == nil || !strings.Contains(err.Error(), "HTTP port") || strings.Contains(err.Error(), `\x00`) {
		t.Errorf("got %v, want an error that names the right port", err)
	}
}

func TestBackendConfigShowsNoKey(t *testing.T) {
	t.Parallel()
	cfg := BackendConfig{URL: "http://user:password@127.0.0.1", Key: backendKey}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "config", cfg)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&log, verb, cfg)
	}
	if text := log.String(); strings.Contains(text, backendKey) || strings.Contains(text, "password") || strings.Contains(text, fmt.Sprintf("%x", backendKey)) {
		t.Errorf("a secret shows in %s", text)
	}
}

func TestNewBackendRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]BackendConfig{
		"no key":           {URL: "http://127.0.0.1:7400"},
		"no scheme":        {URL: "127.0.0.1:7400", Key: "k"},
		"another scheme":   {URL: "ftp://127.0.0.1", Key: "k"},
		"secret in a URL":  {URL: "http://user:password@127.0.0.1", Key: "k"},
		"question in URL":  {URL: "http://127.0.0.1/?key=secret", Key: "k"},
		"control in a URL": {URL: "http://127.0.0.1/\x00", Key: "k"},
	} {
		if _, err := NewBackend(c); err == nil || strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "key=secret") {
			t.Errorf("%s: got %v, want an error without secrets", name, err)
		}
	}
}
