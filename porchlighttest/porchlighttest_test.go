package porchlighttest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/porchlighttest"
)

func TestMain(m *testing.M) {
	porchlighttest.Synctest()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// open makes a session.
func open(t *testing.T, c *client.Client, o client.Options) *client.Session {
	t.Helper()
	s, err := c.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// next is the next change of a watched user.
func next(t *testing.T, s *client.Session) client.Change {
	t.Helper()
	for {
		select {
		case c, ok := <-s.Changes():
			if !ok {
				t.Fatalf("the session ended: %v", s.Err())
			}
			if c.Kind == client.ChangePresence {
				return c
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no change came")
		}
	}
}

// Several servers beside each other know nothing of each other's users.
func TestServersAreApart(t *testing.T) {
	t.Parallel()
	one, two := porchlighttest.Start(t), porchlighttest.Start(t)
	if one.Addr == two.Addr || one.URL == two.URL {
		t.Fatalf("both listen on %s and %s", one.Addr, one.URL)
	}
	open(t, one.Client("bob"), client.Options{Status: client.Status{Text: "here"}})
	for srv, want := range map[*porchlighttest.Server]bool{one: true, two: false} {
		p, err := srv.Client("alice").Query(t.Context(), "bob")
		if err != nil || p[0].Available != want {
			t.Errorf("bob is available: %v, %v, want %v", p, err, want)
		}
	}
	if _, err := net.Dial("tcp", one.Addr); err != nil {
		t.Errorf("Addr is no address: %v", err)
	}
	if one.ServerKey == "" {
		t.Error("ServerKey is empty")
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	for name, srv := range map[string]*porchlighttest.Server{
		"loopback": porchlighttest.Start(t), "in memory": porchlighttest.Start(t, porchlighttest.InMemory()),
	} {
		resp, err := srv.HTTPClient().Get(srv.URL + "/readyz")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: /readyz = %s", name, resp.Status)
		}
	}
}

// ServerKey opens the server API, and nothing else does.
func TestServerAPI(t *testing.T) {
	t.Parallel()
	srv := porchlighttest.Start(t)
	for key, want := range map[string]int{srv.ServerKey: http.StatusOK, "another": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/users/bob", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := srv.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s, %v, want %d: %s", resp.Status, err, want, b)
		}
	}
}

// What is stored outlives a restart, the addresses stay, clients come back.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]porchlighttest.Option{"loopback": nil, "in memory": {porchlighttest.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := porchlighttest.Start(t, options...)
			addr, url := srv.Addr, srv.URL
			bob := open(t, srv.Client("bob"), client.Options{Status: client.Status{Text: "before"}})
			alice := open(t, srv.Client("alice"), client.Options{Watch: []string{"bob"}})
			if got := next(t, alice).Presence.Sessions[0].Text; got != "before" {
				t.Fatalf("bob says %q, want before", got)
			}
			srv.Restart()
			if srv.Addr != addr || srv.URL != url {
				t.Errorf("after a restart: %s and %s, before %s and %s", srv.Addr, srv.URL, addr, url)
			}
			// The link may still be down: then it is said when it is back.
			if err := bob.Set(t.Context(), client.Status{Text: "after"}); err != nil {
				t.Logf("while the link is down: %v", err)
			}
			for next(t, alice).Presence.Sessions[0].Text != "after" {
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	const shop = "apps: {shop: {jwt: {issuer: https://id.example, keys: [{secret: 0123456789abcdef0123456789abcdef}]}}}"
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	limited := porchlighttest.Set("apps.shop.limits.batch", "1")
	for name, o := range map[string]porchlighttest.Option{"Config": porchlighttest.Config(shop), "ConfigFile": porchlighttest.ConfigFile(file)} {
		srv := porchlighttest.Start(t, o, limited, porchlighttest.App("shop"))
		_, err := srv.Client("alice").Query(t.Context(), "bob", "carol")
		if err == nil || !strings.Contains(err.Error(), "LIMIT_BATCH") {
			t.Errorf("%s: two users over a limit of one: %v", name, err)
		}
		if srv.ServerKey != "" {
			t.Errorf("%s: a server key though the app has none", name)
		}
	}
}

// A device that falls silent in a bubble is gone after the heartbeat time-out of
// the bubble's clock, and everything ends with the test.
func TestInBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := porchlighttest.Start(t, porchlighttest.InMemory(), porchlighttest.Set("apps.demo.policy.grace", "20s"))
		lost := make(chan net.Conn, 10)
		cfg := srv.ClientConfig("bob")
		cfg.Dialer = func(ctx context.Context, _ string) (net.Conn, error) {
			if len(lost) > 0 {
				return nil, net.ErrClosed // no way back
			}
			c, err := srv.Dial(ctx)
			lost <- c
			return c, err
		}
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open(t, c, client.Options{})
		alice := open(t, srv.Client("alice"), client.Options{Watch: []string{"bob"}})
		if !next(t, alice).Presence.Available {
			t.Fatal("bob is not there")
		}
		cut := time.Now()
		(<-lost).Close()
		lost <- nil
		if next(t, alice).Presence.Available {
			t.Fatal("bob is still there")
		}
		if gone := time.Since(cut); gone < 20*time.Second || gone > 22*time.Second {
			t.Errorf("bob was gone after %v, want the grace of 20s", gone)
		}
	})
}

// The examples are tests.
func TestExamples(t *testing.T) {
	t.Parallel()
	t.Run("bob is online", testBobIsOnline)
	t.Run("long call", testLongCall)
}
