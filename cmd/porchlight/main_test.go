package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// asCommand makes the test program play porchlight, so that tests drive real
// processes.
const asCommand = "PORCHLIGHT_TEST_AS_COMMAND"

// limit bounds every wait for a process, on a busy machine.
const limit = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" || os.Getenv(benchRole) != "" { // the second: as a child of bench
		os.Unsetenv(asCommand)
		os.Exit(run(os.Args[1:], console{os.Stdout, os.Stderr}))
	}
	os.Exit(m.Run())
}

// process is porchlight running in the background.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	err   bytes.Buffer
	done  chan error
	once  sync.Once
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "PORCHLIGHT_TOKEN=")
	return cmd
}

// start runs porchlight until the test ends or stop.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startTo(t, nil, args...)
}

// startTo is start with standard error going to a file that can be read while the
// process runs.
func startTo(t *testing.T, stderr *os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t.Context(), args...), lines: make(chan string, 1000), done: make(chan error, 1)}
	p.cmd.Stderr = &p.err
	if stderr != nil {
		p.cmd.Stderr = stderr
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			p.lines <- scan.Text()
		}
		io.Copy(io.Discard, out)
		close(p.lines)
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

// line returns the next line of output that has all the words.
func (p *process) line(words ...string) string {
	p.t.Helper()
	timer := time.After(limit)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%v ended without a line with %q; stderr: %s", p.cmd.Args[1:], words, p.err.String())
			}
			found := true
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return line
			}
		case <-timer:
			p.t.Fatalf("%v: no line with %q; stderr: %s", p.cmd.Args[1:], words, p.err.String())
		}
	}
}

// stop interrupts the process and returns how it ended.
func (p *process) stop() (err error) {
	p.once.Do(func() {
		p.cmd.Process.Signal(os.Interrupt)
		for {
			select {
			case _, ok := <-p.lines:
				if !ok {
					p.lines = nil
				}
			case err = <-p.done:
				return
			case <-time.After(limit):
				p.cmd.Process.Signal(syscall.SIGKILL)
			}
		}
	})
	return err
}

// ending bounds a program that runs to its end: a bench beside other tests, all of
// them under the race detector, takes its time.
const ending = 3 * time.Minute

// once runs porchlight to its end.
func once(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ending)
	defer cancel()
	cmd := command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	if out, _, err := once(t, "version"); err != nil || !strings.HasPrefix(out, "porchlight ") {
		t.Errorf("version = %q, %v", out, err)
	}
	for _, name := range []string{"dev", "serve", "token", "watch", "set", "who", "friends", "drop", "webhook", "changes", "snapshot", "history", "bench", "attributes", "notify"} {
		out, _, err := once(t, name, "--help")
		if err != nil || !strings.Contains(out, "Example:") {
			t.Errorf("%s --help = %v, without an example:\n%s", name, err, out)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(broken, []byte("apps:\n  a: {oops: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"no such command":     {[]string{"dance"}, "dance"},
		"who without a user":  {[]string{"who", "bob"}, "--user"},
		"two identities":      {[]string{"who", "--user", "alice", "--token", "x", "bob"}, "give one"},
		"user off loopback":   {[]string{"who", "--grpc", "192.0.2.1:1", "--user", "alice", "bob"}, "loopback"},
		"unknown status":      {[]string{"set", "--user", "bob", "--status", "asleep"}, "online, away or busy"},
		"token of other app":  {[]string{"token", "--app", "shop", "--user", "alice"}, "--config"},
		"token without user":  {[]string{"token"}, "--user"},
		"dev beyond loopback": {[]string{"dev", "--grpc", "0.0.0.0:0"}, "loopback"},
		"broken config":       {[]string{"serve", "--config", broken}, "oops"},
		"no config":           {[]string{"serve", "--config", broken + "x"}, "no such file"},
		"bench far away":      {[]string{"bench", "--grpc", "192.0.2.1:1"}, "loopback"},
		"bench of two nodes":  {[]string{"bench", "--nodes", "2"}, "3 to 7"},
		"bench of given ones": {[]string{"bench", "--nodes", "3", "--http", "127.0.0.1:1"}, "of its own"},
		"bench of two loads":  {[]string{"bench", "--nodes", "3", "--friends-subscription"}, "give either"},
		"bench of no time":    {[]string{"bench", "--nodes", "3", "--seconds", "0"}, "1 or more"},
		"bench of nobody":     {[]string{"bench", "--users", "0"}, "1 or more"},
		"bench of two":        {[]string{"bench", "--grpc", "127.0.0.1:1", "--self"}, "either"},
		"bench of two live":   {[]string{"bench", "--door", "live", "--http", "127.0.0.1:1", "--self"}, "either"},
		"bench of live grpc":  {[]string{"bench", "--door", "live", "--grpc", "127.0.0.1:1"}, "--http"},
		"bench of a fax":      {[]string{"bench", "--door", "fax"}, "fax"},
		"text and template":   {[]string{"set", "--user", "bob", "--text", "a", "--template", "b"}, "--template"},
		"args of nothing":     {[]string{"set", "--user", "bob", "--arg", "a=b"}, "--template"},
		"nobody listens":      {[]string{"who", "--grpc", "127.0.0.1:1", "--user", "alice", "bob"}, "127.0.0.1:1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stderr, err := once(t, test.args...)
			if err == nil || !strings.Contains(stderr, test.want) {
				t.Errorf("%v: %v, stderr %q; want a failure that says %q", test.args, err, stderr, test.want)
			}
		})
	}
}

func TestDevWatchSetWho(t *testing.T) {
	t.Parallel()
	dev := start(t, "dev", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", t.TempDir())
	grpc := strings.Fields(dev.line("grpc "))[1]
	http_ := strings.Fields(dev.line("http "))[1]
	dev.line("Ctrl-C")
	for _, path := range []string{"/healthz", "/readyz", "/", "/demo/"} {
		resp, err := http.Get("http://" + http_ + path)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %v, %v", path, resp, err)
		}
		resp.Body.Close()
	}

	watch := start(t, "watch", "--grpc", grpc, "--user", "alice", "bob")
	watch.line("bob", "offline, never seen")
	lines := start(t, "watch", "--grpc", grpc, "--user", "alice", "--json", "bob")
	var first struct {
		Kind, User string
		Presence   struct{ Available bool }
	}
	if err := json.Unmarshal([]byte(lines.line("bob")), &first); err != nil || first.User != "bob" || first.Presence.Available {
		t.Errorf("first JSON line = %+v, %v", first, err)
	}
	set := start(t, "set", "--grpc", grpc, "--user", "bob", "--status", "busy", "--text", "in a call", "--prop", "room=7")
	watch.line("bob", "online", "opened", "busy", `"in a call"`, `"room":"7"`)
	lines.line(`"opened"`, `"busy"`)

	out, _, err := once(t, "who", "--grpc", grpc, "--user", "alice", "bob", "carol")
	if err != nil || !strings.Contains(out, "in a call") || !strings.Contains(out, "carol") {
		t.Errorf("who = %q, %v", out, err)
	}
	out, _, err = once(t, "who", "--grpc", grpc, "--user", "alice", "--json", "bob")
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"available":true`) {
		t.Errorf("who --json = %q, %v", out, err)
	}
	if err := set.stop(); err != nil {
		t.Errorf("set ended with %v", err)
	}
	watch.line("bob", "offline since", "closed")

	backend := func(method, path string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+http_+"/api/v1/users/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+config.DevelopmentServerKey)
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%s %s: got %v, %v", method, path, resp, err)
		}
		resp.Body.Close()
	}
	backend(http.MethodPut, "alice/friends/carol")
	friends := start(t, "watch", "--grpc", grpc, "--user", "alice", "--friends")
	friends.line("carol", "offline, never seen")
	backend(http.MethodPut, "alice/friends/dave")
	friends.line("dave", "offline, never seen")
	backend(http.MethodDelete, "alice/friends/carol")
	friends.line("unwatched", "carol")
	if err := friends.stop(); err != nil {
		t.Errorf("watch --friends ended with %v", err)
	}
	if _, text, err := once(t, "watch", "--grpc", grpc, "--user", "alice"); err == nil || !strings.Contains(text, "--friends") {
		t.Errorf("watch nobody: got %v, %q, want it refused with what to do", err, text)
	}

	german := start(t, "watch", "--grpc", grpc, "--user", "alice", "--locale", "de-AT", "bob")
	german.line("bob", "offline")
	match := start(t, "set", "--grpc", grpc, "--user", "bob", "--template", "match.playing", "--arg", "map=@map.harbour", "--arg", "score=3", "--arg", "other=2", "--prop", "map=@map.harbour")
	german.line("bob", "online", "opened", `"In einem Spiel auf der Karte Der Hafen, 3 zu 2"`, `"map":"Der Hafen"`)
	out, _, err = once(t, "who", "--grpc", grpc, "--user", "alice", "--locale", "pt", "bob")
	if err != nil || !strings.Contains(out, "Em partida no mapa O Porto, 3 a 2") {
		t.Errorf("who in Portuguese = %q, %v", out, err)
	}
	if err := match.stop(); err != nil {
		t.Errorf("set ended with %v", err)
	}
	if err := watch.stop(); err != nil {
		t.Errorf("watch ended with %v", err)
	}
	if err := dev.stop(); err != nil {
		t.Errorf("dev ended with %v: %s", err, dev.err.String())
	}
}

func TestServeWithConfigAndToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "apps: {shop: {jwt: {issuer: https://id.example, keys: [{id: k1, secret: 0123456789abcdef0123456789abcdef}]}}}\n" +
		"listen: {http: 127.0.0.1:0, grpc: 127.0.0.1:0}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	serve := start(t, "serve", "--config", file, "--data", data)
	grpc := strings.Fields(serve.line("grpc "))[1]
	jwt, _, err := once(t, "token", "--config", file, "--app", "shop", "--user", "alice", "--ttl", "5m")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	who := command(ctx, "who", "--grpc", grpc, "bob")
	who.Env = append(who.Env, "PORCHLIGHT_TOKEN="+strings.TrimSpace(jwt))
	if out, err := who.CombinedOutput(); err != nil || !strings.Contains(string(out), "bob") {
		t.Errorf("who with PORCHLIGHT_TOKEN = %q, %v", out, err)
	}
	if _, stderr, err := once(t, "who", "--grpc", grpc, "--user", "alice", "bob"); err == nil || !strings.Contains(stderr, "JWT_INVALID") {
		t.Errorf("a development token was taken: %v, %q", err, stderr)
	}
	if _, stderr, err := once(t, "serve", "--config", file, "--data", data); err == nil || !strings.Contains(stderr, data) {
		t.Errorf("a second server on one data directory: %v, %q", err, stderr)
	}
	if err := serve.stop(); err != nil {
		t.Errorf("serve ended with %v: %s", err, serve.err.String())
	}
}

// Variables of the environment go over the file.
func TestServeTakesVariables(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("apps: {shop: {jwt: {issuer: https://id.example, keys: [{secret: 0123456789abcdef0123456789abcdef}]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	serve := command(ctx, "serve", "--config", file, "--data", t.TempDir())
	serve.Env = append(serve.Env, "PORCHLIGHT_APPS_SHOP_POLICY_GRACE=soon")
	if out, err := serve.CombinedOutput(); err == nil || !strings.Contains(string(out), "PORCHLIGHT_APPS_SHOP_POLICY_GRACE") {
		t.Errorf("serve with a wrong variable: %v, %s", err, out)
	}
}
