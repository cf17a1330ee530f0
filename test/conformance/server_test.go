package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	rootDir = "../.." // of the module, seen from this package

	// patience bounds how long a real process may take to be ready or to go; it
	// measures nothing and only keeps a stuck one from holding up the tests.
	patience = 30 * time.Second
)

// server is the real binary, running `porchlight dev` or `porchlight serve`.
type server struct {
	program string // path of the binary
	config  string // its configuration's file; "" is the development one
	grpc    string // address, host:port
	http    string
}

// startServer builds the binary, starts it on ports of its choice and ends it
// with the test, which fails when it does not go in peace.
func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	s := &server{program: build(t)}
	s.start(t, append([]string{"dev"}, flags...)...)
	return s
}

// startConfigured is startServer with a configuration, whose data directory it
// gives.
func startConfigured(t *testing.T, configuration string) *server {
	t.Helper()
	s := &server{program: build(t)}
	dir := t.TempDir()
	file := filepath.Join(dir, "porchlight.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config = file
	s.start(t, "serve", "--config", file, "--data", filepath.Join(dir, "data"))
	return s
}

// start runs the binary on ports of its choice until the test ends.
func (s *server) start(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(s.program, append(args, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")...)
	cmd.WaitDelay = patience
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	t.Cleanup(func() { endServer(t, cmd, log) })

	ready := make(chan error, 1)
	go func() {
		out := bufio.NewReader(stdout)
		ready <- s.readAddresses(out)
		_, _ = io.Copy(io.Discard, out) // or the server would block on a full pipe
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("waiting for the server's addresses: %v\nits log:\n%s", err, log)
		}
	case <-time.After(patience):
		t.Fatalf("the server printed no addresses within %v; its log:\n%s", patience, log)
	}
}

// readAddresses reads what `porchlight dev` prints until both addresses are
// known: lines whose first word is the protocol and second the address.
func (s *server) readAddresses(out *bufio.Reader) error {
	for s.grpc == "" || s.http == "" {
		text, err := out.ReadString('\n')
		if words := strings.Fields(text); len(words) >= 2 {
			switch strings.TrimSuffix(words[0], ":") {
			case "grpc":
				s.grpc = words[1]
			case "http":
				s.http = strings.TrimPrefix(words[1], "http://")
			}
		}
		if errors.Is(err, io.EOF) {
			return errors.New("it ended before it printed them")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func endServer(t *testing.T, cmd *exec.Cmd, log *logBuffer) {
	t.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the server ended with %v after SIGTERM; its log:\n%s", err, log)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Errorf("the server was still there %v after SIGTERM; its log:\n%s", patience, log)
		<-ended
	}
	// "eyJ" begins every JWT's header.
	if text := log.String(); strings.Contains(text, "eyJ") || strings.Contains(text, "Bearer") {
		t.Errorf("the server's log holds a token:\n%s", text)
	}
}

// build compiles the program once for the test.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "porchlight")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/porchlight")
	cmd.Dir = rootDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return program
}

// token returns the access token that the command line prints for a user.
func (s *server) token(t *testing.T, user string) string {
	t.Helper()
	args := []string{"token", "--app", "demo", "--user", user}
	if s.config != "" {
		args = append(args, "--config", s.config)
	}
	out, err := exec.CommandContext(t.Context(), s.program, args...).Output()
	if err != nil {
		t.Fatalf("porchlight token for %s: %v", user, err)
	}
	return strings.TrimSpace(string(out))
}

// run runs a foreign program until it ends and shows what it printed when it
// fails.
func run(t *testing.T, ctx context.Context, dir string, env []string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = patience
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
	return string(out)
}

// missing skips a test whose tool is not here, in one line; it fails instead
// when PORCHLIGHT_REQUIRE names the tool, as `make test` does for each tool it
// installed: what was set up must also run.
func missing(t *testing.T, tool, why string) {
	t.Helper()
	for _, required := range strings.Fields(os.Getenv("PORCHLIGHT_REQUIRE")) {
		if required == tool {
			t.Fatalf("%s is required here, but %s", tool, why)
		}
	}
	t.Skipf("skipped %s: %s", tool, why)
}

// logBuffer collects a process's log while a test may already read it.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write appends p; it never fails.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
