package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// patient bounds what a real process may take; it measures nothing.
const patient = time.Minute

// node starts a node that stops with the test.
func node(t *testing.T, listen config.Listen) *App {
	t.Helper()
	c := config.Development()
	c.Data, c.LogMaxBytes, c.Listen = t.TempDir(), 64<<20, listen
	c.Listen.GRPC, c.Listen.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	a, err := New(Params{Config: c, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { halt(t, a) })
	return a
}

func halt(t *testing.T, a *App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func jwtOf(t *testing.T, user presence.UserID) string {
	t.Helper()
	jwt, err := token.Sign(token.Development(), user, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return jwt
}

// dialing is how a test's connections begin.
type dialing func(ctx context.Context, addr string) (net.Conn, error)

// saying begins a connection with some bytes.
func saying(text string) dialing {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil && text != "" {
			_, err = io.WriteString(c, text)
		}
		return c, err
	}
}

// makeGRPC makes a session on the gRPC port.
func makeGRPC(t *testing.T, a *App, user presence.UserID, dial dialing, md ...string) error {
	t.Helper()
	return makeOver(t, a, user, insecure.NewCredentials(), dial, md...)
}

func makeOver(t *testing.T, a *App, user presence.UserID, creds credentials.TransportCredentials, dial dialing, md ...string) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+a.GRPCAddr().String(), grpc.WithTransportCredentials(creds), grpc.WithContextDialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, append([]string{"authorization", "Bearer " + jwtOf(t, user)}, md...)...)
	_, err = isonlinev1.NewIsOnlineServiceClient(conn).MakeIsOnlineSession(ctx, &isonlinev1.MakeIsOnlineSessionRequest{})
	return err
}

// call posts JSON to the HTTP port.
func call(t *testing.T, a *App, tr *http.Transport, procedure, body string, header ...string) (*http.Response, error) {
	t.Helper()
	scheme := "http"
	if tr.TLSClientConfig != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		fmt.Sprintf("%s://%s/isonline.v1.IsOnlineService/%s", scheme, a.HTTPAddr(), procedure), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return (&http.Client{Transport: tr, Timeout: patient}).Do(req)
}

func makeHTTP(t *testing.T, a *App, user presence.UserID, dial dialing, header ...string) error {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) }}
	resp, err := call(t, a, tr, "MakeIsOnlineSession", "{}", append([]string{"Authorization", "Bearer " + jwtOf(t, user)}, header...)...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}

// addrOf is the address of a user's one session.
func addrOf(a *App, user presence.UserID) string {
	list := a.tracker.Sessions(presence.User{App: "demo", ID: user})
	if len(list) != 1 {
		return fmt.Sprintf("%d sessions", len(list))
	}
	return list[0].Device.Addr
}

// The address in a device's record is the client's: through trusted proxies, on
// both ports, and never by the word of anybody else.
func TestClientAddresses(t *testing.T) {
	t.Parallel()
	const v1 = "PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11" + string(binary.BigEndian.AppendUint16(nil, 12)) + "\xcb\x00\x71\x08\xc0\x00\x02\x01\xc8\x22\x1c\xe9"
	for name, c := range map[string]struct {
		proxies []string
		proxy   bool
		says    string // at the beginning of the connection
		header  []string
		want    string // "": the peer's own; "refused": nothing gets through
	}{
		"nobody is trusted":                {nil, false, "", []string{"x-forwarded-for", "203.0.113.9"}, ""},
		"a proxy of HTTP":                  {[]string{"127.0.0.0/8"}, false, "", []string{"x-forwarded-for", "198.51.100.1, 203.0.113.9"}, "203.0.113.9:0"},
		"a proxy that says Forwarded":      {[]string{"127.0.0.1"}, false, "", []string{"forwarded", `for="203.0.113.9:4711"`}, "203.0.113.9:4711"},
		"another proxy is trusted":         {[]string{"10.0.0.0/8"}, false, "", []string{"x-forwarded-for", "203.0.113.9"}, ""},
		"PROXY 1":                          {[]string{"127.0.0.1"}, true, v1, nil, "203.0.113.7:51234"},
		"PROXY 2":                          {[]string{"127.0.0.1"}, true, v2, nil, "203.0.113.8:51234"},
		"PROXY, and the client forges":     {[]string{"127.0.0.1"}, true, v1, []string{"x-forwarded-for", "198.51.100.1"}, "203.0.113.7:51234"},
		"PROXY, from a proxy before it":    {[]string{"127.0.0.1", "203.0.113.0/24"}, true, v1, []string{"x-forwarded-for", "198.51.100.1"}, "198.51.100.1:0"},
		"PROXY from one who is not":        {[]string{"10.0.0.0/8"}, true, v1, nil, "refused"},
		"PROXY where it is not spoken":     {[]string{"127.0.0.1"}, false, v1, nil, "refused"},
		"a proxy that forgets its header":  {[]string{"127.0.0.1"}, true, "", nil, "refused"},
		"who comes without one is himself": {[]string{"10.0.0.0/8"}, true, "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := node(t, config.Listen{TrustedProxies: c.proxies, ProxyProtocol: c.proxy})
			for user, make := range map[presence.UserID]func(*testing.T, *App, presence.UserID, dialing, ...string) error{"grpc": makeGRPC, "http": makeHTTP} {
				own := ""
				dial := func(ctx context.Context, addr string) (net.Conn, error) {
					conn, err := saying(c.says)(ctx, addr)
					if err == nil {
						own = conn.LocalAddr().String()
					}
					return conn, err
				}
				err := make(t, a, user, dial, c.header...)
				if c.want == "refused" {
					if err == nil {
						t.Errorf("%s: got through as %s, want a refusal", user, addrOf(a, user))
					}
					continue
				}
				want := c.want
				if want == "" {
					want = own
				}
				if got := addrOf(a, user); err != nil || got != want {
					t.Errorf("%s: got %s, %v; want %s", user, got, err, want)
				}
			}
		})
	}
}

// Both ports speak TLS and nothing else, HTTP/2 among it; a new certificate is
// served after a reload, a bad one is refused and changes nothing.
func TestTLSOnBothPorts(t *testing.T) {
	t.Parallel()
	pair := listentest.New(t, 1)
	a := node(t, config.Listen{TLS: config.TLS{Cert: pair.Cert, Key: pair.Key}})
	roots := x509.NewCertPool()
	trust := func() {
		b, err := os.ReadFile(pair.Cert)
		if err != nil || !roots.AppendCertsFromPEM(b) {
			t.Fatalf("reading the certificate: %v", err)
		}
	}
	trust()
	visit := func(what string, serial int64) {
		t.Helper()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
		resp, err := call(t, a, tr, "GetUserIsOnline", `{"userId":"bob"}`, "Authorization", "Bearer "+jwtOf(t, "alice"))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); resp.StatusCode != 200 || resp.ProtoMajor != 2 || got != serial {
			t.Errorf("%s: HTTP port: got %s %s, certificate %d; want 200 over HTTP/2, certificate %d", what, resp.Proto, resp.Status, got, serial)
		}
		seen := int64(0)
		creds := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", VerifyConnection: func(s tls.ConnectionState) error {
			seen = s.PeerCertificates[0].SerialNumber.Int64()
			return nil
		}})
		if err := makeOver(t, a, "alice", creds, saying("")); err != nil || seen != serial {
			t.Errorf("%s: gRPC port: %v, certificate %d; want %d", what, err, seen, serial)
		}
	}
	visit("at first", 1)
	cert, key := listentest.Certificate(t, 2, time.Now().Add(time.Hour))
	pair.Write(t, cert, key)
	trust()
	if err := a.Reload(t.Context(), a.p.Config); err != nil {
		t.Fatal(err)
	}
	visit("reloaded", 2)
	pair.Write(t, cert, []byte("no key"))
	if err := a.Reload(t.Context(), a.p.Config); err == nil || !strings.Contains(err.Error(), pair.Key) {
		t.Errorf("reloading a bad pair: got %v, want an error that names the file", err)
	}
	visit("after a bad one", 2)

	if err := makeHTTP(t, a, "bob", saying("")); err == nil {
		t.Error("the HTTP port took a call in the clear")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+a.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := isonlinev1.NewIsOnlineServiceClient(conn).GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "bob"}); err == nil {
		t.Error("the gRPC port took a call in the clear")
	}
}

// A certificate that cannot be read stops the start, and says which.
func TestStartWithoutCertificate(t *testing.T) {
	t.Parallel()
	c := config.Development()
	c.Data, c.LogMaxBytes = t.TempDir(), 64<<20
	c.Listen = config.Listen{HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", TLS: config.TLS{Cert: "/nowhere/tls.crt", Key: "/nowhere/tls.key"}}
	a, err := New(Params{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere/tls.crt") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// Streams on the HTTP port are told that the node stops, and hold it up no
// longer than those of the gRPC port.
func TestStopWithStreamsOnTheHTTPPort(t *testing.T) {
	t.Parallel()
	a := node(t, config.Listen{})
	type end struct {
		said []byte
		at   time.Time
	}
	var began time.Time
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{Protocols: &http.Protocols{}}
		tr.Protocols.SetHTTP1(!http2)
		tr.Protocols.SetUnencryptedHTTP2(http2)
		defer tr.CloseIdleConnections()
		bearer := []string{"Authorization", "Bearer " + jwtOf(t, "alice")}
		made, err := call(t, a, tr, "MakeIsOnlineSession", "{}", bearer...)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(made.Body)
		made.Body.Close()
		session := regexp.MustCompile(`"sessionToken":\s*"([^"]+)"`).FindSubmatch(text)
		if session == nil {
			t.Fatalf("made %s", text)
		}
		request := []byte(`{"sessionToken":"` + string(session[1]) + `"}`)
		frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
		stream, err := call(t, a, tr, "ConnectToIsOnlineSession", string(frame), append(bearer, "Content-Type", "application/connect+json")...)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		first := make([]byte, 5)
		if _, err := io.ReadFull(stream.Body, first); err != nil {
			t.Fatal(err)
		}
		rest := make(chan end, 1)
		go func() { b, _ := io.ReadAll(stream.Body); rest <- end{b, time.Now()} }()
		defer func() {
			e := <-rest
			if !bytes.Contains(e.said, []byte("CLOSING_REASON_DRAINING")) || !bytes.Contains(e.said, []byte(`"unavailable"`)) {
				t.Errorf("HTTP/2 %v: the stream ended with %q, want closing and UNAVAILABLE", http2, e.said)
			}
			if took := e.at.Sub(began); took > streamsEndLimit {
				t.Errorf("HTTP/2 %v: the stream ended %v after the stop began, and not by itself", http2, took)
			}
		}()
	}
	began = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(began); took > 3*streamsEndLimit { // what it stores takes a busy machine a while
		t.Errorf("the stop took %v", took)
	}
}
