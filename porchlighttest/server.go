package porchlighttest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/client"
)

const (
	// patience bounds starting and stopping; it measures nothing.
	patience = 30 * time.Second
	// tokenLife is how long tokens are good: longer than tests with a clock of
	// their own let pass.
	tokenLife = 30 * 24 * time.Hour
	// logSize is room enough for a test, and nothing to reserve.
	logSize = "67108864"
)

// Server is a server of one test. Its methods fail the test when they cannot do
// what they say, so they may be called from the test's goroutine only.
type Server struct {
	// Addr is the gRPC address, URL the HTTP port as http://127.0.0.1:…; both
	// stay over a Restart. InMemory servers have names there that lead nowhere.
	Addr, URL string
	// ServerKey is what the app's backend says after "Bearer " to the server API:
	// the app's first server key, empty when it has none.
	ServerKey string

	t          testing.TB
	s          settings
	grpc, http port
	node       *porchlight.Server
}

// Start runs a server until the end of the test.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	v := &Server{t: t, s: settings{app: "demo"}}
	v.s.options.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	v.s.options.Environ = []string{"PORCHLIGHT_LOG_MAX_BYTES=" + logSize}
	for _, o := range options {
		o(&v.s)
	}
	v.s.options.Data = t.TempDir()
	v.listen()
	v.Addr, v.URL = v.grpc.addr(), "http://"+v.http.addr()
	t.Cleanup(func() {
		v.stop()
		v.grpc.close()
		v.http.close()
	})
	v.start()
	return v
}

func (v *Server) listen() {
	v.t.Helper()
	if v.s.inMemory {
		v.grpc, v.http = &memory{name: "grpc.porchlight.invalid:7401"}, &memory{name: "http.porchlight.invalid:7400"}
		return
	}
	var err error
	if v.grpc, err = newLoopback(); err == nil {
		v.http, err = newLoopback()
	}
	if err != nil {
		v.t.Fatalf("porchlighttest: a port on loopback: %v", err)
	}
}

func (v *Server) start() {
	v.t.Helper()
	o := v.s.options
	o.GRPCListener, o.HTTPListener = v.grpc.open(), v.http.open()
	node, err := porchlight.New(o)
	if err != nil {
		v.t.Fatalf("porchlighttest: %v", err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	if err := node.Start(ctx); err != nil {
		v.t.Fatalf("porchlighttest: start: %v", err)
	}
	v.node = node
	v.ServerKey = node.ServerKey(v.s.app)
}

func (v *Server) stop() {
	v.t.Helper()
	if v.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.t.Context()), patience)
	defer cancel()
	if err := v.node.Stop(ctx); err != nil {
		v.t.Errorf("porchlighttest: stop: %v", err)
	}
	v.node = nil
}

// Restart stops the server as SIGTERM does, and starts it again with what it had
// stored, on the same addresses. Devices are told to come back; meanwhile their
// connections wait.
func (v *Server) Restart() {
	v.t.Helper()
	v.stop()
	v.start()
}

// Token returns an access token of a user.
func (v *Server) Token(user string) string {
	v.t.Helper()
	jwt, err := v.node.Token(v.s.app, user, tokenLife)
	if err != nil {
		v.t.Fatalf("porchlighttest: %v", err)
	}
	return jwt
}

// Client returns a Go client that is signed in as a user. It is closed with the
// test.
func (v *Server) Client(user string) *client.Client {
	v.t.Helper()
	c, err := client.New(v.ClientConfig(user))
	if err != nil {
		v.t.Fatalf("porchlighttest: %v", err)
	}
	v.t.Cleanup(func() { c.Close() })
	return c
}

// ClientConfig is what Client uses, to be changed: to say which device it is, or
// in which language it reads.
func (v *Server) ClientConfig(user string) client.Config {
	v.t.Helper()
	jwt := v.Token(user)
	return client.Config{
		Addr: v.Addr, Token: func(context.Context) (string, error) { return jwt, nil },
		Insecure: true, Device: client.Device{Platform: "test"},
		Dialer: func(ctx context.Context, _ string) (net.Conn, error) { return v.Dial(ctx) },
	}
}

// LiveConfig is ClientConfig for the live door, the WebSocket on the HTTP port.
func (v *Server) LiveConfig(user string) client.Config {
	v.t.Helper()
	cfg := v.ClientConfig(user)
	cfg.Addr = "ws://" + v.http.addr()
	cfg.Dialer = func(ctx context.Context, _ string) (net.Conn, error) { return v.http.dial(ctx) }
	return cfg
}

// Dial connects to the gRPC port, for other clients:
//
//	grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return srv.Dial(ctx) })
//
// It may be called from any goroutine.
func (v *Server) Dial(ctx context.Context) (net.Conn, error) { return v.grpc.dial(ctx) }

// HTTPClient returns a client for URL, whose connections are closed with the test.
func (v *Server) HTTPClient() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return v.http.dial(ctx) }}
	v.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
