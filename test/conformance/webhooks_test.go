package conformance

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sample is one receiver of the page.
type sample struct {
	name    string // of its file
	program []string
	url     string
	lines   chan string
}

// start writes the sample's code, on a port of its own, and runs it.
func (s *sample) start(t *testing.T, ctx context.Context, code string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.url = "http://127.0.0.1:" + port + "/"
	file := filepath.Join(t.TempDir(), s.name)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(code, "9000", port)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(s.program[1:], file)
	if s.program[0] == "go" { // the program itself, so that it can be ended
		binary := filepath.Join(t.TempDir(), "receiver")
		run(t, ctx, ".", nil, "go", "build", "-o", binary, file)
		s.program, args = []string{binary}, nil
	}
	cmd := exec.CommandContext(ctx, s.program[0], args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &logBuffer{}
	l.Close() // not before: a build takes seconds, and others look for a port meanwhile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	s.lines = make(chan string, 100)
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			s.lines <- scan.Text()
		}
	}()
	for end := time.Now().Add(patience); ; {
		resp, err := http.Post(s.url, "application/json", strings.NewReader(`{"type":"presence.changes","events":[{"user":"mallory","kind":"opened","user_seq":1}]}`))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s answers %d without a signature, want 401", s.name, resp.StatusCode)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v\n%s", s.name, err, cmd.Stderr)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// TestReceiversOfThePage runs the receivers that docs/interfaces/webhooks.md
// shows, as they stand there, behind one real server.
func TestReceiversOfThePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(rootDir, "docs/interfaces/webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	var all []*sample
	var flags []string
	for language, s := range map[string]*sample{
		"go": {name: "receiver.go", program: []string{"go"}}, "js": {name: "receiver.mjs", program: []string{"node"}}, "python": {name: "receiver.py", program: []string{"python3"}},
	} {
		code := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(page)
		if code == nil {
			t.Fatalf("the page has no receiver in %s", language)
		}
		if _, err := exec.LookPath(s.program[0]); err != nil {
			missing(t, s.program[0], "there is no "+s.program[0]+" on this machine")
		}
		s.start(t, ctx, string(code[1]))
		all, flags = append(all, s), append(flags, "--webhook", s.url)
	}
	server := startServer(t, flags...)
	set(t, server, http.MethodPut, "alice")
	set(t, server, http.MethodDelete, "alice")
	for _, s := range all {
		for _, want := range []string{"alice opened 1 available: true", "alice closed 2 available: false"} {
			select {
			case line := <-s.lines:
				if !strings.EqualFold(line, want) { // Python's True
					t.Errorf("%s printed %q, want %q", s.name, line, want)
				}
			case <-ctx.Done():
				t.Fatalf("%s did not print %q", s.name, want)
			}
		}
	}
}

// set sets a user's presence, or takes it away.
func set(t *testing.T, s *server, method, user string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.http+"/api/v1/users/"+user+"/presence", strings.NewReader(`{"ttl":60}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer porchlight development server key, known to everyone, loopback only")
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s the presence of %s: %s", method, user, resp.Status)
	}
}
