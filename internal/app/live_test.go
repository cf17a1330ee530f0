package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/door/live"
	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// visitor opens the live door of a node and says hello; it returns the first
// frame that comes back.
func visitor(t *testing.T, a *App, user presence.UserID, secure *tls.Config, header http.Header) (*doortest.Peer, string) {
	t.Helper()
	conn, err := net.Dial("tcp", a.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patient))
	p, answer := doortest.Handshake(t, conn, live.Path, header)
	if p == nil {
		return nil, answer.Status
	}
	if err := p.Send(`{"t":"hello","token":"` + jwtOf(t, user) + `","watch":["` + string(user) + `"]}`); err != nil {
		t.Fatal(err)
	}
	return p, next(t, p)
}

// next reads one message.
func next(t *testing.T, p *doortest.Peer) string {
	t.Helper()
	for {
		if got := p.Take(); len(got) > 0 {
			return got[0]
		}
		if err := p.Next(); err != nil {
			code, reason, _ := p.End()
			t.Fatalf("the connection ended: %v, %d %s", err, code, reason)
		}
	}
}

// The live door in the clear and over TLS: a session, its own notification, and
// the goodbye of a node that stops, which waits no longer than for streams.
func TestLiveDoor(t *testing.T) {
	t.Parallel()
	pair := listentest.New(t, 1)
	roots := x509.NewCertPool()
	if b, err := os.ReadFile(pair.Cert); err != nil || !roots.AppendCertsFromPEM(b) {
		t.Fatalf("reading the certificate: %v", err)
	}
	for name, c := range map[string]struct {
		listen config.Listen
		secure *tls.Config
	}{
		"in the clear": {},
		"TLS":          {config.Listen{TLS: config.TLS{Cert: pair.Cert, Key: pair.Key}}, &tls.Config{RootCAs: roots, ServerName: "localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := node(t, c.listen)
			p, welcome := visitor(t, a, "alice", c.secure, nil)
			if !strings.HasPrefix(welcome, `{"t":"welcome"`) {
				t.Fatalf("got %s", welcome)
			}
			if got := next(t, p); !strings.Contains(got, `"u":"alice","k":"current"`) {
				t.Errorf("got %s, want her own session", got)
			}
			if err := p.Send(`{"t":"ping","id":1}`); err != nil {
				t.Fatal(err)
			}
			if got := next(t, p); !strings.HasPrefix(got, `{"t":"pong","id":1`) {
				t.Errorf("got %s", got)
			}
			began, ended := time.Now(), time.Duration(0)
			said := make(chan string, 1)
			go func() {
				p.Read()
				ended = time.Since(began)
				said <- strings.Join(p.Take(), "\n")
			}()
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			if err := a.Stop(ctx); err != nil {
				t.Errorf("Stop: %v", err)
			}
			if bye := <-said; !strings.Contains(bye, `"reason":"DRAINING"`) || !strings.Contains(bye, `"retry_after":`) {
				t.Errorf("the stop said %s", bye)
			}
			if took := time.Since(began); ended > streamsEndLimit || took > 3*streamsEndLimit { // what it stores takes a busy machine a while
				t.Errorf("the connection ended after %v, the stop took %v", ended, took)
			}
			if code, _, _ := p.End(); code != 1001 {
				t.Errorf("close code %d, want 1001", code)
			}
		})
	}
}

// Limits and origins of the live door count from a reload on, by the true
// address of the client.
func TestReloadOfTheLiveDoor(t *testing.T) {
	t.Parallel()
	a := node(t, config.Listen{TrustedProxies: []string{"127.0.0.1"}, ConnectionsPerAddress: 1})
	from := func(addr string) http.Header { return http.Header{"X-Forwarded-For": {addr}} }
	refused := func(what, frame, reason string) {
		t.Helper()
		if !strings.Contains(frame, `"reason":"`+reason+`"`) {
			t.Errorf("%s: got %s, want %s", what, frame, reason)
		}
	}
	welcome := func(what, frame string) {
		t.Helper()
		if !strings.HasPrefix(frame, `{"t":"welcome"`) {
			t.Errorf("%s: got %s, want a welcome", what, frame)
		}
	}
	_, frame := visitor(t, a, "alice", nil, from("203.0.113.9"))
	welcome("the first of an address", frame)
	if got := addrOf(a, "alice"); got != "203.0.113.9:0" {
		t.Errorf("the record has %s", got)
	}
	_, frame = visitor(t, a, "alice", nil, from("203.0.113.9"))
	refused("the second of an address", frame, "TOO_MANY_CONNECTIONS")
	_, frame = visitor(t, a, "bob", nil, from("203.0.113.10"))
	welcome("another address", frame)

	c := *a.p.Config
	c.Listen.ConnectionsPerAddress = 0
	demo := c.Apps["demo"]
	demo.Limits.ConnectionsPerUser = 1
	demo.CORS.Origins = []string{"https://app.example"}
	c.Apps = map[string]config.App{"demo": demo}
	if err := a.Reload(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	_, frame = visitor(t, a, "alice", nil, from("203.0.113.9"))
	refused("the second of a user", frame, "TOO_MANY_CONNECTIONS")
	_, frame = visitor(t, a, "carol", nil, from("203.0.113.9"))
	welcome("another user", frame)
	_, frame = visitor(t, a, "dave", nil, http.Header{"Origin": {"https://app.example"}})
	welcome("a page of the app", frame)
	if _, status := visitor(t, a, "erin", nil, http.Header{"Origin": {"https://evil.example"}}); !strings.HasPrefix(status, "403") {
		t.Errorf("nobody's page: %s", status)
	}
}
