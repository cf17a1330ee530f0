// Package config reads Porchlight's configuration file and composes the Config
// of each part from it. It invents nothing: what a value means and what its
// default is stands with the package that owns it.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/porchlight-dev/porchlight/internal/door/isonline"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// secrets finds the values of keys in an excerpt of a file.
var secrets = regexp.MustCompile(`(secret["']?\s*:\s*)("[^"]*"?|'[^']*'?|[^,}\]\s]+)`)

// maxFile bounds a configuration file; a larger one is a mistake.
const maxFile = 1 << 20

// Config is a whole configuration (design §7). The zero value of each field
// means its default.
type Config struct {
	Apps   map[string]App `yaml:"apps"`
	Listen Listen         `yaml:"listen"`
	// Data is the directory of everything durable.
	Data string `yaml:"data"`
	// RestartGrace is how long sessions found at start wait for their devices.
	RestartGrace time.Duration `yaml:"restart_grace"`
	// SessionKeys is the file of the keys that seal session tokens; by default
	// it is made in Data.
	SessionKeys string `yaml:"session_keys"`
	// LogMaxBytes bounds the log of records; by default the smaller of 20 GB and
	// half of what is free at the first start.
	LogMaxBytes int64 `yaml:"log_max_bytes"`
}

// Listen says where the doors are.
type Listen struct {
	HTTP string `yaml:"http"` // 127.0.0.1:7400
	GRPC string `yaml:"grpc"` // 127.0.0.1:7401
}

// App is one tenant.
type App struct {
	JWT    JWT    `yaml:"jwt"`
	Policy Policy `yaml:"policy"`
	Limits Limits `yaml:"limits"`
}

// JWT says whose access tokens an app takes.
type JWT struct {
	Issuer    string `yaml:"issuer"`
	Audience  string `yaml:"audience"`
	UserClaim string `yaml:"user_claim"`
	Keys      []Key  `yaml:"keys"`
}

// Key is a secret that signs access tokens with HS256.
type Key struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"` // as text, 32 bytes at least
}

// Policy is how an app's sessions live.
type Policy struct {
	HeartbeatTimeout time.Duration `yaml:"heartbeat_timeout"`
	Grace            time.Duration `yaml:"grace"`
	ResumeWindow     time.Duration `yaml:"resume_window"`
	ConnectBefore    time.Duration `yaml:"connect_before"`
	MultiDevice      string        `yaml:"multi_device"` // allow, one_per_platform or single
}

// Limits are what an app's users may use.
type Limits struct {
	Sessions       int     `yaml:"sessions"`
	OpensPerSecond float64 `yaml:"opens_per_second"`
	Watches        int     `yaml:"watches"`
	Batch          int     `yaml:"batch"`
}

// leastLog is the least log that a node can live with: a smaller one would be
// full of what the checkpoint does not have yet.
const leastLog = 16 << 20

// Defaults of Listen.
const (
	DefaultHTTP = "127.0.0.1:7400"
	DefaultGRPC = "127.0.0.1:7401"
)

// Load reads a file. Unknown fields and wrong values are refused; the error
// shows the line.
func Load(path string) (*Config, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("configuration %s: %d bytes; at most %d are allowed", path, st.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse reads the text of a file and checks it.
func Parse(b []byte) (*Config, error) {
	c := &Config{}
	if err := yaml.UnmarshalWithOptions(b, c, yaml.Strict()); err != nil {
		// The excerpt that shows the line may show a key beside it.
		shown := secrets.ReplaceAllString(yaml.FormatError(err, false, true), "${1}(not shown)")
		return nil, errors.New(shown)
	}
	return c, c.Check()
}

// Development is the configuration of `porchlight dev`: one app, "demo", with
// keys that everybody knows.
func Development() *Config {
	iss := token.Development()
	return &Config{Apps: map[string]App{string(iss.App): {JWT: JWT{
		Issuer: iss.Issuer, Audience: iss.Audience,
		Keys: []Key{{ID: iss.Keys[0].ID, Secret: string(iss.Keys[0].Secret)}},
	}}}}
}

// Check returns what is wrong with the configuration, all of it.
func (c *Config) Check() error {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if len(c.Apps) == 0 {
		bad("apps: at least one is needed")
	}
	issuers := map[string]string{}
	for name, a := range c.Apps {
		if !presence.ValidAppID(name) {
			bad("apps.%.32s: an app's name is 1 to %d of a-z and 0-9", name, presence.MaxAppID)
		}
		if other, ok := issuers[a.JWT.Issuer]; ok {
			bad("apps.%s.jwt.issuer: app %s has the same; the issuer selects the app", name, other)
		}
		issuers[a.JWT.Issuer] = name
		all = append(all, a.check("apps."+name)...)
	}
	if _, err := token.NewVerifier(c.Issuers(), nil); err != nil && len(all) == 0 {
		bad("apps: jwt: %w", err)
	}
	if c.LogMaxBytes != 0 && c.LogMaxBytes < leastLog {
		bad("log_max_bytes: %d is too little; give at least %d, or 0 for the default", c.LogMaxBytes, leastLog)
	}
	if c.RestartGrace < 0 {
		bad("restart_grace: %v is negative", c.RestartGrace)
	}
	return errors.Join(all...)
}

func (a *App) check(path string) (all []error) {
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf(path+"."+format, args...)) }
	if a.JWT.Issuer == "" {
		bad("jwt.issuer: is missing; it selects the app of a token")
	}
	if len(a.JWT.Keys) == 0 {
		bad("jwt.keys: at least one is needed")
	}
	for i, k := range a.JWT.Keys {
		if len(k.Secret) < token.MinSecret {
			bad("jwt.keys[%d].secret: %d bytes; HS256 needs at least %d", i, len(k.Secret), token.MinSecret)
		}
	}
	p := a.Policy
	if _, err := multiDevice(p.MultiDevice); err != nil {
		bad("policy.multi_device: %w", err)
	}
	for name, d := range map[string]time.Duration{
		"heartbeat_timeout": p.HeartbeatTimeout, "grace": p.Grace, "resume_window": p.ResumeWindow, "connect_before": p.ConnectBefore,
	} {
		if d < 0 || d > 24*time.Hour {
			bad("policy.%s: %v is not between 0 and 24h", name, d)
		}
	}
	full := a.policy()
	if full.HeartbeatTimeout < 3*time.Second {
		bad("policy.heartbeat_timeout: %v is too short; at least 3s", full.HeartbeatTimeout)
	}
	if full.Grace >= full.HeartbeatTimeout {
		bad("policy.grace: %v is not below heartbeat_timeout (%v), which includes it", full.Grace, full.HeartbeatTimeout)
	}
	if full.ResumeWindow <= isonline.WriteLimit {
		bad("policy.resume_window: %v is not above %v, the time a stuck reader is given", full.ResumeWindow, isonline.WriteLimit)
	}
	if l := a.Limits; l.Sessions < 0 || l.OpensPerSecond < 0 || l.Watches < 0 || l.Batch < 0 {
		bad("limits: must not be negative")
	}
	return all
}

func multiDevice(s string) (presence.MultiDevice, error) {
	if s == "" {
		return presence.AllowAll, nil
	}
	for m := presence.AllowAll; m <= presence.Single; m++ {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown policy %.32q; use allow, one_per_platform or single", s)
}

func (a *App) policy() tracker.Policy {
	m, _ := multiDevice(a.Policy.MultiDevice)
	return tracker.Policy{
		HeartbeatTimeout: a.Policy.HeartbeatTimeout, Grace: a.Policy.Grace, ResumeWindow: a.Policy.ResumeWindow,
		ConnectBefore: a.Policy.ConnectBefore, MultiDevice: m,
		SessionsPerUser: a.Limits.Sessions, OpensPerSecond: a.Limits.OpensPerSecond,
	}.WithDefaults()
}

// Policies is what the tracker needs.
func (c *Config) Policies() map[presence.AppID]tracker.Policy {
	m := make(map[presence.AppID]tracker.Policy, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = a.policy()
	}
	return m
}

// DoorLimits is what the IsOnline door needs.
func (c *Config) DoorLimits() map[presence.AppID]isonline.Limits {
	m := make(map[presence.AppID]isonline.Limits, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = isonline.Limits{Watches: a.Limits.Watches, Batch: a.Limits.Batch}.WithDefaults()
	}
	return m
}

// Issuers is what the verifier of access tokens needs.
func (c *Config) Issuers() []token.Issuer {
	var list []token.Issuer
	for name, a := range c.Apps {
		list = append(list, a.JWT.issuer(name))
	}
	return list
}

// Issuer is the issuer of one app; ok is false when there is no such app.
func (c *Config) Issuer(app string) (iss token.Issuer, ok bool) {
	a, ok := c.Apps[app]
	return a.JWT.issuer(app), ok
}

func (j *JWT) issuer(app string) token.Issuer {
	iss := token.Issuer{App: presence.AppID(app), Issuer: j.Issuer, Audience: j.Audience, UserClaim: j.UserClaim}
	for _, k := range j.Keys {
		iss.Keys = append(iss.Keys, token.Key{ID: k.ID, Secret: []byte(k.Secret)})
	}
	return iss
}

// Exposes refuses an address beyond loopback while an app trusts the well-known
// development keys: anybody could sign in as anybody.
func (c *Config) Exposes(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", addr, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	known := string(token.Development().Keys[0].Secret)
	for name, a := range c.Apps {
		for _, k := range a.JWT.Keys {
			if k.Secret == known {
				return fmt.Errorf("listen address %s is not loopback, but app %s trusts the development key that everybody knows; use a configuration with a key of your own", addr, name)
			}
		}
	}
	return nil
}
