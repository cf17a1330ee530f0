package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// key is a key of an issuer, by a word.
func key(word string) config.Key {
	return config.Key{ID: word, Secret: config.Secret(strings.Repeat(word+"/", 40)[:40])}
}

// tenant is an app that believes some keys; its issuer has the app's name.
func tenant(words ...string) config.App {
	a := config.App{JWT: config.JWT{Issuer: "unset"}}
	for _, w := range words {
		a.JWT.Keys = append(a.JWT.Keys, key(w))
		a.ServerKeys = append(a.ServerKeys, config.ServerKey{ID: w, Secret: config.Secret(strings.Repeat("server-"+w+"/", 40)[:40])})
	}
	return a
}

// tenants replaces the apps of a configuration. Server keys are told apart by app.
func tenants(c *config.Config, apps map[string]config.App) {
	c.Apps = map[string]config.App{}
	for name, a := range apps {
		a.JWT.Issuer = name
		for i := range a.ServerKeys {
			a.ServerKeys[i].Secret = config.Secret(name) + "-" + a.ServerKeys[i].Secret
		}
		c.Apps[name] = a
	}
}

// jwt signs for a user of an app with one key.
func jwt(t *testing.T, app, word, user string) string {
	t.Helper()
	raw, err := token.Sign(token.Issuer{App: presence.AppID(app), Issuer: app, Keys: []token.Key{{ID: word, Secret: []byte(key(word).Secret)}}}, presence.UserID(user), time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// member is a user's open session.
type member struct {
	api    isonlinev1.IsOnlineServiceClient
	token  string
	stream isonlinev1.IsOnlineService_ConnectToIsOnlineSessionClient
}

func as(t *testing.T, raw string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+raw)
}

// join opens a session that watches some users.
func join(t *testing.T, a *app.App, raw string, watches ...string) member {
	t.Helper()
	conn, _ := dial(t, a)
	m := member{api: isonlinev1.NewIsOnlineServiceClient(conn)}
	made, err := m.api.MakeIsOnlineSession(as(t, raw), &isonlinev1.MakeIsOnlineSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	m.token = made.GetSessionToken()
	for _, u := range watches {
		if _, err := m.api.SubscribeToUserIsOnline(as(t, raw), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: m.token, UserId: u}); err != nil {
			t.Fatal(err)
		}
	}
	if m.stream, err = m.api.ConnectToIsOnlineSession(as(t, raw), &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: m.token}); err != nil {
		t.Fatal(err)
	}
	if first, err := m.stream.Recv(); err != nil || first.GetConnected() == nil {
		t.Fatalf("first message: %v, %v; want connected", first, err)
	}
	return m
}

func (m member) say(t *testing.T, raw, text string) error {
	_, err := m.api.UpdateIsOnlineSession(as(t, raw), &isonlinev1.UpdateIsOnlineSessionRequest{
		SessionToken: m.token, Update: &isonlinev1.IsOnlineUpdate{Properties: map[string]*isonlinev1.Value{"said": {Kind: &isonlinev1.Value_Text{Text: text}}}},
	})
	return err
}

// Keys, apps and policies change under open sessions and a steady load, and
// nobody sees anything of it.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	tenants(p.Config, map[string]config.App{"shop": tenant("k1"), "old": tenant("k1")})
	a := running(t, p)
	const users = 10
	var names []string
	for i := range users {
		names = append(names, fmt.Sprintf("user-%d", i))
	}
	raw := func(i int) string { return jwt(t, "shop", "k1", names[i]) }
	var members []member
	for i := range users {
		members = append(members, join(t, a, raw(i)))
	}
	watcher := join(t, a, jwt(t, "shop", "k1", "watcher"), names...)
	lodger := join(t, a, jwt(t, "old", "k1", "lodger"))

	var said atomic.Int64 // newest text that was acknowledged, for all
	var ended atomic.Bool
	var speakers sync.WaitGroup
	for i := range users {
		signed := raw(i)
		speakers.Go(func() {
			for n := int64(1); !ended.Load(); n++ {
				if err := members[i].say(t, signed, fmt.Sprint(n)); err != nil && status.Code(err) != codes.ResourceExhausted {
					t.Errorf("an update under load: %v", err)
					return
				}
				said.Add(1)
			}
		})
	}
	reload := func(apps map[string]config.App) {
		t.Helper()
		c := *p.Config
		tenants(&c, apps)
		if err := a.Reload(t.Context(), &c); err != nil {
			t.Fatalf("Reload: %v", err)
		}
	}
	for i := range 20 {
		shop := tenant("k2", "k1")
		shop.Policy.Grace = time.Duration(3+i%3) * time.Second
		shop.Limits.Watches = 100 + i
		before := said.Load()
		scraped := make(chan int)
		go func() { scraped <- get(t, a, "/metrics", "") }() // it reads of all apps
		reload(map[string]config.App{"shop": shop, fmt.Sprintf("new%d", i): tenant("k1")})
		if code := <-scraped; code != http.StatusOK {
			t.Errorf("metrics under a reload: %d", code)
		}
		until(t, "updates go on", func() bool { return said.Load() > before+users })
	}
	ended.Store(true)
	speakers.Wait()
	last := names[0]
	until(t, "the last update is taken", func() bool { return members[0].say(t, raw(0), "the end") == nil })
	for {
		m, err := watcher.stream.Recv()
		if err != nil {
			t.Fatalf("the watcher's stream ended: %v", err)
		}
		n := m.GetNotification()
		switch kind := n.GetSession().GetKind(); kind {
		case isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED, isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED:
			t.Fatalf("the watcher saw %v of %s, want updates alone", kind, n.GetUserId())
		}
		if n.GetUserId() == last && strings.Contains(n.String(), "the end") {
			break
		}
	}

	// Now the old key goes, and with it whose tokens it signed.
	reload(map[string]config.App{"shop": tenant("k2"), "new": tenant("k1")})
	for what, c := range map[string]struct {
		raw  string
		want codes.Code
	}{
		"the old key":          {jwt(t, "shop", "k1", "bob"), codes.Unauthenticated},
		"the new key":          {jwt(t, "shop", "k2", "bob"), codes.OK},
		"the new app":          {jwt(t, "new", "k1", "bob"), codes.OK},
		"the app that is gone": {jwt(t, "old", "k1", "bob"), codes.Unauthenticated},
	} {
		if err := ask(t, a, c.raw); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	fresh := jwt(t, "shop", "k2", names[0])
	until(t, "an open session goes on with a token of the new key", func() bool { return members[0].say(t, fresh, "still here") == nil })
	join(t, a, jwt(t, "new", "k1", "first"))
	if err := lodger.say(t, jwt(t, "old", "k1", "lodger"), "x"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call in the app that is gone: %v, want Unauthenticated", err)
	}
	lodger.stream.CloseSend()
	for server, want := range map[string]int{"shop-server-k2/": 200, "new-server-k1/": 200, "shop-server-k1/": 401, "old-server-k1/": 401} {
		name, word, _ := strings.Cut(server, "-server-")
		if got := get(t, a, "/api/v1/users/bob", name+"-"+strings.Repeat("server-"+word, 40)[:40]); got != want {
			t.Errorf("server key of %s, %s: %d, want %d", name, word, got, want)
		}
	}
}

// get asks the HTTP port with a server key and returns the status; 0 is none.
func get(t *testing.T, a *app.App, path, secret string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.HTTPAddr().String()+path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// until polls for a while.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// What cannot be used changes nothing, whatever is wrong with it, and the log
// does not say that anything was read.
func TestReloadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	var log lines
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	tenants(p.Config, map[string]config.App{"shop": tenant("k1")})
	a := running(t, p)
	for name, spoil := range map[string]func(*config.Config, *config.App){
		"no apps":              func(c *config.Config, _ *config.App) { c.Apps = nil },
		"grace over time-out":  func(_ *config.Config, s *config.App) { s.Policy.Grace = time.Hour },
		"no such catalogue":    func(_ *config.Config, s *config.App) { s.Catalogues.Products = map[string]string{"": "/nothing"} },
		"no such key file":     func(_ *config.Config, s *config.App) { s.JWT.Keys[0] = config.Key{PublicKeyFile: "/nothing"} },
		"no such session keys": func(c *config.Config, _ *config.App) { c.SessionKeys = "/nothing" },
		"bad session keys":     func(c *config.Config, _ *config.App) { c.SessionKeys = file(t, "x", 0o600) },
	} {
		c := *p.Config
		tenants(&c, map[string]config.App{"shop": tenant("k2"), "new": tenant("k1")})
		shop := c.Apps["shop"]
		spoil(&c, &shop)
		if c.Apps != nil {
			c.Apps["shop"] = shop
		}
		if err := a.Reload(t.Context(), &c); err == nil {
			t.Errorf("%s: was taken", name)
		}
		for raw, want := range map[string]codes.Code{jwt(t, "shop", "k1", "bob"): codes.OK, jwt(t, "shop", "k2", "bob"): codes.Unauthenticated, jwt(t, "new", "k1", "bob"): codes.Unauthenticated} {
			if err := ask(t, a, raw); status.Code(err) != want {
				t.Errorf("%s: a token afterwards: %v, want %v", name, err, want)
			}
		}
	}
	if strings.Contains(log.String(), "read again") {
		t.Error("the log says that a configuration was read")
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The log says what changed, and what waits for a start; never a secret.
func TestReloadTells(t *testing.T) {
	t.Parallel()
	p := params(t, t.TempDir())
	var log lines
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	tenants(p.Config, map[string]config.App{"shop": tenant("k1"), "gone": tenant("k1"), "same": tenant("k1")})
	a := running(t, p)
	c := *p.Config
	shop := tenant("k2")
	shop.Policy.HeartbeatTimeout = 400 * time.Second
	tenants(&c, map[string]config.App{"shop": shop, "new": tenant("k1"), "same": tenant("k1")})
	c.Listen.HTTP, c.Data, c.LogMaxBytes = "127.0.0.1:1", t.TempDir(), 32<<20
	for range 2 { // what waits, waits also after the next
		log.mu.Lock()
		log.text.Reset()
		log.mu.Unlock()
		if err := a.Reload(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"configuration read again", "apps=3", `keys="[listen.http data log_max_bytes]"`, "longest=6m40s"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, log.String())
			}
		}
	}
	if strings.Contains(log.String(), string(key("k2").Secret)) {
		t.Error("the log has a secret")
	}
	stop(t, a)
	if err := a.Reload(t.Context(), &c); err == nil {
		t.Error("a reload after the stop was taken")
	}
}
