package app_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// patience bounds what a real process may take on a busy machine; it measures
// nothing.
const patience = time.Minute

// brief is less than a stop takes that somebody holds up.
const brief = 10 * time.Second

func TestMain(m *testing.M) {
	ats.Register()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// bounded is a client whose calls end: one that is never answered must fail its
// test, and not hold up all of them.
func bounded() *http.Client { return &http.Client{Timeout: 2 * patience} }

// params are a node in dir on ports of the system's choice, with plenty of room
// on its disk.
func params(t *testing.T, dir string) app.Params {
	c := config.Development()
	c.Data = dir
	c.Listen = config.Listen{HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0"}
	c.LogMaxBytes = 64 << 20
	return app.Params{Config: c, Usage: natsstore.Room(1 << 40), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// running starts a node that stops with the test.
func running(t *testing.T, p app.Params) *app.App {
	t.Helper()
	a, err := app.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stop(t, a) })
	return a
}

func stop(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// dial speaks gRPC to a node as bob.
func dial(t *testing.T, a *app.App) (*grpc.ClientConn, context.Context) {
	t.Helper()
	conn, err := grpc.NewClient(a.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	jwt, err := token.Sign(token.Development(), "bob", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return conn, metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+jwt)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*config.Config)
		says  string
	}{
		"no data directory": {func(c *config.Config) { c.Data = "" }, "data: a directory is needed"},
		"no apps":           {func(c *config.Config) { c.Apps = nil }, "apps: at least one"},
	} {
		p := params(t, t.TempDir())
		c.spoil(p.Config)
		if _, err := app.New(p); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
}

// page gets one page of the HTTP port.
func page(t *testing.T, a *app.App, path string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.HTTPAddr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPages(t *testing.T) {
	t.Parallel()
	a := running(t, params(t, t.TempDir()))
	for path, want := range map[string]struct {
		code int
		says string
	}{
		"/healthz": {200, `{"alive":true}`}, "/readyz": {200, `{"ready":true}`},
		"/": {200, "Porchlight is running"}, "/nothing": {404, ""},
	} {
		code, body := page(t, a, path)
		if code != want.code || !strings.Contains(body, want.says) {
			t.Errorf("%s: got %d %q, want %d with %q", path, code, body, want.code, want.says)
		}
		if strings.HasSuffix(path, "z") && !json.Valid([]byte(body)) {
			t.Errorf("%s: got %q, want JSON", path, body)
		}
	}
}

// A node that was stopped gives its directory free, and a next one finds the
// sessions and their keys.
func TestStopAndStartAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := running(t, params(t, dir))
	conn, ctx := dial(t, first)
	device := isonlinev1.NewIsOnlineServiceClient(conn)
	made, err := device.MakeIsOnlineSession(ctx, &isonlinev1.MakeIsOnlineSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := device.ConnectToIsOnlineSession(ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: made.GetSessionToken()})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetConnected() == nil {
		t.Fatalf("first message: got %v, %v, want connected", m, err)
	}
	health, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: got %v, %v, want serving", health.GetStatus(), err)
	}
	stop(t, first)
	if m, err := stream.Recv(); err != nil || m.GetClosing().GetReason() != isonlinev1.ClosingReason_CLOSING_REASON_DRAINING {
		t.Errorf("the stream at the stop: got %v, %v, want closing, draining", m, err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream's end: got %v, want Unavailable", err)
	}

	second := running(t, params(t, dir))
	conn, ctx = dial(t, second)
	stream, err = isonlinev1.NewIsOnlineServiceClient(conn).ConnectToIsOnlineSession(ctx,
		&isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: made.GetSessionToken()})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || !m.GetConnected().GetResumed() || m.GetConnected().GetSessionId() != made.GetSessionId() {
		t.Errorf("after the restart: got %v, %v, want the same session resumed", m, err)
	}
}

// A start that fails says why and leaves nothing open behind it.
func TestStartFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := t.TempDir()
	running(t, params(t, used))
	for name, c := range map[string]struct {
		spoil func(*app.Params)
		says  string
	}{
		"grpc port taken":   {func(p *app.Params) { p.Config.Listen.GRPC = taken.Addr().String() }, "grpc port"},
		"http port taken":   {func(p *app.Params) { p.Config.Listen.HTTP = taken.Addr().String() }, "http port"},
		"directory in use":  {func(p *app.Params) { p.Config.Data = used }, "in use by another process"},
		"directory a file":  {func(p *app.Params) { p.Config.Data = file(t, "x", 0o600) }, "data directory"},
		"keys for everyone": {func(p *app.Params) { p.Config.SessionKeys = file(t, "x", 0o644) }, ""},
		"keys of nonsense":  {func(p *app.Params) { p.Config.SessionKeys = file(t, "x", 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := params(t, t.TempDir())
			c.spoil(&p)
			a, err := app.New(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Start: got %v, want an error that says %q", err, c.says)
			}
			stop(t, a)
			if p.Config.Data == used {
				return
			}
			if info, err := os.Stat(p.Config.Data); err != nil || !info.IsDir() {
				return
			}
			fixed := params(t, p.Config.Data)
			again, err := app.New(fixed)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Start(t.Context()); err != nil {
				t.Errorf("Start when the reason is gone: %v", err)
			}
			stop(t, again)
		})
	}
}

// file makes a file with that text and mode.
func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// Ports that were handed in are used as they are; with gRPC alone there is no
// HTTP port.
func TestListenersHandedIn(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := params(t, t.TempDir())
	p.GRPC = l
	a := running(t, p)
	if a.HTTPAddr() != nil || a.GRPCAddr() != l.Addr() {
		t.Errorf("addresses: got %v and %v, want %v and none", a.GRPCAddr(), a.HTTPAddr(), l.Addr())
	}
	conn, ctx := dial(t, a)
	if _, err := isonlinev1.NewIsOnlineServiceClient(conn).GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "bob"}); err != nil {
		t.Error(err)
	}
}

// A port that breaks by itself is told of, once.
func TestFailedPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := params(t, t.TempDir())
	p.HTTP = l
	a := running(t, p)
	l.Close()
	select {
	case err := <-a.Failed():
		if !strings.Contains(err.Error(), "http") {
			t.Errorf("Failed: got %v, want it to name the port", err)
		}
	case <-time.After(patience):
		t.Error("Failed said nothing")
	}
}
