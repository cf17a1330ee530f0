package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a page.
var block = regexp.MustCompile("(?ms)^```(sh|json)\n(.*?)^```$")

// runPage runs the commands of a page against a server, in their order and in
// one shell, and holds each answer that the page shows against the last one
// given. It returns what each block of commands printed.
func runPage(t *testing.T, s *server, name string) []string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl", "there is no curl on this machine")
	}
	page, err := os.ReadFile(filepath.Join(rootDir, name))
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	// The page's commands have no flags that only a test needs.
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("silent\nshow-error\nfail-with-body\nmax-time = 30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := "set -eu\n"
	var want []string
	blocks := block.FindAllStringSubmatch(string(page), -1)
	for i, b := range blocks {
		if b[1] == "json" {
			continue
		}
		script += strings.ReplaceAll(b[2], "127.0.0.1:7400", s.http)
		expected := ""
		if i+1 < len(blocks) && blocks[i+1][1] == "json" {
			expected = blocks[i+1][2]
		}
		script += "\necho '=== end of block'\n"
		want = append(want, expected)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	path := filepath.Dir(s.program) + string(os.PathListSeparator) + os.Getenv("PATH")
	out := run(t, ctx, ".", []string{"CURL_HOME=" + home, "PATH=" + path}, "sh", "-c", script)
	answers := strings.Split(out, "=== end of block\n")
	if len(answers) != len(want)+1 {
		t.Fatalf("%d blocks answered of %d:\n%s", len(answers)-1, len(want), out)
	}
	for i, expected := range want {
		lines := strings.Split(strings.TrimSpace(answers[i]), "\n")
		if expected != "" {
			sameShape(t, expected, lines[len(lines)-1])
		}
	}
	t.Logf("%s: %d commands", name, strings.Count(script, "curl "))
	return answers[:len(want)]
}

// TestIsOnlinePage runs curl as the page of the interface shows it: calls, a
// refusal, and a session with its stream.
func TestIsOnlinePage(t *testing.T) {
	t.Parallel()
	answers := runPage(t, startServer(t), "docs/interfaces/isonline.md")
	if len(answers) != 3 {
		t.Fatalf("%d blocks of commands, want 3: a call, a refusal, a session", len(answers))
	}
	for _, says := range []string{`"connected":`, `"userFlag":`, `USER_FLAG_OFFLINE`, `"snapshotDone":`} {
		if !strings.Contains(answers[2], says) {
			t.Errorf("the stream has no %s:\n%s", says, answers[2])
		}
	}
}

// TestPresencePages walks through registering a publisher and letting it see a
// user, as the page shows it.
func TestPresencePages(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		missing(t, "python", "there is no python3 to play a publisher's web server")
	}
	answers := runPage(t, startServer(t), "docs/interfaces/mozpresence-pages.md")
	if len(answers) != 5 || !strings.Contains(answers[2], "/back?state=7&Presence-UID=") {
		t.Errorf("%d blocks of commands, want 5; where a user is sent:\n%s", len(answers), answers)
	}
}
