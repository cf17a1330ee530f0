package natsbus_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

func TestMain(m *testing.M) {
	ats.Register() // before any bubble: its ticker would stop the fake clock
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

func start(t *testing.T, cfg natsbus.Config) *natsbus.Bus {
	t.Helper()
	b, err := natsbus.New(cfg)
	if err != nil {
		t.Fatalf("New: got %v, want no error", err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatalf("Start: got %v, want no error", err)
	}
	t.Cleanup(func() { b.Stop(context.Background()) })
	return b
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]natsbus.Config{
		"no directory":   {},
		"negative limit": {Dir: t.TempDir(), MaxStore: -1},
	} {
		if _, err := natsbus.New(cfg); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestStoresAcrossRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, natsbus.Config{Dir: dir})
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	s, err := start(t, natsbus.Config{Dir: dir}).JetStream().Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil || string(m.Data) != "kept" {
		t.Fatalf("after restart: got %v, %v, want the message", m, err)
	}
}

func TestStartAndStopTolerate(t *testing.T) {
	t.Parallel()
	b, err := natsbus.New(natsbus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Start(t.Context()); err != nil {
			t.Fatalf("Start: got %v, want no error", err)
		}
	}
	if err := b.Health(); err != nil {
		t.Errorf("Health while running: got %v, want nil", err)
	}
	for range 2 {
		if err := b.Stop(t.Context()); err != nil {
			t.Fatalf("Stop: got %v, want no error", err)
		}
	}
	if err := b.Start(t.Context()); err != natsbus.ErrStopped {
		t.Errorf("Start after Stop: got %v, want ErrStopped", err)
	}
	if err := b.Health(); err == nil {
		t.Error("Health after Stop: got nil, want an error")
	}

	never, _ := natsbus.New(natsbus.Config{Dir: t.TempDir()})
	if err := never.Stop(t.Context()); err != nil {
		t.Errorf("Stop before Start: got %v, want no error", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	late, _ := natsbus.New(natsbus.Config{Dir: t.TempDir()})
	if err := late.Start(over); err == nil {
		t.Error("Start with a context that is over: got no error, want one")
	}
}

func TestRefusesDirectory(t *testing.T) {
	t.Parallel()
	used := t.TempDir()
	start(t, natsbus.Config{Dir: used})

	mark := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "porchlight.mode"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "standalone"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, says string }{
		"in use":         {used, "in use by another process"},
		"of a cluster":   {mark("porchlight data directory, layout 1, mode clustered\n"), "belongs to a clustered node"},
		"of the future":  {mark("porchlight data directory, layout 2, mode standalone\n"), "newer version"},
		"damaged mark":   {mark(""), "damaged"},
		"not a folder":   {file, "cannot make the data directory"},
		"engine blocked": {blocked, "cannot open its store"},
	} {
		b, err := natsbus.New(natsbus.Config{Dir: c.dir})
		if err != nil {
			t.Fatal(err)
		}
		err = b.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Errorf("%s: Stop: got %v, want no error", name, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(used, "porchlight.mode")); err != nil || !strings.Contains(string(b), "standalone") {
		t.Errorf("mark of a used directory: got %q, %v, want our mode", b, err)
	}
}

func TestFailedStartFreesTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocker := filepath.Join(dir, "standalone")
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := natsbus.New(natsbus.Config{Dir: dir})
	if err := b.Start(t.Context()); err == nil {
		t.Fatal("Start over a file: got no error, want one")
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatalf("Start when the reason is gone: got %v, want no error", err)
	}
	b.Stop(t.Context())
}

// TestFakeClock proves that the engine lives by the test's clock: an hour of
// keeping messages passes at once, and ends when it should.
func TestFakeClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, natsbus.Config{Dir: dir})
		s, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.JetStream().Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			after time.Duration
			want  uint64
		}{{59 * time.Minute, 1}, {2 * time.Minute, 0}} {
			<-time.After(c.after)
			synctest.Wait()
			info, err := s.Info(t.Context())
			if err != nil || info.State.Msgs != c.want {
				t.Fatalf("%v later: got %v, %v, want %d messages", c.after, info, err, c.want)
			}
		}
		b.Stop(t.Context())
		synctest.Wait()
	})
}

// TestOpensNoPort proves that the engine does not listen where it usually does.
func TestOpensNoPort(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "127.0.0.1:4222"); err == nil {
		l.Close() // the engine's usual port is free here, so the check below means something
	} else {
		t.Skip("skipped: port 4222 of this machine is taken, so the check would say nothing")
	}
	start(t, natsbus.Config{Dir: t.TempDir()})
	l, err := net.Listen("tcp", "127.0.0.1:4222")
	if err != nil {
		t.Fatalf("the engine's usual port: got %v, want it free", err)
	}
	l.Close()
}

func TestLogsToSlog(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	b, err := natsbus.New(natsbus.Config{
		Dir:    t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Stop(t.Context())
	if got := out.String(); !strings.Contains(got, "engine: ") || strings.Contains(got, "level=ERROR") {
		t.Errorf("log: got %s, want the engine's lines and no error", got)
	}
}
