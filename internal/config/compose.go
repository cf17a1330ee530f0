package config

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/door/live"
	"github.com/porchlight-dev/porchlight/internal/door/rest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

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

func (a App) policy() tracker.Policy {
	a = a.withDefaults()
	m, _ := multiDevice(a.Policy.MultiDevice)
	return tracker.Policy{
		HeartbeatTimeout: a.Policy.HeartbeatTimeout, Grace: a.Policy.Grace, ResumeWindow: a.Policy.ResumeWindow,
		ConnectBefore: a.Policy.ConnectBefore, MultiDevice: m,
		SessionsPerUser: a.Limits.Sessions, OpensPerSecond: a.Limits.OpensPerSecond,
		Platforms: platforms(a.Policy.Platforms), TellCustom: a.tellsCustom(), TellShow: a.Mozpresence.on(),
	}.WithDefaults()
}

// tellsCustom reports that some endpoint of the app reports custom statuses.
func (a *App) tellsCustom() bool {
	for _, w := range a.Webhooks {
		if w = w.withDefaults(); w.IncludeCustom || w.Format == FormatTencentIM && w.TencentIM.Profile == ProfileTencent2025 {
			return true
		}
	}
	return false
}

func platforms(all map[string]PlatformPolicy) map[string]tracker.PlatformPolicy {
	if len(all) == 0 {
		return nil
	}
	m := make(map[string]tracker.PlatformPolicy, len(all))
	for name, p := range all {
		m[name] = tracker.PlatformPolicy{HeartbeatTimeout: p.HeartbeatTimeout, Grace: p.Grace}
	}
	return m
}

// Timeouts are the shortest and the longest heartbeat time-out of all apps and
// platforms.
func (c *Config) Timeouts() (shortest, longest time.Duration) {
	for _, p := range c.Policies() {
		all := []time.Duration{p.HeartbeatTimeout}
		for name := range p.Platforms {
			all = append(all, p.On(name).HeartbeatTimeout)
		}
		for _, d := range all {
			if shortest == 0 || d < shortest {
				shortest = d
			}
			longest = max(longest, d)
		}
	}
	return shortest, longest
}

// Policies is what the tracker needs.
func (c *Config) Policies() map[presence.AppID]tracker.Policy {
	m := make(map[presence.AppID]tracker.Policy, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = a.policy()
	}
	return m
}

// DoorLimits is what the doors for end users need.
func (c *Config) DoorLimits() map[presence.AppID]admit.Limits {
	m := make(map[presence.AppID]admit.Limits, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = admit.Limits{Watches: a.Limits.Watches, Batch: a.Limits.Batch}.WithDefaults()
	}
	return m
}

// ConnectionLimits is what the doors with sockets need.
func (c *Config) ConnectionLimits() live.Limits {
	l := live.Limits{PerAddress: c.Listen.ConnectionsPerAddress, PerUser: make(map[presence.AppID]int, len(c.Apps))}
	for name, a := range c.Apps {
		l.PerUser[presence.AppID(name)] = a.Limits.ConnectionsPerUser
	}
	return l.WithDefaults()
}

// Origins are the web pages that may call, for each app.
func (c *Config) Origins() map[presence.AppID][]string {
	m := make(map[presence.AppID][]string, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = a.CORS.Origins
	}
	return m
}

// Rates are the requests per second of all server keys of an app together.
func (c *Config) Rates() map[presence.AppID]float64 {
	m := make(map[presence.AppID]float64, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = a.Limits.RequestsPerSecond
	}
	return m
}

// ServerKeys is what the REST API needs.
func (c *Config) ServerKeys() (list []rest.Key) {
	for name, a := range c.Apps {
		for _, k := range a.ServerKeys {
			list = append(list, rest.Key{App: presence.AppID(name), ID: k.ID, Secret: string(k.Secret), RequestsPerSecond: k.RequestsPerSecond})
		}
	}
	return list
}

// Issuers is what the verifier of access tokens needs. It reads the files of
// public keys, anew with each call. What issuers publish is the caller's to add.
func (c *Config) Issuers() ([]token.Issuer, error) {
	var list []token.Issuer
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		iss, err := c.Issuer(name)
		if err != nil {
			return nil, err
		}
		list = append(list, iss)
	}
	return list, nil
}

// Issuer is the issuer of one app, which there must be.
func (c *Config) Issuer(app string) (token.Issuer, error) {
	j := c.Apps[app].JWT
	iss := token.Issuer{App: presence.AppID(app), Issuer: j.Issuer, Audience: j.Audience, UserClaim: j.UserClaim}
	for i, k := range j.Keys {
		key, err := k.read()
		if err != nil {
			return iss, fmt.Errorf("%s: %w", place{"apps", app, "jwt", "keys"}.item(i), err)
		}
		iss.Keys = append(iss.Keys, key)
	}
	return iss, nil
}

// read makes the key, of its file if it is in one.
func (k *Key) read() (token.Key, error) {
	key := token.Key{ID: k.ID, Secret: []byte(k.Secret)}
	text := []byte(k.PublicKey)
	var err error
	if k.PublicKeyFile != "" {
		if text, err = readBounded(k.PublicKeyFile, maxKeyFile); err != nil {
			return key, err
		}
	}
	if len(text) > 0 {
		key.Public, err = token.ParsePublicKey(text)
	}
	return key, err
}

// maxKeyFile is more than any public key or certificate needs.
const maxKeyFile = 64 << 10

// readBounded reads a small file.
func readBounded(path string, limit int64) ([]byte, error) {
	// Opening a pipe would wait for somebody to write.
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}

// Exposes refuses an address beyond loopback while an app trusts one of the
// well-known development keys: anybody could sign in as anybody.
func (c *Config) Exposes(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	for name, a := range c.Apps {
		if a.trustsEverybody() {
			return fmt.Errorf("listen address %s is not loopback, but app %s trusts a development key that everybody knows; use a configuration with keys of your own", addr, name)
		}
	}
	return nil
}

// trustsEverybody reports whether any of the app's keys is a well-known one.
func (a *App) trustsEverybody() bool {
	known := map[Secret]bool{
		Secret(token.Development().Keys[0].Secret): true, DevelopmentServerKey: true, DevelopmentWebhookSecret: true,
		DevelopmentRongCloudSecret: true, DevelopmentTencentIMKey: true,
		DevelopmentStringeeSecret: true,
	}
	mine := []Secret{a.RongCloud.AppSecret, a.TencentIM.Key, a.Stringee.KeySecret}
	for _, k := range a.JWT.Keys {
		mine = append(mine, k.Secret)
	}
	for _, k := range a.ServerKeys {
		mine = append(mine, k.Secret)
	}
	for _, w := range a.Webhooks {
		mine = append(mine, w.Secrets...)
	}
	return slices.ContainsFunc(mine, func(s Secret) bool { return known[s] })
}
