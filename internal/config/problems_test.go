package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every problem is told, with its line, and with the lines around it.
func TestAllProblemsShowTheirLines(t *testing.T) {
	t.Parallel()
	const text = `apps:
  shop:
    jwt:
      issuer: i
      keys: [{secret: short}]
    policy:
      grace: 40s
  chat:
    limits: {watches: -1}
listen:
  trusted_proxies:
    - 10.0.0.0/8
    - nonsense
restart_grace: -1s
`
	_, err := Parse([]byte(text))
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("err = %v, want an *Error", err)
	}
	want := []Problem{
		{Line: 5, Path: "apps.shop.jwt.keys[0].secret"},
		{Line: 7, Path: "apps.shop.policy.grace"},
		{Line: 8, Path: "apps.chat.jwt.issuer"}, // missing: where it should be
		{Line: 8, Path: "apps.chat.jwt.keys"},
		{Line: 9, Path: "apps.chat.limits.watches"},
		{Line: 13, Path: "listen.trusted_proxies[1]"},
		{Line: 14, Path: "restart_grace"},
	}
	if len(e.Problems) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%v", len(e.Problems), len(want), err)
	}
	for i, w := range want {
		if g := e.Problems[i]; g.Line != w.Line || g.Path != w.Path {
			t.Errorf("problem %d: line %d, %s; want line %d, %s", i, g.Line, g.Path, w.Line, w.Path)
		}
	}
	for _, line := range []string{"7 problems", ">    7 |       grace: 40s\n               ^", "keys: [{secret: (not shown)"} {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("the error lacks %q:\n%v", line, err)
		}
	}
}

// What the decoder would take silently, or stop at, is told at once.
func TestStrict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"two unknown keys":      {"lisen: {}\ndatta: x", "2 problems"},
		"list for a mapping":    {"listen: [a]", "listen: want a mapping"},
		"text for a list":       {"listen: {trusted_proxies: 10.0.0.0/8}", "want a list"},
		"list for a text":       {"data: [a]", "want one value"},
		"number without unit":   {"restart_grace: 6", "write 35s"},
		"fraction of a byte":    {"log_max_bytes: 1.5", "not a whole number"},
		"text for a number":     {"log_max_bytes: many", "not a whole number"},
		"octal text":            {"data: 0123", "put it in quotes"},
		"yes":                   {"listen: {proxy_protocol: yes}", "neither true nor false"},
		"not a number":          {"apps: {a: {limits: {opens_per_second: .nan}}}", "not a number"},
		"two documents":         {"data: x\n---\ndata: y", "second document"},
		"twice the same key":    {"data: x\ndata: y", "already defined"},
		"alias of itself":       {"apps: &x {a: *x}", "unknown key"},
		"unknown key in a list": {"apps: {a: {server_keys: [{id: a, sercet: b}]}}", "apps.a.server_keys[0]: unknown key"},
		"unknown merged key":    {"apps: {a: {policy: {<<: {graze: 1s}}}}", "graze"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%q) = %v, want an error with %q", test.text, err, test.want)
			}
		})
	}
}

// Anchors, aliases and merged mappings are read, and found for errors.
func TestAliases(t *testing.T) {
	t.Parallel()
	own := "    jwt: {issuer: j, keys: [{secret: " + secret + "}]}\n"
	head := "apps:\n  a: &base\n    jwt: {issuer: i, keys: [{secret: " + secret + "}]}\n    policy: &p {grace: 5s}\n  b:\n"
	text := head + "    <<: *base\n" + own
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Apps["b"]; b.Policy.Grace != 5*time.Second || b.JWT.Issuer != "j" {
		t.Errorf("b = %v, %s; want what a has, 5s, and its own issuer, j", b.Policy.Grace, b.JWT.Issuer)
	}
	if _, err := Parse([]byte(strings.Replace(text, "5s", "50s", 1))); err == nil || !strings.Contains(err.Error(), "line 4: apps.b.policy.grace") {
		t.Errorf("err = %v, want line 4 for b too", err)
	}
	if _, err := Parse([]byte(head + own + "    <<: *base\n")); err == nil || !strings.Contains(err.Error(), "must be the first key") {
		t.Errorf("merged last: err = %v, want it refused", err)
	}
}

// A text of few bytes that stands for a huge one ends soon.
func TestManyAliases(t *testing.T) {
	t.Parallel()
	keys := "apps:\n  a: &a\n    server_keys: [" + strings.Repeat("{id: x}, ", 1000) + "]\n"
	for i := range 200 {
		keys += "  b" + strings.Repeat("x", i%10) + string(rune('a'+i/10)) + ": *a\n"
	}
	if _, err := Parse([]byte(keys)); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("err = %.200v, want a word on aliases", err)
	}
}

// However a key gets into a file, an error shows nothing of it.
func TestErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	const key = "h7Kq92LmXw04Zr8TbN6vYc1DpSg5Ej3A"
	for name, text := range map[string]string{
		"misspelt key":       "apps: {a: {jwt: {keys: [{secert: " + key + "}]}}}",
		"misspelt, short":    "apps: {a: {jwt: {keys: [{secert: hunter2}]}}}",
		"no space":           "apps: {a: {jwt: {keys: [{secret:" + key + "}]}}}",
		"text for a list":    "apps: {a: {server_keys: " + key + "}}",
		"text in a list":     "apps: {a: {server_keys: [" + key + "]}}",
		"as a number":        "apps: {a: {limits: {watches: " + key + "}}}",
		"as a name":          "apps: {" + key + ": {}}",
		"above the error":    "apps:\n  a:\n    server_keys: [{secret: hunter2}]\n    oops: 1",
		"below its key":      "apps:\n  a:\n    server_keys:\n    - secret:\n        hunter2\n      oops: 1",
		"folded":             "apps:\n  a:\n    server_keys:\n    - secret: >-\n        hunter2\n        hunter2\n      oops: 1",
		"quoted, unfinished": "apps: {a: {jwt: {keys: [{secret: \"hunter2 hunter2}]}}}",
		"PEM":                "apps:\n  a:\n    jwt:\n      keys:\n      - public_key: |\n          -----BEGIN PRIVATE KEY-----\n          hunter2\n          -----END PRIVATE KEY-----\n        oops: 1",
		"in a URL":           "apps: {a: {jwt: {issuer: i, jwks_url: \"https://me:hunter2@id.example/\"}}}",
		"in a friends URL":   "apps: {a: {friends: {source: http, url: \"https://me:hunter2@id.example/\"}}}",
		"too short":          "apps: {a: {jwt: {issuer: i, keys: [{secret: hunter2}]}, server_keys: [{id: hunter, secret: hunter2}]}}",
		"twice":              "apps:\n  a: {jwt: {issuer: i, keys: [{secret: " + key + "}]}, server_keys: [{id: a, secret: " + key + "}, {id: b, secret: " + key + "}]}",
		"friends":            "apps: {a: {jwt: {issuer: i, keys: [{secret: " + key + "}]}, friends: {source: http, url: \"http://x\", secret: hunter2}}}",
		"as an alias":        "apps: {a: {server_keys: [{id: &x hunter2, secret: *x, oops: 1}]}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(text))
			if err == nil {
				t.Fatal("was taken")
			}
			b, e := json.Marshal(err)
			if e != nil {
				t.Fatal(e)
			}
			for _, s := range []string{err.Error(), string(b)} {
				if strings.Contains(s, key) || strings.Contains(s, "hunter2") {
					t.Errorf("shows the key: %s", s)
				}
			}
		})
	}
}

// The file's name is in front of each line.
func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("data: x\noops: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+`:2: unknown key "oops"`) {
		t.Errorf("err = %v, want %s:2", err, path)
	}
}

// A configuration shows no secret, whatever is done with it.
func TestConfigurationShowsNoSecret(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	a := c.Apps["shop"]
	b, err := json.Marshal(c.Apps)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "app", a, "key", a.JWT.Keys[0], "secret", a.Friends.Secret)
	for _, s := range []string{
		fmt.Sprintf("%v %+v %#v", a, a, a), fmt.Sprintf("%q %s %d %x", a.Friends.Secret, a.Friends.Secret, a.Friends.Secret, a.Friends.Secret), string(b), log.String(),
	} {
		if strings.Contains(s, secret) || strings.Contains(s, serverSecret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("shows a secret: %s", s)
		}
	}
}
