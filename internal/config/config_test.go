package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	secret       = "0123456789abcdef0123456789abcdef"
	serverSecret = "fedcba9876543210fedcba9876543210"
	signing      = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // secret in base64
)

// publicKey is P-256, made by openssl genpkey -algorithm EC -pkeyopt
// ec_paramgen_curve:P-256 | openssl pkey -pubout.
const publicKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+yAh0x9qYHmXehQi1QecQeVN1+3c
yKiA4XxQh+J+kLyUk4mnAb9xp5Y6B9hJMYNSLhvfMCRZYzMZdxhtb4EJ3g==
-----END PUBLIC KEY-----
`

const full = `
apps:
  shop:
    jwt: {issuer: https://id.example, audience: shop, user_claim: uid, keys: [{id: k1, secret: ` + secret + `}]}
    policy: {heartbeat_timeout: 40s, grace: 7s, resume_window: 3m, connect_before: 30s, multi_device: single,
      visibility: friends, platforms: {iOS: {heartbeat_timeout: 50s}}}
    limits: {sessions: 4, opens_per_second: 50, watches: 100, batch: 20, friends: 30, requests_per_second: 60}
    server_keys: [{id: backend, secret: ` + serverSecret + `, requests_per_second: 5}]
    friends: {source: http, url: https://shop.example/friends, secret: ` + secret + `, timeout: 3s, max_age: 4s, allow_private: true}
    cors: {origins: [https://shop.example, "*"]}
    webhooks:
      main: {url: "https://shop.example/hook?a=b", secrets: [` + signing + `], lanes: 4, batch: {events: 7, linger: 30ms}, include_custom: true}
      rong: {url: http://10.0.0.1/, format: rongcloud, allow_private: true, rongcloud: {notify_all_offline: false, signature_style: signTimestamp}}
      tim: {url: https://shop.example/tim, format: tencentim, tencentim: {profile: "2025", token: hunter2, retry: true}}
      cloud: {url: https://shop.example/ce, format: cloudevents, secrets: [` + signing + `], cloudevents: {mode: batched}}
    rongcloud: {app_key: plkey, app_secret: ` + secret + `, timestamp_window: 1m}
    tencentim: {sdkappid: 1400000001, key: ` + secret + `, admins: [administrator]}
listen: {http: 127.0.0.1:8400, grpc: 127.0.0.1:8401}
data: /var/lib/porchlight
restart_grace: 20s
session_keys: /etc/porchlight/keys
log_max_bytes: 100000000
`

func TestParseReadsEveryField(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Policies()["shop"]
	if p.HeartbeatTimeout != 40*time.Second || p.Grace != 7*time.Second || p.ResumeWindow != 3*time.Minute ||
		p.ConnectBefore != 30*time.Second || p.MultiDevice != presence.Single || p.SessionsPerUser != 4 || p.OpensPerSecond != 50 {
		t.Errorf("policy = %+v", p)
	}
	if on := p.On("ios"); on.HeartbeatTimeout != 50*time.Second || on.Grace != 7*time.Second {
		t.Errorf("policy on ios = %+v", on)
	}
	if shortest, longest := c.Timeouts(); shortest != 40*time.Second || longest != 50*time.Second {
		t.Errorf("time-outs = %v to %v, want 40s to 50s", shortest, longest)
	}
	if l := c.DoorLimits()["shop"]; l.Watches != 100 || l.Batch != 20 {
		t.Errorf("limits = %+v", l)
	}
	iss, err := c.Issuer("shop")
	if err != nil || iss.Issuer != "https://id.example" || iss.Audience != "shop" || iss.UserClaim != "uid" || iss.Keys[0].ID != "k1" || string(iss.Keys[0].Secret) != secret {
		t.Errorf("issuer = %+v, %v", iss, err)
	}
	if keys := c.ServerKeys(); len(keys) != 1 || keys[0].ID != "backend" || keys[0].Secret != serverSecret || keys[0].RequestsPerSecond != 5 || c.Rates()["shop"] != 60 {
		t.Errorf("server keys = %+v, rates = %v", keys, c.Rates())
	}
	if f := c.Apps["shop"].Friends; f.Source != "http" || f.URL != "https://shop.example/friends" || f.Secret != secret || f.Timeout != 3*time.Second || f.MaxAge != 4*time.Second || !f.AllowPrivate {
		t.Errorf("friends = %+v", f)
	}
	if a := c.Apps["shop"]; a.Policy.Visibility != VisibleToFriends || a.Limits.Friends != 30 || len(c.Origins()["shop"]) != 2 {
		t.Errorf("app = %+v, origins %v", a, c.Origins())
	}
	if c.Listen.HTTP != "127.0.0.1:8400" || c.Listen.GRPC != "127.0.0.1:8401" || c.Data != "/var/lib/porchlight" ||
		c.RestartGrace != 20*time.Second || c.SessionKeys != "/etc/porchlight/keys" || c.LogMaxBytes != 100000000 {
		t.Errorf("config = %+v", c)
	}
}

// Public keys are read from the file as from beside it, and say their algorithm.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	indented := strings.ReplaceAll(publicKey, "\n", "\n          ")
	c, err := Parse([]byte("apps:\n  a:\n    jwt:\n      issuer: i\n      keys:\n      - id: p\n        public_key: |\n          " + indented + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if iss, err := c.Issuer("a"); err != nil || iss.Keys[0].Algorithm() != "ES256" || iss.Keys[0].ID != "p" {
		t.Errorf("issuer = %v, %v; want a key for ES256", iss, err)
	}
}

func TestParseFillsDefaults(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte("apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}}"))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Policies()["a"]
	if p.HeartbeatTimeout != 35*time.Second || p.Grace != 6*time.Second || p.ResumeWindow != 2*time.Minute || p.SessionsPerUser != 16 {
		t.Errorf("policy = %+v", p)
	}
	if l := c.DoorLimits()["a"]; l.Watches != 2000 || l.Batch != 200 {
		t.Errorf("limits = %+v", l)
	}
}

// The preset sets what the file leaves out.
func TestPreset(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]time.Duration{"": 400 * time.Second, ", heartbeat_timeout: 60s": time.Minute} {
		c, err := Parse([]byte("apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}, policy: {preset: tencent-2020" + rest + "}}}"))
		if err != nil {
			t.Fatal(err)
		}
		if p := c.Policies()["a"]; p.HeartbeatTimeout != want || p.Grace != 6*time.Second {
			t.Errorf("with %q: time-out %v, grace %v; want %v, 6s", rest, p.HeartbeatTimeout, p.Grace, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	app := func(rest string) string {
		return "apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}, " + rest + "}}"
	}
	tests := map[string]struct{ text, want string }{
		"no apps":               {"listen: {}", "apps: at least one"},
		"app name":              {"apps: {A_b: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}}", "a-z and 0-9"},
		"no issuer":             {"apps: {a: {jwt: {keys: [{secret: " + secret + "}]}}}", "jwt.issuer"},
		"no keys":               {"apps: {a: {jwt: {issuer: i}}}", "jwt.keys"},
		"short key":             {"apps: {a: {jwt: {issuer: i, keys: [{secret: abc}]}}}", "at least 32"},
		"same issuer":           {"apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}, b: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}}", "has the same"},
		"unknown field":         {app("polcy: {}"), "polcy"},
		"unknown policy":        {app("policy: {multi_device: some}"), "one_per_platform"},
		"grace over time-out":   {app("policy: {grace: 40s}"), "policy.grace"},
		"short time-out":        {app("policy: {heartbeat_timeout: 1s, grace: 500ms}"), "at least 3s"},
		"short resume window":   {app("policy: {resume_window: 30s}"), "resume_window"},
		"negative limit":        {app("limits: {watches: -1}"), "limits"},
		"not a duration":        {app("policy: {grace: soon}"), "soon"},
		"negative duration":     {app("policy: {connect_before: -1s}"), "connect_before"},
		"not YAML":              {"apps: [", ""},
		"small log":             {app("policy: {}") + "\nlog_max_bytes: 1000", "log_max_bytes"},
		"negative log":          {app("policy: {}") + "\nlog_max_bytes: -1", "log_max_bytes"},
		"claim of the issuer":   {"apps: {a: {jwt: {issuer: i, user_claim: exp, keys: [{secret: " + secret + "}]}}}", "exp"},
		"negative restart":      {app("policy: {}") + "\nrestart_grace: -1s", "restart_grace"},
		"server key":            {app("server_keys: [{id: x, secret: abc}]"), "server_keys[0].secret: 3 bytes"},
		"server key for two":    {app("server_keys: [{id: x, secret: " + secret + "}, {id: y, secret: " + secret + "}]"), "is that of a.x too"},
		"server key's id":       {app("server_keys: [{secret: " + secret + "}]"), "server_keys[0].id: is missing"},
		"server keys' ids":      {app("server_keys: [{id: x, secret: " + secret + "}, {id: x, secret: " + serverSecret + "}]"), "two keys have the id"},
		"server key's rate":     {app("server_keys: [{id: x, secret: " + secret + ", requests_per_second: -1}]"), "requests_per_second"},
		"server key's letters":  {app("server_keys: [{id: x, secret: \"" + secret + "\\u00e4\"}]"), "HTTP header"},
		"two kinds of a key":    {"apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + ", public_key: x}]}}}", "a key is one of them"},
		"no kind of a key":      {"apps: {a: {jwt: {issuer: i, keys: [{id: x}]}}}", "needs one of"},
		"plain JWKS":            {"apps: {a: {jwt: {issuer: i, jwks_url: \"http://id.example/jwks\"}}}", "allow_private"},
		"JWKS that is no URL":   {"apps: {a: {jwt: {issuer: i, jwks_url: jwks}}}", "is not a URL"},
		"preset":                {app("policy: {preset: tencent}"), "tencent-2020"},
		"visibility":            {app("policy: {visibility: nobody}"), "everyone or friends"},
		"platforms of one name": {app("policy: {platforms: {ios: {}, iOS: {}}}"), "the case does not count"},
		"platform's grace":      {app("policy: {platforms: {ios: {grace: 40s}}}"), "platforms.ios.grace: 40s is not below"},
		"platform's time-out":   {app("policy: {platforms: {ios: {heartbeat_timeout: 2s, grace: 1s}}}"), "at least 3s"},
		"friends' source":       {app("friends: {source: ldap}"), "store or http"},
		"friends' URL":          {app("friends: {source: http, secret: " + secret + "}"), "friends.url: is missing"},
		"friends' secret":       {app("friends: {source: http, url: \"https://x\"}"), "friends.secret"},
		"unused URL":            {app("friends: {url: \"https://x\"}"), "with source: http only"},
		"friends' time-out":     {app("friends: {timeout: 1h}"), "friends.timeout"},
		"many friends":          {app("limits: {friends: 1000000}"), "too many"},
		"locale":                {app("catalogues: {default_locale: \"#\"}"), "not a locale"},
		"no catalogue":          {app("catalogues: {products: {x: \"\"}}"), "names no file"},
		"origin":                {app("cors: {origins: [\"https://x/y\"]}"), "not an origin"},
		"no port":               {app("policy: {}") + "\nlisten: {grpc: localhost}", "listen.grpc: \"localhost\" is not an address"},
		"no such port":          {app("policy: {}") + "\nlisten: {http: 127.0.0.1:99999}", "listen.http: \"127.0.0.1:99999\" is not an address"},
		"one port for two":      {app("policy: {}") + "\nlisten: {grpc: 127.0.0.1:7500, tencentim: {listen: 127.0.0.1:7500}}", "listen.tencentim.listen: listen.grpc has the same address"},
		"half of TLS":           {app("policy: {}") + "\nlisten: {tls: {cert: x}}", "both cert and key"},
		"proxy":                 {app("policy: {}") + "\nlisten: {trusted_proxies: [x]}", "not a network"},
		"proxy protocol":        {app("policy: {}") + "\nlisten: {proxy_protocol: true}", "needs trusted_proxies"},
		"a list for an object":  {"apps: [a]", ""},
		"beside a quoted key":   {"apps:\n  a:\n    jwt:\n      keys: [{\"secret\": \"" + secret + "\"}]\n    oops: 1\n", "oops"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%q) = %v, want an error with %q", test.text, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestExposes(t *testing.T) {
	t.Parallel()
	own, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		c    *Config
		addr string
		ok   bool
	}{
		"development on loopback":    {Development(), "127.0.0.1:1", true},
		"development on localhost":   {Development(), "localhost:1", true},
		"development on IPv6":        {Development(), "[::1]:1", true},
		"development on all":         {Development(), ":7401", false},
		"development on an address":  {Development(), "192.0.2.1:7401", false},
		"development on a host name": {Development(), "example.com:7401", false},
		"own key on all":             {own, ":7401", true},
		"no port":                    {own, "127.0.0.1", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := test.c.Exposes(test.addr); (err == nil) != test.ok {
				t.Errorf("Exposes(%q) = %v, want ok %v", test.addr, err, test.ok)
			}
		})
	}
}

func TestTokenAndLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "public.yaml")
	text := "apps: {a: {jwt: {issuer: i, jwks_url: \"https://id.example/jwks\", keys: [{public_key_file: key.pem}]}}}"
	if err := os.WriteFile(public, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(public), "key.pem"), []byte(publicKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Token(TokenParams{File: public, App: "a", User: "alice", TTL: time.Hour}); err == nil || !strings.Contains(err.Error(), "that identity provider") {
		t.Errorf("with public keys: %v, want a word on who can sign", err)
	}
	for name, test := range map[string]struct {
		file, app string
		ttl       time.Duration
		ok        bool
	}{
		"development":     {"", "demo", time.Hour, true},
		"development app": {"", "shop", time.Hour, false},
		"file":            {path, "shop", time.Hour, true},
		"public keys":     {public, "a", time.Hour, false},
		"unknown app":     {path, "demo", time.Hour, false},
		"no time":         {path, "shop", 0, false},
		"no file":         {path + "x", "shop", time.Hour, false},
	} {
		jwt, err := Token(TokenParams{File: test.file, App: test.app, User: "alice", TTL: test.ttl})
		if (err == nil) != test.ok || test.ok && strings.Count(jwt, ".") != 2 {
			t.Errorf("%s: Token = %q, %v", name, jwt, err)
		}
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("Load took a file over the limit")
	}
}

// The README's lines put something of one's own in the place of every secret of
// the example.
func TestReadmeReplacesTheExamplesSecrets(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	readme := read("README.md")
	places := regexp.MustCompile(`replace-this-with[a-z0-9-]*`).FindAllString(read(filepath.Join("docs", "porchlight.example.yaml")), -1)
	if len(places) < 3 {
		t.Errorf("got %q, want all secrets", places)
	}
	for _, p := range places {
		if !regexp.MustCompile(`-e "s(.)` + p + `[/#]\$\(openssl`).MatchString(readme) {
			t.Errorf("the README does not replace %s", p)
		}
	}
}

// The example has every key, and is accepted as soon as its secrets are one's own.
func TestExampleFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "porchlight.example.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("with the secret that everybody knows: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("whsec_replace-this-with-the-output-of-openssl-rand-base64-32"), []byte(signing))
	c, err := Parse(bytes.ReplaceAll(text, []byte(exampleSecret), []byte("mine-")))
	if err != nil {
		t.Fatal(err)
	}
	var look func(reflect.Type, place)
	look = func(typ reflect.Type, at place) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				if name := yamlName(f); name != "" {
					if at := at.key(name); !has(c.src, at) {
						t.Errorf("the example lacks %s", at)
					}
					look(f.Type, at.key(name))
				}
			}
		case reflect.Slice:
			look(typ.Elem(), at.item(0))
		case reflect.Map:
			name := map[string]string{"apps": "myapp", "platforms": "ios", "webhooks": "main"}[at[len(at)-1]]
			look(typ.Elem(), at.key(name))
		}
	}
	look(reflect.TypeFor[Config](), nil)
}

// has reports whether a text has a key at a place.
func has(s *source, at place) bool {
	n := s.root
	for _, name := range at {
		next, _, ok := s.step(n, name)
		if !ok {
			return false
		}
		n = next
	}
	return true
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("apps: {a: {jwt: {issuer: i, keys: [{secret: x}]}}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(withWebhook("format: rongcloud, url: \"https://x.example/?nonce=1#\"", rongApp)))
	f.Add([]byte("apps: {a: {<<: *a, policy: {? q : 1}}}\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a word")
			}
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("accepted, but Check says %v", err)
		}
		c.Policies()
		issuers, err := c.Issuers()
		if err != nil {
			t.Errorf("accepted, but Issuers says %v", err)
		}
		for i := range issuers {
			issuers[i].Published = token.NewPublished(token.PublishedConfig{}) // jwks_url may stand for all keys
		}
		if _, err := token.NewVerifier(issuers, nil); err != nil {
			t.Errorf("accepted, but NewVerifier says %v", err)
		}
		_ = c.Summary().String()
		endpoints, err := c.Endpoints()
		if err != nil {
			t.Errorf("accepted, but Endpoints says %v", err)
		}
		for _, e := range endpoints {
			if err := e.Check(); err != nil {
				t.Errorf("accepted, but endpoint %s says %v", e.Name, err)
			}
		}
	})
}
