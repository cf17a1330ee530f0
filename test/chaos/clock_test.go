package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stepClock sets by how many seconds the clock of this process is wrong. It is nil
// but in a program that steppingProgram built: Linux has clocks of one's own for
// processes (time_namespaces(7)), and this one is not among them.
var stepClock func(seconds int64)

// clockEvery is how often a node looks at how wrong it is to be.
const clockEvery = 20 * time.Millisecond

// followClock keeps the clock of this process as wrong as a file says.
func followClock(ctx context.Context, file string) {
	for stepClock != nil && pause(ctx.Done(), clockEvery) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // nobody has said anything yet
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			stepClock(n)
		}
	}
}

// steppingProgram builds this test program anew with a package time whose Now can
// be made wrong; what is measured by the monotonic clock stays right, as when a
// machine's clock is set. It takes a minute or two when it was never built.
func steppingProgram(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for _, edit := range [][2]string{
		{"import (\n", "import (\n\t\"sync/atomic\"\n"},
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "// Step is by how many seconds Now is wrong.\nvar Step atomic.Int64\n\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += Step.Load()\n"},
	} {
		if strings.Count(text, edit[0]) != 1 {
			t.Fatalf("%s is not as it was: %q is not in it once", file, edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	dir := t.TempDir()
	stepped, program := filepath.Join(dir, "time.go"), filepath.Join(dir, "stepping.test")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		file:                                stepped,
		filepath.Join(here, "step_test.go"): filepath.Join(here, "testdata", "step.txt"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{stepped: []byte(text), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	return program
}

// step makes the clock of a node wrong by so many seconds, and waits until it is.
func (w *crowd) step(i int, seconds int64) error {
	n := w.fleet.nodes[i]
	if err := os.WriteFile(clockFile(n), fmt.Appendln(nil, seconds), 0o600); err != nil {
		return err
	}
	want := time.Duration(seconds) * time.Second
	var off time.Duration
	var err error
	_, ok := w.eventually(time.Now().Add(converge), clockEvery, func() bool {
		off, err = w.clockOff(n)
		return err == nil && (off-want).Abs() < 2*time.Second // its page says whole seconds
	})
	if !ok {
		return fmt.Errorf("the clock of node %d is wrong by %v (%w), want %v", i+1, off, err, want)
	}
	return nil
}

// clockOff is how wrong the clock of a node is, as its HTTP port says.
func (w *crowd) clockOff(n *node) (time.Duration, error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+n.http+"/readyz", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	says, err := http.ParseTime(resp.Header.Get("Date"))
	return time.Until(says), err
}

func clockFile(n *node) string { return filepath.Join(n.dir, "clock") }
