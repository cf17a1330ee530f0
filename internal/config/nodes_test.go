package config

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
)

func TestNodes(t *testing.T) {
	t.Parallel()
	const app = "apps: {demo: {jwt: {issuer: https://id.example, audience: demo, keys: [{id: k, secret: 'a secret of thirty-two bytes or more'}]}}}\n"
	three := "nodes: ['10.0.0.1:7402', '10.0.0.2:7402', '10.0.0.3:7402']"
	for name, c := range map[string]struct{ text, says string }{
		"alone":                {"", ""},
		"a name alone":         {"node: n1", ""},
		"a bad name":           {"node: 'N 1'", "cannot be a node's name"},
		"a cluster":            {"cluster: {urls: ['nats://a:4222', 'tls://b:4222'], user: u, password: p, synced: true, prefix: pl2, replicas: 5}", ""},
		"urls to come":         {"cluster: {user: u, password: p}", ""},
		"peers to come":        {"peers: {password: p}", ""},
		"not an address":       {"cluster: {urls: ['a:4222']}", "write nats://host:4222"},
		"without quotes":       {"cluster: {urls: [nats://a:4222]}", "cluster.urls[0]: want one value, not a mapping; an address within { } stands in quotes"},
		"peers without quotes": {"peers: {listen: '10.0.0.1:7402', password: p, nodes: [10.0.0.1:7402, 10.0.0.2:7402]}", "stands in quotes"},
		"not within braces":    {"cluster:\n  urls: [nats://a:4222, tls://b:4222]\npeers:\n  password: p", ""},
		"a secret in a url":    {"cluster: {urls: ['nats://u:hunter2@a:4222']}", "has a user in it"},
		"two ways":             {"cluster: {urls: ['nats://a:4222'], user: u, password: p, token: t}", "in more than one way"},
		"half a user":          {"cluster: {urls: ['nats://a:4222'], user: u}", "both user and password"},
		"a bad prefix":         {"cluster: {urls: ['nats://a:4222'], prefix: 'a.b'}", "cannot begin subjects"},
		"too many replicas":    {"cluster: {urls: ['nats://a:4222'], replicas: 6}", "is not 1 to 5"},
		"half a certificate":   {"cluster: {urls: ['nats://a:4222'], tls: {cert: a.pem}}", "both cert and key"},
		"peers":                {"peers: {listen: '10.0.0.1:7402', password: p, " + three + "}", ""},
		"peers without names":  {"peers: {listen: '10.0.0.1:7402', password: p}", "needs nodes"},
		"peers without itself": {"peers: {listen: '10.0.0.9:7402', password: p, " + three + "}", "own address"},
		"no listen":            {"peers: {password: p, " + three + "}", "is needed: the address"},
		"two peers":            {"peers: {listen: 'a:1', password: p, nodes: ['a:1', 'b:1', 'a:1']}", "fewer than three"},
		"open to everybody":    {"peers: {listen: '10.0.0.1:7402', " + three + "}", "whoever reaches the port"},
		"the example's":        {"peers: {password: replace-this-with-the-output-of-openssl-rand-hex-32}", "peers.password: is still the one of the example"},
		"an example's user":    {"cluster: {user: porchlight, password: replace-this}", "cluster.password: is still the one of the example"},
		"an example's token":   {"cluster: {token: replace-this}", "cluster.token: is still the one of the example"},
		"everywhere":           {"peers: {listen: '0.0.0.0:7402', password: p, " + three + "}", "that other nodes can reach"},
		"tls without its ca":   {"peers: {listen: '10.0.0.1:7402', tls: {cert: a.pem, key: b.pem}, " + three + "}", "check each other's certificates"},
		"both":                 {"cluster: {urls: ['nats://a:4222']}\npeers: {listen: '10.0.0.1:7402', password: p, " + three + "}", "take one of the two away"},
	} {
		_, err := Parse([]byte(app + c.text))
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error holds a password", name)
		}
	}
}

// What differs in an app differs in the fingerprint, secrets too; what stands
// beside the apps and what is written though it is the default does not.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	parse := func(text string) *Config {
		t.Helper()
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := "apps: {demo: {jwt: {issuer: https://id.example, audience: demo, keys: [{id: k, secret: 'a secret of thirty-two bytes or more'}]}, policy: {%p}}}"
	text := func(policy string) string { return strings.Replace(base, "%p", policy, 1) }
	was := parse(text("")).Fingerprint()
	for name, same := range map[string]string{
		"again":       text(""),
		"a default":   text("grace: 6s"),
		"a directory": text("") + "\ndata: /somewhere\nnode: n7\nlisten: {http: ':1'}",
	} {
		if parse(same).Fingerprint() != was {
			t.Errorf("%s: it is another", name)
		}
	}
	seen := map[uint64]string{was: "the first"}
	for name, other := range map[string]string{
		"a grace":    text("grace: 7s"),
		"a policy":   text("multi_device: single"),
		"a secret":   strings.Replace(text(""), "or more", "or lots", 1),
		"an app":     strings.Replace(text(""), "demo:", "shop:", 1),
		"a platform": text("platforms: {ios: {grace: 9s}}"),
	} {
		f := parse(other).Fingerprint()
		if before, ok := seen[f]; ok {
			t.Errorf("%s has the fingerprint of %s", name, before)
		}
		seen[f] = name
	}
	var look func(typ reflect.Type, at string)
	look = func(typ reflect.Type, at string) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				if f.IsExported() {
					look(f.Type, at+"."+f.Name)
				}
			}
		case reflect.Slice, reflect.Pointer:
			look(typ.Elem(), at)
		case reflect.Map:
			if typ.Key().Kind() != reflect.String {
				t.Errorf("%s: keys that are no texts have no order in a fingerprint", at)
			}
			look(typ.Elem(), at)
		case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
			t.Errorf("%s cannot be in a fingerprint", at)
		}
	}
	look(reflect.TypeFor[App](), "apps")
}

// A version that knows a key more gives a configuration without it the same
// fingerprint, wherever the key stands; set, it gives another.
func TestFingerprintOfLaterVersion(t *testing.T) {
	t.Parallel()
	type key struct{ Name string }
	type laterKey struct {
		Since int
		Name  string
		Until *bool
	}
	of := func(v any) uint64 {
		h := sha256.New()
		write(h, reflect.ValueOf(v))
		return binary.BigEndian.Uint64(h.Sum(nil))
	}
	now := of(struct{ Keys []key }{[]key{{"a"}, {"b"}}})
	later := func(keys ...laterKey) uint64 {
		return of(struct {
			More map[string]int
			Keys []laterKey
		}{nil, keys})
	}
	if later(laterKey{Name: "a"}, laterKey{Name: "b"}) != now {
		t.Error("a key that is not set makes another fingerprint")
	}
	no := false
	seen := map[uint64]bool{now: true}
	for i, f := range []uint64{
		later(laterKey{Since: 1, Name: "a"}, laterKey{Name: "b"}), later(laterKey{Name: "a"}, laterKey{Since: 1, Name: "b"}),
		later(laterKey{Name: "a", Until: &no}, laterKey{Name: "b"}), later(laterKey{Name: "a"}), later(laterKey{Name: "a"}, laterKey{}, laterKey{Name: "b"}),
	} {
		if seen[f] {
			t.Errorf("case %d has the fingerprint of another", i)
		}
		seen[f] = true
	}
}
