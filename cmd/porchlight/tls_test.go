package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// The tools speak TLS to a node that has it, if they can believe its
// certificate; in the clear they get nowhere.
func TestTLS(t *testing.T) {
	t.Parallel()
	const serverKey = "a server key of 32 bytes and some more"
	pair := listentest.New(t, 1)
	file := filepath.Join(t.TempDir(), "c.json")
	text, err := json.Marshal(map[string]any{
		"listen": map[string]any{"http": "127.0.0.1:0", "grpc": "127.0.0.1:0", "tls": map[string]string{"cert": pair.Cert, "key": pair.Key}},
		"apps": map[string]any{"demo": map[string]any{"server_keys": []any{map[string]string{"id": "k1", "secret": serverKey}}, "jwt": map[string]any{
			"issuer": "https://id.example", "keys": []any{map[string]string{"secret": "0123456789abcdef0123456789abcdef"}},
		}}},
	})
	if err != nil || os.WriteFile(file, text, 0o600) != nil {
		t.Fatal(err)
	}
	serve := start(t, "serve", "--config", file, "--data", t.TempDir())
	grpc := strings.Fields(serve.line("grpc "))[1]
	jwt, _, err := once(t, "token", "--config", file, "--user", "alice")
	if err != nil {
		t.Fatal(err)
	}
	who := func(flags ...string) (string, string, error) {
		return once(t, append([]string{"who", "--grpc", grpc, "--token", strings.TrimSpace(jwt), "bob"}, flags...)...)
	}
	if out, stderr, err := who("--ca", pair.Cert); err != nil || !strings.Contains(out, "bob") {
		t.Errorf("--ca: %q, %v, %s", out, err, stderr)
	}
	for name, c := range map[string]struct {
		flags []string
		says  string
	}{
		"in the clear":             {nil, "does the server want TLS?"},
		"an authority not trusted": {[]string{"--tls"}, "certificate"},
		"no file":                  {[]string{"--ca", pair.Cert + "x"}, "no such file"},
		"no certificate in it":     {[]string{"--ca", pair.Key}, "must be PEM"},
	} {
		if out, stderr, err := who(c.flags...); err == nil || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: %q, %v, %q; want a failure that says %q", name, out, err, stderr, c.says)
		}
	}
	http := strings.Fields(serve.line("http "))[1]
	for _, c := range []struct{ url, ca, says string }{
		{"https://" + http, pair.Cert, ""},
		{"https://" + http, "", "certificate"},
		{"http://" + http, "", "https"}, // what it says, or only that it ended the connection
		{"http://" + http, pair.Cert, "--ca is for https"},
	} {
		flags := []string{"--http", c.url, "--key", serverKey}
		if c.ca != "" {
			flags = append(flags, "--ca", c.ca)
		}
		for _, command := range [][]string{{"who", "bob"}, {"friends", "list", "bob"}, {"drop", "bob"}} {
			if out, stderr, err := once(t, append(command, flags...)...); (err == nil) != (c.says == "") || !strings.Contains(stderr, c.says) {
				t.Errorf("%v %v: %q, %v, %q; want what says %q", command, flags, out, err, stderr, c.says)
			}
		}
	}
	if err := serve.stop(); err != nil {
		t.Errorf("serve ended with %v: %s", err, serve.err.String())
	}
}
