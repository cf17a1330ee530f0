package conformance

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page.
var block = regexp.MustCompile("(?ms)^```(sh|json)\n(.*?)^```$")

// testRestPage runs the commands of the REST page, in their order and in one
// shell, and holds each answer that the page shows against the last one given.
func testRestPage(t *testing.T, s *server) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl", "there is no curl on this machine")
	}
	page, err := os.ReadFile(filepath.Join(rootDir, "docs/interfaces/rest.md"))
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
	out := run(t, ctx, ".", []string{"CURL_HOME=" + home}, "sh", "-c", script)
	answers := strings.Split(out, "=== end of block\n")
	if len(answers) != len(want)+1 || strings.Count(script, "curl ") < 15 {
		t.Fatalf("%d blocks answered of %d:\n%s", len(answers)-1, len(want), out)
	}
	for i, expected := range want {
		lines := strings.Split(strings.TrimSpace(answers[i]), "\n")
		if expected != "" {
			sameShape(t, expected, lines[len(lines)-1])
		}
	}
	t.Logf("rest page: %d commands", strings.Count(script, "curl "))
}

// sameShape compares the fields that two answers have.
func sameShape(t *testing.T, want, got string) {
	t.Helper()
	var w, g map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Errorf("the page shows %s: %v", want, err)
		return
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("got %s: %v", got, err)
		return
	}
	if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
		t.Errorf("the page shows %v, the server answers %v: %s", a, b, got)
	}
	for k, v := range w {
		if list, ok := v.([]any); ok {
			if other, ok := g[k].([]any); !ok || len(list) != len(other) {
				t.Errorf("the page shows %d %s, the server answers %v", len(list), k, g[k])
			}
		}
		if flag, ok := v.(bool); ok && g[k] != flag {
			t.Errorf("the page shows %s: %v, the server answers %v", k, flag, g[k])
		}
	}
}

// TestRestPage has a server of its own: the page begins with nobody there.
func TestRestPage(t *testing.T) {
	t.Parallel()
	testRestPage(t, startServer(t))
}
