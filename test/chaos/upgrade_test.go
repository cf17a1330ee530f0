package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The versions of the two builds of TestRollingUpgrade.
const oldBuild, newBuild = "0.0.1-old", "0.0.2-new"

// TestRollingUpgrade replaces three nodes, one after the other, by another build
// of the command under load, and then, after all have read a changed
// configuration, puts the first build back: nothing is lost and nobody sees
// anything (R13).
func TestRollingUpgrade(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("PORCHLIGHT_CHAOS_NODES"))
	if err != nil || count < 3 {
		t.Skip("runs with PORCHLIGHT_CHAOS_NODES=3, or more")
	}
	builds := map[string]string{oldBuild: build(t, oldBuild), newBuild: build(t, newBuild)}
	w := newCrowd(t, setting{
		count: count, binary: builds[oldBuild],
		settings: fmt.Sprintf("restart_grace: %v\npeers: {password: among us}", rollGrace),
	}, seedOf(t))
	for i, step := range []struct {
		version string
		change  bool
	}{{newBuild, false}, {oldBuild, true}} {
		where := fmt.Sprintf("roll %d, to %s", i+1, step.version)
		err := w.busy(func() error {
			pause(w.ctx.Done(), time.Second)
			if step.change {
				if err := w.reconfigure(); err != nil {
					return err
				}
			}
			if err := w.upgrade(builds[step.version], step.version); err != nil {
				return err
			}
			pause(w.ctx.Done(), time.Second)
			return nil
		})
		if err == nil {
			err = w.checkCalm()
		}
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		w.count(func(f *nodeFigures) { f.rounds["roll to another build (R13)"]++ })
		w.judge(t, where)
	}
	w.checkHook()
	w.judge(t, "at the end")
	w.stories(t.Logf)
	w.print(t)
}

// build makes the command with a version of its own.
func build(t *testing.T, version string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "porchlight")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version="+version, "-o", program, "./cmd/porchlight")
	cmd.Dir = rootDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return program
}

// upgrade stops one node after the other and starts another program in its place,
// as an operator does: the next one follows when /readyz is good.
func (w *crowd) upgrade(program, version string) error {
	for i, n := range w.fleet.nodes {
		over := w.hurt(harmTermed, i)
		w.fleet.set(i, true)
		began := time.Now()
		if err := n.term(); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		over()
		w.count(func(f *nodeFigures) { f.worstStop = max(f.worstStop, time.Since(began)) })
		n.program = program
		if err := w.fleet.start(i); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		if err := w.mixed(i, version); err != nil {
			return err
		}
		pause(w.ctx.Done(), time.Second)
	}
	return nil
}

// mixed checks that all nodes through the last that was replaced are shown with the
// new version, and those behind it with another one.
func (w *crowd) mixed(last int, version string) error {
	var members struct {
		Members []struct{ Name, Version, Standing string }
	}
	var found string
	_, ok := w.eventually(time.Now().Add(converge), 100*time.Millisecond, func() bool {
		if found = ""; w.ask(w.fleet.nodes[last], "/api/v1/cluster", &members) != nil {
			return false
		}
		for _, m := range members.Members {
			number, _ := strconv.Atoi(strings.TrimPrefix(m.Name, "n"))
			if m.Standing == "alive" && (m.Version == version) != (number <= last+1) {
				found += fmt.Sprintf("%s is version %s; ", m.Name, m.Version)
			}
		}
		return found == "" && len(members.Members) >= len(w.fleet.nodes)
	})
	if !ok {
		return fmt.Errorf("node %d has members %+v: %s", last+1, members.Members, found)
	}
	return nil
}

func (w *crowd) ask(n *node, path string, answer any) error {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+n.http+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+serverKey)
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// reconfigure gives all nodes another app beside the one there is, by SIGHUP: for
// a moment their configurations differ.
func (w *crowd) reconfigure() error {
	for i, n := range w.fleet.nodes {
		text, err := os.ReadFile(n.configFile())
		if err != nil {
			return err
		}
		more := "apps:\n  later:\n    jwt: {issuer: https://id.later.test, audience: later, keys: [{id: k, secret: " + strings.Repeat("s", 48) + "}]}\n"
		changed := strings.Replace(string(text), "apps:\n", more, 1)
		if err := os.WriteFile(n.configFile(), []byte(changed), 0o600); err != nil {
			return err
		}
		if err := w.fleet.signal(i, syscall.SIGHUP); err != nil {
			return err
		}
		pause(w.ctx.Done(), time.Second)
	}
	return nil
}
