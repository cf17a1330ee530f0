package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/porchlight-dev/porchlight/internal/door/isonline"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// Bounds of an app's values.
const (
	maxServerKeys  = 16
	minServerKey   = 32 // bytes: nobody guesses that
	maxServerKey   = 256
	longestPolicy  = 24 * time.Hour
	shortestPolicy = 3 * time.Second // of a heartbeat time-out: a third of it is the interval
	longestAsking  = 30 * time.Second
	mostFriends    = 100_000
)

func (a *App) check(p *problems, at place) {
	a.checkServerKeys(p, at.key("server_keys"))
	a.JWT.check(p, at.key("jwt"))
	a.checkPolicy(p, at.key("policy"))
	a.Limits.check(p, at.key("limits"))
	a.Friends.check(p, at.key("friends"))
	a.Catalogues.check(p, at.key("catalogues"))
	a.checkWebhooks(p, at.key("webhooks"))
	a.RongCloud.check(p, at.key("rongcloud"))
	a.Stringee.check(p, at.key("stringee"))
	a.TencentIM.check(p, at.key("tencentim"))
	a.Mozpresence.check(p, at.key("mozpresence"))
	for i, o := range a.CORS.Origins {
		if !validOrigin(o) {
			p.add(at.key("cors", "origins").item(i), "%.64q is not an origin; write https://app.example without a path, or *", o)
		}
	}
}

// exampleSecret begins the secrets of docs/porchlight.example.yaml. With one of
// them left in, anybody could sign in as anybody.
const (
	exampleSecret = "replace-this"
	stillExample  = "is still the one of the example, which everybody knows; give the output of openssl rand -hex 32"
)

func (a *App) checkServerKeys(p *problems, at place) {
	if len(a.ServerKeys) > maxServerKeys {
		p.add(at, "%d keys; at most %d are allowed", len(a.ServerKeys), maxServerKeys)
	}
	ids := map[string]bool{}
	for i, k := range a.ServerKeys {
		switch {
		case k.ID == "":
			p.add(at.item(i).key("id"), "is missing; it names the key in logs")
		case ids[k.ID]:
			p.add(at.item(i).key("id"), "two keys have the id %.64q", k.ID)
		}
		ids[k.ID] = true
		secret := at.item(i).key("secret")
		switch n := len(k.Secret); {
		case strings.HasPrefix(string(k.Secret), exampleSecret):
			p.add(secret, stillExample)
		case n == 0:
			p.add(secret, "is missing; give the output of openssl rand -hex 32")
		case n < minServerKey || n > maxServerKey:
			p.add(secret, "%d bytes; %d to %d are allowed", n, minServerKey, maxServerKey)
		case !headerText(string(k.Secret)):
			p.add(secret, "has characters that no HTTP header carries; use letters, digits and signs of ASCII")
		}
		checkAmount(p, at.item(i).key("requests_per_second"), k.RequestsPerSecond)
	}
}

// headerText reports whether s arrives as it is in an HTTP header.
func headerText(s string) bool {
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// takenClaims cannot name the user.
var takenClaims = []string{"iss", "aud", "exp", "nbf", "iat"}

func (j *JWT) check(p *problems, at place) {
	if j.Issuer == "" {
		p.add(at.key("issuer"), "is missing; it selects the app of a token")
	}
	if slices.Contains(takenClaims, j.UserClaim) {
		p.add(at.key("user_claim"), "%q has a meaning of its own; choose another", j.UserClaim)
	}
	j.checkKeys(p, at.key("keys"))
	if j.JWKSURL != "" {
		checkURL(p, at.key("jwks_url"), j.JWKSURL, j.AllowPrivate)
	}
}

func (k *Key) check(p *problems, at place) {
	given := 0
	for _, s := range []Secret{k.Secret, k.PublicKey, Secret(k.PublicKeyFile)} {
		if s != "" {
			given++
		}
	}
	switch {
	case given == 0:
		p.add(at, "needs one of secret, public_key and public_key_file")
	case given > 1:
		p.add(at, "has %d of secret, public_key and public_key_file; a key is one of them", given)
	case strings.HasPrefix(string(k.Secret), exampleSecret):
		p.add(at.key("secret"), stillExample)
	case k.Secret != "":
		if len(k.Secret) < token.MinSecret {
			p.add(at.key("secret"), "%d bytes; HS256 needs at least %d", len(k.Secret), token.MinSecret)
		}
	default:
		k.checkPublic(p, at)
	}
}

func (k *Key) checkPublic(p *problems, at place) {
	at = at.key("public_key")
	if k.PublicKeyFile != "" {
		at = at[:len(at)-1].key("public_key_file")
	}
	if _, err := k.read(); err != nil {
		p.add(at, "%v", err)
	}
}

// maxKeys is how many a token without a key id may be tried with.
const maxKeys = 16

func (j *JWT) checkKeys(p *problems, at place) {
	if len(j.Keys) == 0 && j.JWKSURL == "" {
		p.add(at, "at least one is needed, or jwks_url")
	}
	if len(j.Keys) > maxKeys {
		p.add(at, "%d keys; at most %d are allowed", len(j.Keys), maxKeys)
	}
	ids := map[string]bool{}
	for i, k := range j.Keys {
		k.check(p, at.item(i))
		if k.ID != "" && ids[k.ID] {
			p.add(at.item(i).key("id"), "two keys have the id %.64q", k.ID)
		}
		ids[k.ID] = true
	}
}

// checkURL looks at an address that the node calls.
func checkURL(p *problems, at place, s string, private bool) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		p.add(at, "is not a URL; write https://host/path")
	case u.User != nil:
		p.add(at, "has a name or a password in it, which would show in logs; leave them out")
	case strings.Contains(s, "#"): // an empty one, too
		p.add(at, "has a fragment (#), which is never sent; leave it out")
	case u.Scheme == "http" && !private:
		p.add(at, "is http: anybody on the way could change the answer; use https, or set allow_private for an address of your own network")
	}
}

func (a *App) checkPolicy(p *problems, at place) {
	y := a.Policy
	if y.Preset != "" && y.Preset != presetTencent2020 {
		p.add(at.key("preset"), "unknown preset %.32q; use %s or leave it out", y.Preset, presetTencent2020)
	}
	if _, err := multiDevice(y.MultiDevice); err != nil {
		p.add(at.key("multi_device"), "%v", err)
	}
	if v := y.Visibility; v != "" && v != VisibleToEveryone && v != VisibleToFriends {
		p.add(at.key("visibility"), "unknown word %.32q; use %s or %s", v, VisibleToEveryone, VisibleToFriends)
	}
	checkTime(p, at.key("heartbeat_timeout"), y.HeartbeatTimeout)
	checkTime(p, at.key("grace"), y.Grace)
	checkTime(p, at.key("resume_window"), y.ResumeWindow)
	checkTime(p, at.key("connect_before"), y.ConnectBefore)
	full := a.policy()
	checkSilence(p, at, full.HeartbeatTimeout, full.Grace)
	a.checkPlatforms(p, at.key("platforms"))
	if full.ResumeWindow <= isonline.WriteLimit {
		p.add(at.key("resume_window"), "%v is not above %v, the time a stuck reader is given", full.ResumeWindow, isonline.WriteLimit)
	}
}

// maxPlatform is the longest name of a platform that a device may have.
const maxPlatform = 64

func (a *App) checkPlatforms(p *problems, at place) {
	seen := map[string]string{}
	full := a.policy()
	for _, name := range slices.Sorted(maps.Keys(a.Policy.Platforms)) {
		y, at := a.Policy.Platforms[name], at.key(name)
		if name == "" || len(name) > maxPlatform {
			p.add(at, "a platform's name is 1 to %d bytes", maxPlatform)
		}
		if other, ok := seen[strings.ToLower(name)]; ok {
			p.add(at, "is %.64q too; the case does not count", other)
			continue
		}
		seen[strings.ToLower(name)] = name
		checkTime(p, at.key("heartbeat_timeout"), y.HeartbeatTimeout)
		checkTime(p, at.key("grace"), y.Grace)
		on := full.On(name)
		checkSilence(p, at, on.HeartbeatTimeout, on.Grace)
	}
}

func checkTime(p *problems, at place, d time.Duration) {
	if d < 0 || d > longestPolicy {
		p.add(at, "%v is not between 0 and %v", d, longestPolicy)
	}
}

// checkSilence looks at a heartbeat time-out and the grace that is in it.
func checkSilence(p *problems, at place, timeout, grace time.Duration) {
	if timeout < shortestPolicy {
		p.add(at.key("heartbeat_timeout"), "%v is too short; at least %v", timeout, shortestPolicy)
	}
	if grace >= timeout {
		p.add(at.key("grace"), "%v is not below heartbeat_timeout (%v), which includes it", grace, timeout)
	}
}

func (l *Limits) check(p *problems, at place) {
	for name, n := range map[string]float64{
		"sessions": float64(l.Sessions), "connections_per_user": float64(l.ConnectionsPerUser), "opens_per_second": l.OpensPerSecond, "watches": float64(l.Watches),
		"batch": float64(l.Batch), "friends": float64(l.Friends), "requests_per_second": l.RequestsPerSecond,
	} {
		checkAmount(p, at.key(name), n)
	}
	if l.Friends > mostFriends {
		p.add(at.key("friends"), "%d is too many; at most %d", l.Friends, mostFriends)
	}
}

// mostOf is more than anybody means by a limit.
const mostOf = 1e9

func checkAmount(p *problems, at place, n float64) {
	if !(n >= 0 && n <= mostOf) { // NaN is neither
		p.add(at, "%v is not between 0 and %.0f; 0 is the default", n, mostOf)
	}
}

func (f *Friends) check(p *problems, at place) {
	switch f.Source {
	case "", FriendsFromStore:
		if f.URL != "" {
			p.add(at.key("url"), "is used with source: %s only", FriendsFromHTTP)
		}
	case FriendsFromHTTP:
		if f.URL == "" {
			p.add(at.key("url"), "is missing; source: %s asks there", FriendsFromHTTP)
		} else {
			checkURL(p, at.key("url"), f.URL, f.AllowPrivate)
		}
		if len(f.Secret) < token.MinSecret {
			p.add(at.key("secret"), "%d bytes; at least %d are needed, to prove who asks", len(f.Secret), token.MinSecret)
		}
	default:
		p.add(at.key("source"), "unknown word %.32q; use %s or %s", f.Source, FriendsFromStore, FriendsFromHTTP)
	}
	if f.Timeout < 0 || f.Timeout > longestAsking {
		p.add(at.key("timeout"), "%v is not between 0 and %v", f.Timeout, longestAsking)
	}
	checkTime(p, at.key("max_age"), f.MaxAge)
}

func (c *Catalogues) check(p *problems, at place) {
	if c.DefaultLocale != "" {
		if _, err := language.Parse(c.DefaultLocale); err != nil {
			p.add(at.key("default_locale"), "%.32q is not a locale; write it as en or pt-BR", c.DefaultLocale)
		}
	}
	for product, file := range c.Products {
		if file == "" {
			p.add(at.key("products", product), "names no file")
		}
	}
}

// validOrigin reports whether s is what a browser sends as Origin, or "*".
func validOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && s == u.Scheme+"://"+strings.ToLower(u.Host)
}
