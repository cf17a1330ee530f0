package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// loadWith loads a text with an environment.
func loadWith(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "porchlight.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, environ...)
}

func TestEnvironmentOverrides(t *testing.T) {
	t.Parallel()
	const other = "another secret of more than 32 bytes"
	c, err := loadWith(t, full,
		"PORCHLIGHT_DATA=/data", "PORCHLIGHT_LISTEN_HTTP=:80", "PORCHLIGHT_LISTEN_TRUSTED_PROXIES=10.0.0.0/8,::1",
		"PORCHLIGHT_LISTEN_PROXY_PROTOCOL=true", "PORCHLIGHT_LOG_MAX_BYTES=200000000",
		"PORCHLIGHT_APPS_SHOP_JWT_KEYS_0_SECRET="+other, "PORCHLIGHT_APPS_SHOP_JWT_KEYS_1_SECRET="+other, "PORCHLIGHT_APPS_SHOP_JWT_KEYS_1_ID=k2",
		"PORCHLIGHT_APPS_SHOP_POLICY_GRACE=9s", "PORCHLIGHT_APPS_SHOP_LIMITS_OPENS_PER_SECOND=7.5",
		"PORCHLIGHT_APPS_SHOP_POLICY_PLATFORMS_IOS_GRACE=8s", "PORCHLIGHT_APPS_SHOP_CATALOGUES_PRODUCTS==a.json,x=b.json",
		"PORCHLIGHT_APPS_NEW_JWT_ISSUER=new", "PORCHLIGHT_APPS_NEW_JWT_KEYS_0_SECRET="+secret,
		"PORCHLIGHT_RESTART_GRACE=", // says nothing
		"PORCHLIGHT_TOKEN=t", "PORCHLIGHT_PORT=tcp://10.0.0.1:7400", "PORCHLIGHT_APPS_SERVICE_HOST=10.0.0.1", "HOME=/root",
	)
	if err != nil {
		t.Fatal(err)
	}
	shop := c.Apps["shop"]
	for _, got := range []struct {
		what      string
		got, want any
	}{
		{"data", c.Data, "/data"},
		{"listen.http", c.Listen.HTTP, ":80"},
		{"listen.grpc", c.Listen.GRPC, "127.0.0.1:8401"},
		{"trusted_proxies", c.Listen.TrustedProxies, []string{"10.0.0.0/8", "::1"}},
		{"proxy_protocol", c.Listen.ProxyProtocol, true},
		{"log_max_bytes", c.LogMaxBytes, int64(200000000)},
		{"restart_grace", c.RestartGrace, 20 * time.Second},
		{"keys", shop.JWT.Keys, []Key{{ID: "k1", Secret: other}, {ID: "k2", Secret: other}}},
		{"issuer", shop.JWT.Issuer, "https://id.example"},
		{"grace", shop.Policy.Grace, 9 * time.Second},
		{"opens_per_second", shop.Limits.OpensPerSecond, 7.5},
		{"platforms", shop.Policy.Platforms, map[string]PlatformPolicy{"iOS": {HeartbeatTimeout: 50 * time.Second, Grace: 8 * time.Second}}},
		{"products", shop.Catalogues.Products, map[string]string{"": "a.json", "x": "b.json"}},
		{"new app", c.Apps["new"].JWT.Issuer, "new"},
		{"warnings", len(c.Warnings()), 0},
	} {
		if !reflect.DeepEqual(got.got, got.want) {
			t.Errorf("%s = %v, want %v", got.what, got.got, got.want)
		}
	}
}

func TestEnvironmentRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ variable, want string }{
		"unknown key of an app":    {"PORCHLIGHT_APPS_SHOP_JTW_ISSUER=x", "PORCHLIGHT_APPS_SHOP_JTW_ISSUER: no key"},
		"unknown key of listen":    {"PORCHLIGHT_LISTEN_GPRC=x", "PORCHLIGHT_LISTEN_GPRC: no key"},
		"not a time":               {"PORCHLIGHT_RESTART_GRACE=6", `PORCHLIGHT_RESTART_GRACE: restart_grace: "6" is not a time`},
		"not a number":             {"PORCHLIGHT_APPS_SHOP_LIMITS_WATCHES=many", "PORCHLIGHT_APPS_SHOP_LIMITS_WATCHES"},
		"too large":                {"PORCHLIGHT_APPS_SHOP_LIMITS_WATCHES=99999999999", "not a whole number"},
		"neither true nor false":   {"PORCHLIGHT_LISTEN_PROXY_PROTOCOL=yes", "true or false"},
		"no product":               {"PORCHLIGHT_APPS_SHOP_CATALOGUES_PRODUCTS=a.json", "NAME=VALUE"},
		"a gap":                    {"PORCHLIGHT_APPS_SHOP_JWT_KEYS_3_SECRET=" + secret, "there is no item 1 before it"},
		"an item's number":         {"PORCHLIGHT_APPS_SHOP_JWT_KEYS_00_SECRET=" + secret, "no key"},
		"a wrong value":            {"PORCHLIGHT_APPS_SHOP_POLICY_GRACE=1h", "PORCHLIGHT_APPS_SHOP_POLICY_GRACE: apps.shop.policy.grace: 1h0m0s is not below"},
		"a short secret":           {"PORCHLIGHT_APPS_SHOP_JWT_KEYS_0_SECRET=hunter2", "PORCHLIGHT_APPS_SHOP_JWT_KEYS_0_SECRET: apps.shop.jwt.keys[0].secret: 7 bytes"},
		"an app that is not whole": {"PORCHLIGHT_APPS_NEW_POLICY_GRACE=5s", "apps.new.jwt.issuer: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadWith(t, full, test.variable)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want an error with %q", test.variable, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows the secret: %v", err)
			}
		})
	}
}

func TestEnvironmentWarns(t *testing.T) {
	t.Parallel()
	c, err := loadWith(t, full, "PORCHLIGHT_DATTA=x")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "PORCHLIGHT_DATTA") {
		t.Errorf("warnings = %q, want one on PORCHLIGHT_DATTA", w)
	}
}

// Each key has the variable that its name promises.
func TestEveryKeyHasItsVariable(t *testing.T) {
	t.Parallel()
	var look func(reflect.Type, string)
	look = func(typ reflect.Type, path string) {
		for f := range typ.Fields() {
			name := yamlName(f)
			if name == "" {
				continue
			}
			tag, elem := "env", f.Type
			want := strings.ToUpper(name)
			if f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map {
				elem = f.Type.Elem()
			}
			if elem.Kind() == reflect.Struct {
				tag, want = "envPrefix", want+"_"
			}
			if got := f.Tag.Get(tag); got != want {
				t.Errorf("%s.%s: tag %s is %q, want %q", path, name, tag, got, want)
			}
			if elem.Kind() == reflect.Struct {
				look(elem, path+"."+name)
			}
		}
	}
	look(reflect.TypeFor[Config](), "")
}

// Names of files begin at the configuration's directory; those of the
// environment at the working directory, like those of flags.
func TestFilesBeginAtTheConfiguration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "porchlight.yaml")
	text := "data: node\nsession_keys: /etc/keys\napps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(path), "node"); c.Data != want || c.SessionKeys != "/etc/keys" {
		t.Errorf("data = %s, session_keys = %s; want %s and /etc/keys", c.Data, c.SessionKeys, want)
	}
	if c, err = Load(path, "PORCHLIGHT_DATA=here"); err != nil || c.Data != "here" {
		t.Errorf("data of the environment = %v, %v; want here", c, err)
	}
}

// Whatever the environment holds, what comes out was checked, and no value of a
// secret's variable shows.
func FuzzEnvironment(f *testing.F) {
	const hidden = "h7Kq92LmXw04Zr8TbN6vYc1DpSg5Ej3A"
	f.Add("PORCHLIGHT_APPS_SHOP_POLICY_GRACE", "9s")
	f.Add("PORCHLIGHT_APPS_SHOP_JWT_KEYS_0_SECRET", hidden)
	f.Add("PORCHLIGHT_APPS_X_JWT_KEYS_9_PUBLIC_KEY", hidden)
	f.Add("PORCHLIGHT_APPS__CORS_ORIGINS", ",,")
	f.Add("PORCHLIGHT_APPS_SHOP_CATALOGUES_PRODUCTS", "=,a==b")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := Parse([]byte(full), "PORCHLIGHT_DATA=/d", name+"="+value)
		if err == nil {
			err = c.Check()
			if err != nil {
				t.Errorf("accepted, but Check says %v", err)
			}
			return
		}
		if value == hidden && strings.Contains(err.Error(), hidden) && !strings.Contains(name, hidden) {
			t.Errorf("shows the secret: %v", err)
		}
	})
}
