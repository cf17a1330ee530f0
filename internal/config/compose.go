package config

import (
	"fmt"
	"net"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/isonline"
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
		Platforms: platforms(a.Policy.Platforms),
	}.WithDefaults()
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

// DoorLimits is what the IsOnline door needs.
func (c *Config) DoorLimits() map[presence.AppID]isonline.Limits {
	m := make(map[presence.AppID]isonline.Limits, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = isonline.Limits{Watches: a.Limits.Watches, Batch: a.Limits.Batch}.WithDefaults()
	}
	return m
}

// Origins are the web pages that may call, for each app.
func (c *Config) Origins() map[presence.AppID][]string {
	m := make(map[presence.AppID][]string, len(c.Apps))
	for name, a := range c.Apps {
		m[presence.AppID(name)] = a.CORS.Origins
	}
	return m
}

// ServerKeys is what the REST API needs.
func (c *Config) ServerKeys() (list []rest.Key) {
	for name, a := range c.Apps {
		for _, k := range a.ServerKeys {
			list = append(list, rest.Key{App: presence.AppID(name), ID: k.ID, Secret: k.Secret, RequestsPerSecond: k.RequestsPerSecond})
		}
	}
	return list
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
	known := string(token.Development().Keys[0].Secret)
	for name, a := range c.Apps {
		trusts := false
		for _, k := range a.JWT.Keys {
			trusts = trusts || k.Secret == known
		}
		for _, k := range a.ServerKeys {
			trusts = trusts || k.Secret == DevelopmentServerKey
		}
		if trusts {
			return fmt.Errorf("listen address %s is not loopback, but app %s trusts a development key that everybody knows; use a configuration with keys of your own", addr, name)
		}
	}
	return nil
}
