package porchlight_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/client"
)

// patience bounds what a real node may take.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	ats.Register()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const shop = `
apps: {shop: {jwt: {issuer: https://id.example, keys: [{secret: 0123456789abcdef0123456789abcdef}]}}}
listen: {http: 127.0.0.1:0, grpc: 127.0.0.1:0}
log_max_bytes: 67108864
`

// running starts a node that stops with the test.
func running(t *testing.T, o porchlight.Options) *porchlight.Server {
	t.Helper()
	srv, err := porchlight.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return srv
}

// ask asks a node for bob, as alice of an app.
func ask(t *testing.T, srv *porchlight.Server, app string) error {
	t.Helper()
	c, err := client.New(client.Config{
		Addr: srv.GRPCAddr().String(), Insecure: true,
		Token: func(context.Context) (string, error) { return srv.Token(app, "alice", time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = c.Query(ctx, "bob")
	return err
}

// A node runs with a configuration by value, in a file or none, on addresses or
// listeners, two beside each other.
func TestWaysToRun(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	onlyGRPC := listen()
	tests := map[string]struct {
		o    porchlight.Options
		app  string
		http bool
	}{
		"nothing but ports":     {porchlight.Options{HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0"}, "demo", true},
		"a file":                {porchlight.Options{ConfigFile: file, Data: t.TempDir()}, "shop", true},
		"a text":                {porchlight.Options{Config: []byte(shop), Data: t.TempDir()}, "shop", true},
		"variables":             {porchlight.Options{Environ: []string{"PORCHLIGHT_LISTEN_HTTP=127.0.0.1:0", "PORCHLIGHT_LISTEN_GRPC=127.0.0.1:0"}}, "demo", true},
		"listeners":             {porchlight.Options{HTTPListener: listen(), GRPCListener: listen()}, "demo", true},
		"one listener, no HTTP": {porchlight.Options{GRPCListener: onlyGRPC}, "demo", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := running(t, tt.o)
			if err := ask(t, srv, tt.app); err != nil {
				t.Errorf("a query: %v", err)
			}
			if got := srv.HTTPAddr() != nil; got != tt.http {
				t.Errorf("an HTTP port: %v, want %v", got, tt.http)
			}
			if tt.o.GRPCListener != nil && srv.GRPCAddr().String() != tt.o.GRPCListener.Addr().String() {
				t.Errorf("gRPC address %v, want that of the listener", srv.GRPCAddr())
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	everywhere, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	tests := map[string]struct {
		o    porchlight.Options
		says string
	}{
		"two configurations":        {porchlight.Options{ConfigFile: "c.yaml", Config: []byte(shop)}, "both ConfigFile and Config"},
		"a text without data":       {porchlight.Options{Config: []byte(shop)}, "no data directory"},
		"an empty text":             {porchlight.Options{Config: []byte{}, Data: t.TempDir()}, "apps: at least one is needed"},
		"a broken text":             {porchlight.Options{Config: []byte("apps: {"), Data: t.TempDir()}, "1"},
		"a wrong variable":          {porchlight.Options{Environ: []string{"PORCHLIGHT_APPS_DEMO_POLICY_GRACE=soon"}}, "PORCHLIGHT_APPS_DEMO_POLICY_GRACE"},
		"development keys anywhere": {porchlight.Options{GRPC: "0.0.0.0:0"}, "not loopback"},
		"the demo among one's own":  {porchlight.Options{Demo: true, Config: []byte(shop), Data: t.TempDir()}, "Demo signs in whoever asks"},
		"the same on a listener":    {porchlight.Options{GRPCListener: everywhere}, "not loopback"},
	}
	for name, tt := range tests {
		if _, err := porchlight.New(tt.o); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, tt.says)
		}
	}
}

// A node that was never started leaves nothing behind: no listener, no directory.
func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := porchlight.New(porchlight.Options{GRPCListener: l})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := srv.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	srv, err := porchlight.New(porchlight.Options{Config: []byte(shop), Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if jwt, err := srv.Token("shop", "alice", time.Minute); err != nil || strings.Count(jwt, ".") != 2 {
		t.Errorf("Token = %q, %v", jwt, err)
	}
	for what, f := range map[string]func() (string, error){
		`no app "demo"`:    func() (string, error) { return srv.Token("demo", "alice", time.Minute) },
		"good for nothing": func() (string, error) { return srv.Token("shop", "alice", 0) },
		"a user id":        func() (string, error) { return srv.Token("shop", "", time.Minute) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want an error that says %q", err, what)
		}
	}
}

// Texts are read again while the node runs: what is told from then on is in the
// new words, and a broken file changes nothing.
func TestReloadTexts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "texts.json")
	write := func(word string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(`{"locales": {"en": {"talking": "`+word+` {user}"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Talking to")
	srv := running(t, porchlight.Options{
		Config:  []byte(shop),
		Environ: []string{"PORCHLIGHT_APPS_SHOP_CATALOGUES_PRODUCTS==" + file},
		Data:    t.TempDir(),
	})
	open := func(user string, o client.Options) *client.Session {
		t.Helper()
		c, err := client.New(client.Config{
			Addr: srv.GRPCAddr().String(), Token: func(context.Context) (string, error) { return srv.Token("shop", user, time.Hour) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s, err := c.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	talking := func(user string) client.Status {
		return client.Status{Template: &client.Ref{Token: "talking", Args: map[string]any{"user": user}}}
	}
	bob := open("bob", client.Options{Status: talking("Carol")})
	alice := open("alice", client.Options{Watch: []string{"bob"}})
	told := func(want string) {
		t.Helper()
		select {
		case change := <-alice.Changes():
			if got := change.Presence.Sessions[0].Text; got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("told nothing, want %q", want)
		}
	}
	set := func(user string) {
		t.Helper()
		if err := bob.Set(t.Context(), talking(user)); err != nil {
			t.Fatal(err)
		}
	}
	told("Talking to Carol")
	write("On the phone with")
	if err := srv.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	set("Dave")
	told("On the phone with Dave") // and nothing before it: Carol's did not change
	write("{")
	if err := srv.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), file+`: line 1: locales["en"]["talking"]`) {
		t.Errorf("a reload with a broken catalogue: %v", err)
	}
	set("Erin")
	told("On the phone with Erin")
}
