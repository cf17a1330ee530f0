package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a start would refuse is found before it, with its line.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("good.json", `{"locales": {"en": {"a": "b"}}}`)
	file("bad.json", `{"locales": {"en": {"a": "{"}}}`)
	app := "apps:\n  a:\n    jwt: {issuer: i, keys: [{secret: " + secret + "}]}\n"
	for name, test := range map[string]struct{ text, want string }{
		"good":                         {app + "    catalogues: {products: {\"\": good.json}}\n", ""},
		"no such catalogue":            {app + "    catalogues: {products: {\"\": nothing.json}}\n", `:4: apps.a.catalogues.products."": stat`},
		"bad catalogue":                {app + "    catalogues: {products: {x: bad.json}}\n", ":4: apps.a.catalogues.products.x: "},
		"unknown locale":               {app + "    catalogues:\n      default_locale: fr\n      products: {x: good.json}\n", ":4: apps.a.catalogues: "},
		"no certificate":               {app + "listen:\n  tls: {cert: a.pem, key: b.pem}\n", ":5: listen.tls: TLS certificate"},
		"known key":                    {strings.Replace(app, secret, `"porchlight development key, known to everyone, loopback only"`, 1) + "listen: {http: \":80\"}\n", ":4: listen.http: "},
		"syntax":                       {"apps: [", ":1: "},
		"session keys":                 {app + "session_keys: bad.json\n", ":4: session_keys: "},
		"no credentials":               {app + "cluster: {urls: [\"nats://a:4222\"], credentials_file: nothing.creds}\n", ":4: cluster.credentials_file: stat"},
		"no certificate between nodes": {app + "peers: {listen: \"n1:1\", nodes: [\"n1:1\", \"n2:1\", \"n3:1\"], tls: {ca: a.pem, cert: a.pem, key: b.pem}}\n", ":4: peers.tls: open"},
		"several nodes":                {app + "node: n1\npeers: {listen: \"n1:1\", nodes: [\"n1:1\", \"n2:1\", \"n3:1\"], password: " + secret + "}\n", ""},
		"no session keys":              {app + "session_keys: made-at-the-first-start\n", ""},
	} {
		path := file("p.yaml", test.text)
		_, err := Inspect(path)
		if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && !strings.Contains(got, path+test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if test.want != "" && len(Problems(err)) != 1 {
			t.Errorf("%s: %d problems, want one", name, len(Problems(err)))
		}
	}
	if len(Problems(nil)) != 0 || len(Problems(os.ErrNotExist)) != 1 {
		t.Error("Problems: want none of nothing, one of an error of another kind")
	}
}

// The summary has the defaults, and no secret.
func TestSummary(t *testing.T) {
	t.Parallel()
	text := strings.Replace(full, "user_claim: uid", "user_claim: uid, jwks_url: \"https://id.example/jwks?key=hunter2\"", 1)
	c, err := loadWith(t, text+"\n", "PORCHLIGHT_APPS_CHAT_JWT_ISSUER=chat", "PORCHLIGHT_APPS_CHAT_JWT_KEYS_0_SECRET="+secret)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Summary()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{s.String(), string(b), fmt.Sprintf("%+v %#v", s, s)} {
		for _, hidden := range []string{secret, serverSecret, "hunter2"} {
			if strings.Contains(shown, hidden) {
				t.Errorf("shows a secret: %s", shown)
			}
		}
	}
	for _, want := range []string{"app chat", "app shop", "k1 (HS256)", "backend", "heartbeat 35s, grace 6s", "heartbeat 50s", "16 sessions, 2000 watches, 200 in a batch, 10000 friends", "visible to friends", "http https://shop.example/friends"} {
		if !strings.Contains(s.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, s)
		}
	}
}

// With whom a node is one of several is said, without what proves who it is.
func TestNodesSummary(t *testing.T) {
	t.Parallel()
	app := "apps:\n  a:\n    jwt: {issuer: i, keys: [{secret: " + secret + "}]}\nnode: n1\n"
	for text, want := range map[string]string{
		"peers: {listen: \"n1:1\", nodes: [\"n1:1\", \"n2:1\", \"n3:1\"], password: " + secret + "}": "n1 at n1:1, of n1:1 n2:1 n3:1\npeers         by password, in the clear",
		"cluster: {urls: [\"tls://a:4222\"], user: u, password: " + secret + ", synced: true}":       "cluster       tls://a:4222 as user u, TLS\nits data      prefix pl, 3 replicas, synced",
		"cluster: {urls: [\"nats://a:4222\"], token: " + secret + ", prefix: x, replicas: 1}":        "as token, in the clear\nits data      prefix x, 1 replicas, not said to be synced",
		"": "data          none\n\napp a",
	} {
		c, err := loadWith(t, app+text+"\n")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Summary().String(); !strings.Contains(got, want) || strings.Contains(got, secret) {
			t.Errorf("got:\n%s\nwant %q, and no secret", got, want)
		}
	}
}
