// Package natsbustest runs real NATS servers for tests: processes built from the
// version that the module pins, on loopback, at ports of the system's choice.
package natsbustest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen"
)

// Up bounds how long a test waits for servers, on a busy machine.
const Up = time.Minute

// Settings of the servers.
type Settings struct {
	Count int // 0 means 3
	// Accounts is configuration text that says who may do what; without it anybody may.
	Accounts string
	// TLS is configuration text of a tls block for clients.
	TLS string
	// NoStore leaves JetStream off.
	NoStore bool
	// Payload is the largest message; "" means 8MB.
	Payload string
	// Hidden servers do not tell clients of each other.
	Hidden bool
	// Extra is more configuration text.
	Extra string
}

// Servers are one cluster of them.
type Servers struct {
	t     testing.TB
	bin   string
	dir   string
	nodes []*node
}

type node struct {
	name   string
	client string // address
	route  string

	mu  sync.Mutex // over all below
	cmd *exec.Cmd
	log *bytes.Buffer
}

// Build builds the server and returns its path. It takes seconds when the build
// cache has its packages.
func Build(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "nats-server")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		t.Fatalf("build of nats-server: %v\n%s", err, out)
	}
	return bin
}

// Start starts the servers and ends them, by their process ids, with the test.
func Start(t testing.TB, set Settings) *Servers {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode: runs real NATS servers")
	}
	if set.Count == 0 {
		set.Count = 3
	}
	s := &Servers{t: t, bin: Build(t), dir: t.TempDir()}
	addrs := Addresses(t, 2*set.Count)
	for i := range set.Count {
		s.nodes = append(s.nodes, &node{name: fmt.Sprintf("n%d", i+1), client: addrs[2*i], route: addrs[2*i+1]})
	}
	for i, n := range s.nodes {
		if err := os.WriteFile(s.config(i), []byte(s.text(n, set)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range s.nodes {
			s.Kill(i)
		}
		if t.Failed() {
			for _, n := range s.nodes {
				n.mu.Lock()
				t.Logf("log of NATS server %s:\n%s", n.name, tail(n.log.String(), 3000))
				n.mu.Unlock()
			}
		}
	})
	for i := range s.nodes {
		s.Restart(i)
	}
	for i := range s.nodes {
		s.await(i)
	}
	return s
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (s *Servers) config(i int) string { return filepath.Join(s.dir, s.nodes[i].name+".conf") }

// text is the configuration of one server.
func (s *Servers) text(n *node, set Settings) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %s\nlisten: %s\nping_interval: \"2s\"\nping_max: 2\nmax_payload: %s\nno_fast_producer_stall: true\n", n.name, n.client, cmp.Or(set.Payload, "8MB"))
	if !set.NoStore {
		fmt.Fprintf(&b, "jetstream { store_dir: %q, sync_interval: always, max_file_store: 30GB, max_memory_store: 64MB }\n", filepath.Join(s.dir, n.name))
	}
	if len(s.nodes) > 1 {
		fmt.Fprintf(&b, "cluster { name: c1, listen: %s, routes: [", n.route)
		for _, o := range s.nodes {
			fmt.Fprintf(&b, "nats-route://%s,", o.route)
		}
		fmt.Fprintf(&b, "], no_advertise: %v }\n", set.Hidden)
	}
	for _, more := range []string{set.Accounts, set.TLS, set.Extra} {
		b.WriteString(more + "\n")
	}
	return b.String()
}

// Addresses returns free addresses of loopback.
func Addresses(t testing.TB, n int) []string {
	t.Helper()
	addrs, err := listen.Free(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// Restart starts server i, on what it stored before.
func (s *Servers) Restart(i int) {
	s.t.Helper()
	n := s.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		s.t.Fatalf("NATS server %s runs already", n.name)
	}
	n.log = &bytes.Buffer{}
	n.cmd = exec.Command(s.bin, "-c", s.config(i))
	n.cmd.Stderr = n.log
	if err := n.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until server i takes connections.
func (s *Servers) await(i int) {
	s.t.Helper()
	Eventually(s.t, "a NATS server takes connections", func() error {
		c, err := net.DialTimeout("tcp", s.nodes[i].client, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Kill ends server i with SIGKILL; one that does not run is left alone.
func (s *Servers) Kill(i int) {
	n := s.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.cmd = nil
}

// Pause stops server i where it stands, or lets it go on.
func (s *Servers) Pause(i int, stop bool) {
	n := s.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	_ = n.cmd.Process.Signal(signal)
}

// URLs are those for clients.
func (s *Servers) URLs() (all []string) {
	for _, n := range s.nodes {
		all = append(all, "nats://"+n.client)
	}
	return all
}

// Index is the number of the server of that name.
func (s *Servers) Index(name string) int {
	for i, n := range s.nodes {
		if n.name == name {
			return i
		}
	}
	s.t.Fatalf("there is no NATS server %q", name)
	return -1
}

// Eventually calls f until it returns nil, at most for Up.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(Up)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, Up, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
