package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
)

// secretOfNodes stands in configurations and environments here; no output may have it.
const secretOfNodes = "hunter2-hunter2-hunter2-hunter2-hunter2"

// nodeConfig writes a configuration with one app, whose name tells it from others.
func nodeConfig(t *testing.T, app, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "porchlight.yaml")
	text := fmt.Sprintf("apps:\n  %s:\n    jwt: {issuer: https://id.example, audience: %s, keys: [{id: k, secret: %s}]}\n%s\n", app, app, secretOfNodes, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveArgs are those of a node at ports of the system's choice.
func serveArgs(config, data string, more ...string) []string {
	return append([]string{"serve", "--config", config, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, more...)
}

// refuses checks that a node ends by itself with exit code 1 and one line of its
// own that says why, and shows no secret.
func refuses(t *testing.T, says string, environ []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := command(ctx, args...)
	cmd.Env = append(cmd.Env, environ...)
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	err := cmd.Run()
	var exit *exec.ExitError
	switch out := all.String(); {
	case ctx.Err() != nil:
		t.Errorf("%q: it did not end within %v:\n%s", says, limit, out)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		t.Errorf("%q: got %v, want exit code 1:\n%s", says, err, out)
	case strings.Contains(out, secretOfNodes):
		t.Errorf("%q: the output has a secret:\n%s", says, out)
	case !strings.Contains(out[max(0, strings.LastIndex(out, "porchlight: ")):], says):
		t.Errorf("got:\n%s\nwant an error that says %q", out, says)
	}
}

// first is a list with one of its addresses first, for --peers.
func first(all []string, i int) string {
	list := []string{all[i]}
	for j, a := range all {
		if j != i {
			list = append(list, a)
		}
	}
	return strings.Join(list, ",")
}

// TestServeRefusesNodes is what one node of several can know alone.
func TestServeRefusesNodes(t *testing.T) {
	t.Parallel()
	config := nodeConfig(t, "demo", "peers: {password: "+secretOfNodes+"}")
	alone := stoppedNode(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	clustered := t.TempDir()
	for name, text := range map[string]string{"porchlight.mode": "porchlight data directory, layout 1, mode clustered\n", "porchlight.node": "n7\n"} {
		if err := os.WriteFile(filepath.Join(clustered, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	three := natsbustest.Addresses(t, 3)
	peers := first(three, 0)
	for name, c := range map[string]struct {
		data string
		args []string
		says string
	}{
		"both ways":           {"", []string{"--cluster", "nats://127.0.0.1:1", "--peers", peers}, "take one of the two away"},
		"one peer":            {"", []string{"--peers", three[0]}, "fewer than three"},
		"two peers":           {"", []string{"--peers", three[0] + "," + three[1] + "," + three[0]}, "fewer than three"},
		"no addresses":        {"", []string{"--peers", "a,b,c"}, "not an address that other nodes can reach"},
		"everywhere":          {"", []string{"--peers", "0.0.0.0:7402," + peers}, "not an address that other nodes can reach"},
		"not our address":     {"", []string{"--peers", "192.0.2.1:7402," + peers}, "must be this node's own address"},
		"address in use":      {"", []string{"--peers", taken.Addr().String() + "," + peers}, "and free"},
		"no host":             {"", []string{"--peers", "porchlight.invalid:7402," + peers}, "must be this node's own address"},
		"a bad name":          {"", []string{"--node", "N 1", "--peers", peers}, "cannot be a node's name"},
		"single node's data":  {alone, []string{"--peers", peers}, "porchlight cluster export"},
		"the same, on NATS":   {alone, []string{"--cluster", "nats://127.0.0.1:1"}, "porchlight cluster export"},
		"a member's data":     {clustered, nil, "belongs to a clustered node"},
		"another member's":    {clustered, []string{"--node", "n1", "--peers", peers}, `belongs to node "n7"`},
		"no server":           {"", []string{"--cluster", "nats://127.0.0.1:1"}, "is it running"},
		"no URL":              {"", []string{"--cluster", "127.0.0.1:4222"}, "nats://host:4222"},
		"no host of a server": {"", []string{"--cluster", "nats://porchlight.invalid:4222"}, "porchlight.invalid"},
		"a secret in a URL":   {"", []string{"--cluster", "nats://u:" + secretOfNodes + "@127.0.0.1:1"}, "has a user in it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := c.data
			if data == "" {
				data = filepath.Join(t.TempDir(), "data")
			}
			refuses(t, c.says, nil, serveArgs(config, data, c.args...)...)
		})
	}
	t.Run("open to everybody", func(t *testing.T) {
		t.Parallel()
		refuses(t, "whoever reaches the port could join", nil, serveArgs(nodeConfig(t, "demo", ""), t.TempDir(), "--peers", peers)...)
	})
	t.Run("an old server", func(t *testing.T) {
		t.Parallel()
		refuses(t, "version 2.10.29; Porchlight needs 2.12.0 or newer", nil, serveArgs(config, t.TempDir(), "--cluster", falseServer(t, "2.10.29", "PONG"))...)
	})
	t.Run("long credentials", func(t *testing.T) {
		t.Parallel()
		refuses(t, "scoped signing key", nil, serveArgs(config, t.TempDir(), "--cluster", falseServer(t, "2.14.0", "-ERR 'maximum control line exceeded'"))...)
	})
}

// falseServer says that it is a NATS server of that version, and to a connection
// its one answer.
func falseServer(t *testing.T, version, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":%q,\"max_payload\":8388608,\"headers\":true}\r\n", version)
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if bytes.Contains(b[:n], []byte("PING")) {
						fmt.Fprint(c, answer+"\r\n")
					}
				}
			}()
		}
	}()
	return "nats://" + l.Addr().String()
}

// TestServeRefusesServers: NATS servers that lack something, said with what.
func TestServeRefusesServers(t *testing.T) {
	t.Parallel()
	accounts := natsbustest.Start(t, natsbustest.Settings{Accounts: `
accounts {
  A { jetstream: enabled, users: [ {user: a, password: "` + secretOfNodes + `"} ] }
  B { users: [ {user: b, password: "` + secretOfNodes + `"} ] }
  C { jetstream: enabled, users: [ {user: c, password: "` + secretOfNodes + `", permissions: {publish: ["pl.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*"], subscribe: ["pl.>"]}} ] }
}`})
	as := func(user string) string {
		return nodeConfig(t, "demo", fmt.Sprintf("cluster: {urls: [%q, %q, %q], user: %s, password: %s}", accounts.URLs()[0], accounts.URLs()[1], accounts.URLs()[2], user, secretOfNodes))
	}
	refuses(t, "does not take the credentials", []string{"PORCHLIGHT_CLUSTER_PASSWORD=another"}, serveArgs(as("a"), t.TempDir())...)
	refuses(t, "has no JetStream for this account", nil, serveArgs(as("b"), t.TempDir())...)
	refuses(t, "lacks a right", nil, serveArgs(as("c"), t.TempDir())...)
	file := filepath.Join(t.TempDir(), "node.export")
	if out, errText, err := once(t, "cluster", "export", "--data", stoppedNode(t), file); err != nil {
		t.Fatalf("export: %q, %q, %v", out, errText, err)
	}
	began := time.Now()
	refuses(t, "porchlight cluster rights --import", []string{"PORCHLIGHT_CLUSTER_PASSWORD=" + secretOfNodes},
		"cluster", "import", "--cluster", strings.Join(accounts.URLs(), ","), "--nats-user", "c", file)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("an import without its rights ended after %v: what is denied is known at once", took)
	}
	for says, set := range map[string]natsbustest.Settings{
		"has no JetStream":     {NoStore: true, Count: 1},
		"set max_payload: 8MB": {Payload: "1MB", Count: 1},
		"replicas":             {Count: 1},
	} {
		servers := natsbustest.Start(t, set)
		refuses(t, says, nil, serveArgs(nodeConfig(t, "demo", ""), t.TempDir(), "--cluster", servers.URLs()[0])...)
	}
}

// TestTwoClustersInOneAccount: with prefixes of their own they live side by side;
// with one prefix the second is told so, and the first goes on.
func TestTwoClustersInOneAccount(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	urls := strings.Join(servers.URLs(), ",")
	const small = "log_max_bytes: 67108864" // each reserves its log's room
	one := start(t, serveArgs(nodeConfig(t, "demo", small), t.TempDir(), "--node", "n1", "--cluster", urls)...)
	one.line("http")
	two := start(t, serveArgs(nodeConfig(t, "shop", small+"\ncluster: {prefix: shop}"), t.TempDir(), "--node", "n1", "--cluster", urls)...)
	two.line("http")
	refuses(t, `another configuration`, nil, serveArgs(nodeConfig(t, "shop", ""), t.TempDir(), "--node", "n2", "--cluster", urls)...)
	for _, p := range []*process{one, two} {
		if err := p.stop(); err != nil {
			t.Errorf("a cluster beside another: %v:\n%s", err, p.err.String())
		}
	}
}

// TestServeRefusesPeers: three nodes run, and what others that want to join them
// do wrong ends those alone.
func TestServeRefusesPeers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped in short mode: three engines elect leaders, in seconds")
	}
	three := natsbustest.Addresses(t, 3)
	config := nodeConfig(t, "demo", "peers: {password: "+secretOfNodes+"}")
	var nodes []*process
	for i := range three {
		nodes = append(nodes, start(t, serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", fmt.Sprintf("n%d", i+1), "--peers", first(three, i))...))
	}
	for _, n := range nodes {
		n.line("http")
	}
	fourth := natsbustest.Addresses(t, 1)[0] + "," + strings.Join(three, ",")
	refuses(t, "does not take this node's password", []string{"PORCHLIGHT_PEERS_PASSWORD=another"},
		serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", "n4", "--peers", fourth)...)
	// The engine says so or, if its majority is there before it met the other one,
	// the cluster.
	refuses(t, `the name "n1"`, nil,
		serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", "n1", "--peers", fourth)...)
	refuses(t, "another configuration", nil,
		serveArgs(nodeConfig(t, "shop", "peers: {password: "+secretOfNodes+"}"), filepath.Join(t.TempDir(), "data"), "--node", "n4", "--peers", fourth)...)
	ended := make(chan error, len(nodes))
	for _, n := range nodes { // at once: the last would be alone and without a majority
		go func() { ended <- n.stop() }()
	}
	for range nodes {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("a node beside them: %v", err)
			}
		case <-time.After(limit):
			t.Fatal("a node does not end")
		}
	}
}

// TestStoppedWhileItWaits: a node that is told to stop while it waits for the
// others ends in order, and blames nothing.
func TestStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	said := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	config := nodeConfig(t, "demo", "peers: {password: "+secretOfNodes+"}")
	n := startTo(t, stderr, serveArgs(config, filepath.Join(t.TempDir(), "data"), "--node", "n1", "--peers", first(natsbustest.Addresses(t, 3), 0))...)
	natsbustest.Eventually(t, "it waits", func() error {
		if b, err := os.ReadFile(said); err != nil || !bytes.Contains(b, []byte("waiting for a majority")) {
			return fmt.Errorf("%q, %v", b, err)
		}
		return nil
	})
	err = n.stop()
	b, _ := os.ReadFile(said)
	if err != nil || bytes.Contains(b, []byte("porchlight: ")) || !bytes.Contains(b, []byte("stopped before the start was over")) {
		t.Errorf("got %v and %q, want exit code 0, and that it was stopped", err, b)
	}
}
