package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	rootDir = "../.." // of the module, seen from this package

	// patience bounds what should take a moment; it measures nothing.
	patience = 30 * time.Second

	// crammed is how full a disk may not be: the alarm stands from 95 % on, and
	// somebody else may be writing.
	crammed = 0.9

	// The ports of servers here: below the ones that the system gives to
	// connections. Otherwise a device that dials while the server is away could
	// be given the server's port, or even meet itself.
	firstPort, lastPort = 15_000, 30_000
)

// node is the real binary with its directory; it is killed and started again.
type node struct {
	program, dir string
	role         string // what this test program is to be in place of program: a part in JSON
	grpc, http   string // addresses, the same at every start
	issuer       token.Issuer
	settings     string // of the configuration, beside the app's keys
	args         []string

	cmd     *exec.Cmd
	log     *os.File
	spawned []time.Time // one for each start; devices read it through World
}

// newNode builds the binary and writes its configuration; settings is YAML of
// the top level and policy that of the app. The process ends with the test.
func newNode(t *testing.T, settings, policy string) *node {
	t.Helper()
	n := &node{program: filepath.Join(t.TempDir(), "porchlight"), dir: t.TempDir()}
	if dir := os.Getenv("PORCHLIGHT_CHAOS_DIR"); dir != "" {
		n.dir = filepath.Join(dir, t.Name())
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", n.program, "./cmd/porchlight")
	build.Dir = rootDir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	secret := fmt.Sprintf("%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64())
	n.issuer = token.Issuer{App: "demo", Issuer: "https://id.chaos.test", Audience: "demo", Keys: []token.Key{{ID: "k", Secret: []byte(secret)}}}
	n.settings = fmt.Sprintf(`apps:
  demo:
    jwt: {issuer: %s, audience: demo, keys: [{id: k, secret: %q}]}
    policy: {%s}
`, n.issuer.Issuer, secret, policy)
	n.grpc, n.http = freeAddr(t), freeAddr(t)
	n.makeRoom(t)
	n.prepare(t)
	n.configure(t, settings)
	return n
}

// makeRoom keeps the machine's disk out of the promises: on one that is nearly
// full the real binary raises its alarm and cuts history, as it should.
func (n *node) makeRoom(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(n.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	u, err := natsstore.DiskUsage(n.data())
	if err != nil || u.Share() < crammed {
		return
	}
	unmount, err := mountMemory(n.data())
	if err != nil {
		t.Skipf("the disk of %s is %.0f %% full, and another needs root: %v", n.data(), 100*u.Share(), err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Errorf("%s: %v", n.data(), err)
		}
	})
}

// prepare makes the directory and the log, and ends the process with the test.
func (n *node) prepare(t *testing.T) {
	t.Helper()
	err := os.MkdirAll(n.dir, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if n.log, err = os.OpenFile(filepath.Join(n.dir, "server.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", n.tail(4<<10))
		}
		n.log.Close()
	})
}

// configure writes the configuration that the next start reads.
func (n *node) configure(t *testing.T, settings string) {
	t.Helper()
	if err := os.WriteFile(n.configFile(), []byte(n.settings+settings+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *node) configFile() string { return filepath.Join(n.dir, "porchlight.yaml") }
func (n *node) data() string       { return filepath.Join(n.dir, "data") }

// freeAddr finds a port of loopback that nobody uses.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port found")
	return ""
}

// start starts the process and returns at once.
func (n *node) start() error {
	n.cmd = exec.Command(n.program, append([]string{"serve", "--config", n.configFile(), "--data", n.data(), "--grpc", n.grpc, "--http", n.http}, n.args...)...)
	if n.role != "" {
		n.cmd = exec.Command(n.program, n.args...)
		n.cmd.Env = append(os.Environ(), nodeRole+"="+n.role)
	}
	n.cmd.Stderr = n.log
	n.cmd.SysProcAttr = endWithTest()
	n.spawned = append(n.spawned, time.Now())
	if err := n.cmd.Start(); err != nil {
		n.cmd = nil
		return fmt.Errorf("start the server: %w", err)
	}
	return nil
}

// kill ends the process with -9, if there is one.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait() // says that it was killed
	n.cmd = nil
}

// term asks the process to stop and waits until it has.
func (n *node) term() error {
	ended := make(chan error, 1)
	cmd := n.cmd
	go func() { ended <- cmd.Wait() }()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM: %w", err)
	}
	select {
	case err := <-ended:
		n.cmd = nil
		if err != nil {
			return fmt.Errorf("the server ended with %w after SIGTERM", err)
		}
		return nil
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		n.cmd = nil
		return fmt.Errorf("the server was still there %v after SIGTERM", patience)
	}
}

// ready waits until /readyz says so. down is when it last did not: the server
// was ready between the two.
func (n *node) ready() (down, up time.Time, err error) {
	probe := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	down = time.Now()
	limit := down.Add(patience)
	for time.Now().Before(limit) {
		asked := time.Now()
		resp, err := probe.Get("http://" + n.http + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return down, time.Now(), nil
			}
		}
		down = asked
		<-time.After(3 * time.Millisecond)
	}
	return down, time.Time{}, fmt.Errorf("the server was not ready within %v", patience)
}

// tail is the end of the server's log.
func (n *node) tail(size int64) string {
	st, err := n.log.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(size, st.Size()))
	if _, err := n.log.ReadAt(b, st.Size()-int64(len(b))); err != nil {
		return err.Error()
	}
	return string(b)
}

// complaints are the errors in the server's log.
func (n *node) complaints() ([]string, error) {
	b, err := os.ReadFile(n.log.Name())
	if err != nil {
		return nil, err
	}
	found := blots(string(b))
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if (strings.Contains(line, "level=ERROR") || strings.Contains(line, "porchlight:")) && !slices.Contains(found, line) {
			found = append(found, line)
		}
	}
	return found, nil
}
