package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write puts a configuration with these apps into a file.
func write(t *testing.T, path, rest string, apps ...string) {
	t.Helper()
	text := "data: node\nlisten: {http: 127.0.0.1:0, grpc: 127.0.0.1:0}\n" + rest + "apps:\n"
	for _, name := range apps {
		text += fmt.Sprintf("  %s:\n    jwt: {issuer: %s, keys: [{id: k, secret: %s}]}\n", name, name, strings.Repeat(name+"/", 40)[:40])
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	write(t, good, "", "shop", "chat")
	write(t, bad, "oops: 1\nrestart_grace: 5\n", "shop")
	for _, args := range [][]string{{good}, {"--config", good}, {"--config=" + good, good}} {
		out, errText, err := once(t, append([]string{"config", "check"}, args...)...)
		if err != nil || !strings.Contains(out, "is good") || !strings.Contains(out, "app chat") || errText != "" {
			t.Errorf("%v: %q, %q, %v; want the summary", args, out, errText, err)
		}
	}
	out, errText, err := once(t, "config", "check", bad)
	if err == nil || out != "" || !strings.Contains(errText, bad+`:3: unknown key "oops"`) || !strings.Contains(errText, bad+":4: restart_grace") {
		t.Errorf("bad: %q, %q, %v; want both lines and an exit code", out, errText, err)
	}
	for path, ok := range map[string]bool{good: true, bad: false} {
		out, _, err := once(t, "config", "check", "--json", path)
		var answer struct {
			OK       bool
			Problems []struct {
				File string
				Line int
			}
			Summary *struct{ Apps []struct{ Name string } }
		}
		if e := json.Unmarshal([]byte(out), &answer); e != nil || answer.OK != ok || (err == nil) != ok || (answer.Summary != nil) != ok {
			t.Errorf("%s: %s, %v, %v", path, out, e, err)
		}
		if !ok && (len(answer.Problems) != 2 || answer.Problems[0].Line != 3 || answer.Problems[0].File != bad) {
			t.Errorf("problems = %+v, want two, the first on line 3", answer.Problems)
		}
	}
	for name, args := range map[string][]string{"none": {}, "two": {good, "--config", bad}, "missing": {good + "x"}} {
		if _, errText, err := once(t, append([]string{"config", "check"}, args...)...); err == nil || errText == "" {
			t.Errorf("%s: %q, %v; want an error", name, errText, err)
		}
	}
}

// SIGHUP has a running node take up the new file; a bad one is refused with its
// line, and a session stays through all of it.
func TestReloadBySignal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "p.yaml")
	write(t, path, "", "shop")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	node := startTo(t, log, "serve", "--config", path)
	grpc := strings.Fields(node.line("grpc "))[1]
	node.line("http ")
	signed := func(app, user string) string {
		t.Helper()
		out, _, err := once(t, "token", "--config", path, "--app", app, "--user", user)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	alice := signed("shop", "alice")
	watch := start(t, "watch", "--grpc", grpc, "--token", alice, "bob")
	watch.line("bob", "offline")

	hup := func(says string) {
		t.Helper()
		if err := node.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(limit); ; <-tick.C {
			text, err := os.ReadFile(log.Name())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), says) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("no %q in the log: %s", says, text)
			}
		}
	}
	write(t, path, "", "shop", "chat")
	hup(`added=[chat]`)
	carol := signed("chat", "carol")
	if _, errText, err := once(t, "who", "--grpc", grpc, "--token", carol, "carol"); err != nil {
		t.Errorf("in the new app: %v, %s", err, errText)
	}
	write(t, path, "oops: 1\n", "shop")
	hup(`p.yaml:3: unknown key \"oops\"`)
	if _, errText, err := once(t, "who", "--grpc", grpc, "--token", carol, "carol"); err != nil {
		t.Errorf("after a file that was refused: %v, %s", err, errText)
	}
	write(t, path, "", "shop")
	hup(`removed=[chat]`)
	if _, errText, err := once(t, "who", "--grpc", grpc, "--token", carol, "carol"); err == nil || !strings.Contains(errText, "issuer") {
		t.Errorf("in the app that is gone: %v, %s; want it refused", err, errText)
	}
	start(t, "set", "--grpc", grpc, "--token", signed("shop", "bob"), "--status", "busy")
	watch.line("bob", "busy")
	if err := watch.stop(); err != nil {
		t.Errorf("watch ended with %v", err)
	}
	if err := node.stop(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}
