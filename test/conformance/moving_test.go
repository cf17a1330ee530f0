package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moving is a page that tells how to move an app here.
type moving struct {
	page     string
	commands []string // in its console blocks
	listen   []string // the last of them, without the program
	events   []string // what the receiver must print, each in a line of its own
	js       string   // what its Node program must print
}

// TestMovingPages does what the two pages tell, line by line: their
// configuration, their commands, their programs.
func TestMovingPages(t *testing.T) {
	t.Parallel()
	for _, m := range []moving{
		{
			page: "docs/moving-from-rongcloud.md",
			commands: []string{
				"porchlight config check porchlight.yaml", "porchlight serve --config porchlight.yaml",
				"porchlight webhook listen --format rongcloud --secret plSecret-7hQ2",
			},
			listen: []string{"webhook", "listen", "--format", "rongcloud", "--secret", "plSecret-7hQ2"},
			events: []string{`"status":"0"`, `"status":"1"`},
			js:     "{ code: 200, status: '0' }",
		},
		{
			page: "docs/moving-from-tencentim.md",
			commands: []string{
				"porchlight config check porchlight.yaml", "porchlight serve --config porchlight.yaml", "porchlight webhook listen --format tencentim",
			},
			listen: []string{"webhook", "listen", "--format", "tencentim"},
			events: []string{`"Action":"Login"`, `"Action":"Disconnect"`},
			js:     "ActionStatus: 'OK'",
		},
	} {
		t.Run(filepath.Base(m.page), func(t *testing.T) { t.Parallel(); m.try(t) })
	}
}

// fenced is a fenced block of a page, whatever is in it.
var fenced = regexp.MustCompile("(?ms)^```(yaml|console|js)\n(.*?)^```$")

func (m moving) try(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rootDir, m.page))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, b := range fenced.FindAllStringSubmatch(string(text), -1) {
		blocks[b[1]] += b[2]
	}
	if got := strings.Split(strings.TrimSpace(blocks["console"]), "\n"); !slices.Equal(got, m.commands) {
		t.Fatalf("the page has the commands %q, and this test tries %q", got, m.commands)
	}
	s := &server{program: build(t)}
	receiver, told := m.receive(t, s)
	dir := t.TempDir()
	file := filepath.Join(dir, "porchlight.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(blocks["yaml"], "127.0.0.1:9000", receiver)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	run(t, ctx, dir, nil, s.program, "config", "check", "porchlight.yaml")
	s.start(t, "serve", "--config", file)
	if _, err := exec.LookPath("python3"); err != nil && strings.Contains(string(text), "python3") {
		missing(t, "python", "there is no python3 on this machine")
	}
	runPage(t, s, m.page)
	for _, want := range m.events {
		if !told(want) {
			t.Errorf("the receiver did not print %s", want)
		}
	}
	m.runNode(t, s, blocks["js"])
}

// receive starts the page's receiver on a port of its choice. What it returns
// waits for a text in its output.
func (m moving) receive(t *testing.T, s *server) (address string, told func(string) bool) {
	t.Helper()
	cmd := exec.Command(s.program, append(slices.Clone(m.listen), "--addr", "127.0.0.1:0", "--json")...)
	cmd.WaitDelay = patience
	log := &logBuffer{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			lines <- in.Text()
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for range lines { // to its end, or Wait would close the pipe under the reader
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the receiver ended with %v:\n%s", err, log)
		}
	})
	limit := time.After(patience)
	next := func() (string, bool) {
		select {
		case line, ok := <-lines:
			return line, ok
		case <-limit:
			return "", false
		}
	}
	first, _ := next()
	var hello struct{ Listening string }
	if err := json.Unmarshal([]byte(first), &hello); err != nil || hello.Listening == "" {
		t.Fatalf("the receiver begins with %q; its log:\n%s", first, log)
	}
	address = strings.TrimSuffix(strings.TrimPrefix(hello.Listening, "http://"), "/")
	seen := ""
	return address, func(want string) bool {
		limit = time.After(patience)
		for !strings.Contains(seen, want) {
			line, ok := next()
			if !ok {
				return false
			}
			seen += line + "\n"
		}
		return true
	}
}

// runNode runs the page's program where the vendors' packages are.
func (m moving) runNode(t *testing.T, s *server, program string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node", "there is no node on this machine")
	}
	if _, err := os.Stat("node/node_modules/rongcloud-sdk"); err != nil {
		missing(t, "node", "its packages are not installed: make test-tools does it")
	}
	cache, err := filepath.Abs("node/node_modules/.cache")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, "moving-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	text := "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\n" + strings.ReplaceAll(program, "127.0.0.1:7400", s.http)
	file := filepath.Join(dir, "page.mjs")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	if out := run(t, ctx, dir, nil, node, file); !strings.Contains(out, m.js) {
		t.Errorf("the page's program printed %s, want %s", out, m.js)
	}
}
