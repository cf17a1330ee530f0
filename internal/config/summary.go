package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Summary is what a node would run with, defaults filled in. It has no secrets.
type Summary struct {
	HTTP           string        `json:"http"`
	GRPC           string        `json:"grpc"`
	TLS            bool          `json:"tls"`
	TrustedProxies []string      `json:"trusted_proxies"`
	ProxyProtocol  bool          `json:"proxy_protocol"`
	PerAddress     int           `json:"connections_per_address"`
	Data           string        `json:"data"`
	Nodes          *NodesSummary `json:"nodes,omitempty"`
	Apps           []AppSummary  `json:"apps"`
	Warnings       []string      `json:"warnings"`
}

// AppSummary is that of one app. Times are in seconds.
type AppSummary struct {
	Name       string                   `json:"name"`
	Issuer     string                   `json:"issuer"`
	Audience   string                   `json:"audience"`
	UserClaim  string                   `json:"user_claim"`
	Keys       []KeySummary             `json:"keys"`
	JWKSURL    string                   `json:"jwks_url,omitempty"`
	ServerKeys []string                 `json:"server_keys"`
	Policy     PolicySummary            `json:"policy"`
	Platforms  map[string]PolicySummary `json:"platforms,omitempty"`
	Limits     Limits                   `json:"limits"`
	Friends    string                   `json:"friends"`
	FriendsURL string                   `json:"friends_url,omitempty"`
	Catalogues map[string]string        `json:"catalogues"`
	Origins    []string                 `json:"origins"`
	Webhooks   []WebhookSummary         `json:"webhooks"`
	// Mozpresence says who may register publishers; "": the app has no such
	// interface.
	Mozpresence string `json:"mozpresence,omitempty"`
	RongCloud   string `json:"rongcloud_app_key,omitempty"`
	TencentIM   int64  `json:"tencentim_sdkappid,omitempty"`
	Stringee    string `json:"stringee_key_sid,omitempty"`
}

// WebhookSummary is that of one endpoint. Its address is shown without what may
// be a key in it.
type WebhookSummary struct {
	Name    string `json:"name"`
	Format  string `json:"format"`
	URL     string `json:"url"`
	Lanes   int    `json:"lanes"`
	Secrets int    `json:"secrets"`
}

// KeySummary names a key and its algorithm.
type KeySummary struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
}

// PolicySummary is a policy with its defaults.
type PolicySummary struct {
	HeartbeatTimeout float64 `json:"heartbeat_timeout"`
	Grace            float64 `json:"grace"`
	ResumeWindow     float64 `json:"resume_window"`
	ConnectBefore    float64 `json:"connect_before"`
	MultiDevice      string  `json:"multi_device"`
	Visibility       string  `json:"visibility"`
}

// Summary describes a configuration that was checked.
func (c *Config) Summary() Summary {
	s := Summary{
		HTTP: c.Listen.HTTP, GRPC: c.Listen.GRPC, TLS: c.Listen.TLS.Cert != "",
		TrustedProxies: list(c.Listen.TrustedProxies), ProxyProtocol: c.Listen.ProxyProtocol,
		PerAddress: c.ConnectionLimits().PerAddress, Data: c.Data, Nodes: c.nodesSummary(), Warnings: list(c.warnings),
	}
	orText(&s.HTTP, DefaultHTTP)
	orText(&s.GRPC, DefaultGRPC)
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		a, _ := c.App(name)
		s.Apps = append(s.Apps, c.appSummary(name, a))
	}
	return s
}

// shownURL leaves out what may have a key in it.
func shownURL(s string) string {
	if at, _, ok := strings.Cut(s, "?"); ok {
		return at + "?" + notShown
	}
	return s
}

// list is never null in JSON.
func list(l []string) []string { return append([]string{}, l...) }

func (c *Config) appSummary(name string, a App) AppSummary {
	p := a.policy()
	s := AppSummary{
		Name: name, Issuer: a.JWT.Issuer, Audience: a.JWT.Audience, UserClaim: a.JWT.UserClaim, JWKSURL: shownURL(a.JWT.JWKSURL),
		Keys: []KeySummary{}, ServerKeys: []string{}, Policy: policySummary(p, a.Policy.Visibility),
		Friends: a.Friends.Source, FriendsURL: shownURL(a.Friends.URL), Catalogues: a.Catalogues.Products, Origins: list(a.CORS.Origins),
		Limits: a.Limits, Webhooks: []WebhookSummary{}, RongCloud: a.RongCloud.AppKey, TencentIM: a.TencentIM.SDKAppID,
		Mozpresence: a.Mozpresence.Publishers,
		Stringee:    a.Stringee.KeySID,
	}
	for _, name := range a.webhookNames() {
		w := a.Webhooks[name].withDefaults()
		s.Webhooks = append(s.Webhooks, WebhookSummary{name, w.Format, shownURL(w.URL), w.Lanes, len(w.Secrets)})
	}
	orText(&s.UserClaim, "sub")
	if s.Catalogues == nil {
		s.Catalogues = map[string]string{}
	}
	door := c.DoorLimits()
	for app, l := range door {
		if string(app) == name {
			s.Limits.Watches, s.Limits.Batch = l.Watches, l.Batch
		}
	}
	s.Limits.Sessions = p.SessionsPerUser
	if iss, err := c.Issuer(name); err == nil {
		for _, k := range iss.Keys {
			s.Keys = append(s.Keys, KeySummary{k.ID, k.Algorithm()})
		}
	}
	for _, k := range a.ServerKeys {
		s.ServerKeys = append(s.ServerKeys, k.ID)
	}
	for name := range p.Platforms {
		if s.Platforms == nil {
			s.Platforms = map[string]PolicySummary{}
		}
		s.Platforms[name] = policySummary(p.On(name), a.Policy.Visibility)
	}
	return s
}

func policySummary(p tracker.Policy, visibility string) PolicySummary {
	return PolicySummary{
		HeartbeatTimeout: p.HeartbeatTimeout.Seconds(), Grace: p.Grace.Seconds(), ResumeWindow: p.ResumeWindow.Seconds(),
		ConnectBefore: p.ConnectBefore.Seconds(), MultiDevice: p.MultiDevice.String(), Visibility: visibility,
	}
}

// String is the summary as text.
func (s Summary) String() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	secured := "in the clear"
	if s.TLS {
		secured = "TLS"
	}
	row("listen", "http %s, grpc %s, %s%s", s.HTTP, s.GRPC, secured, proxies(s))
	row("data", "%s", orNone(s.Data))
	if s.Nodes != nil {
		s.Nodes.rows(row)
	}
	for _, a := range s.Apps {
		b.WriteString("\napp " + a.Name + "\n")
		a.rows(func(name, format string, args ...any) { row("  "+name, format, args...) })
	}
	return b.String()
}

func proxies(s Summary) string {
	if len(s.TrustedProxies) == 0 {
		return ""
	}
	said := ", behind proxies of " + strings.Join(s.TrustedProxies, " ")
	if s.ProxyProtocol {
		said += " that speak the PROXY protocol"
	}
	return said
}

func (a AppSummary) rows(row func(name, format string, args ...any)) {
	row("issuer", "%s, audience %s, user in %q", a.Issuer, orAny(a.Audience), a.UserClaim)
	var keys []string
	for _, k := range a.Keys {
		keys = append(keys, strings.TrimSpace(k.ID+" ("+k.Algorithm+")"))
	}
	if a.JWKSURL != "" {
		keys = append(keys, "those at "+a.JWKSURL)
	}
	row("keys", "%s", strings.Join(keys, ", "))
	row("server keys", "%s", orNone(strings.Join(a.ServerKeys, ", ")))
	row("policy", "%s, %s, visible to %s", a.Policy, a.Policy.MultiDevice, a.Policy.Visibility)
	for _, name := range slices.Sorted(maps.Keys(a.Platforms)) {
		row("on "+name, "heartbeat %s, grace %s", seconds(a.Platforms[name].HeartbeatTimeout), seconds(a.Platforms[name].Grace))
	}
	l := a.Limits
	row("limits", "%d sessions, %d watches, %d in a batch, %d friends, %s sessions made/s, %s requests/s",
		l.Sessions, l.Watches, l.Batch, l.Friends, rate(l.OpensPerSecond), rate(l.RequestsPerSecond))
	row("friends", "%s", strings.TrimSpace(a.Friends+" "+a.FriendsURL))
	var texts []string
	for _, product := range slices.Sorted(maps.Keys(a.Catalogues)) {
		texts = append(texts, fmt.Sprintf("%q %s", product, a.Catalogues[product]))
	}
	row("texts", "%s", orNone(strings.Join(texts, ", ")))
	row("web pages", "%s", orNone(strings.Join(a.Origins, ", ")))
	a.webhookRows(row)
}

func (a AppSummary) webhookRows(row func(name, format string, args ...any)) {
	if len(a.Webhooks) == 0 {
		row("webhooks", "none")
	}
	for _, w := range a.Webhooks {
		row("webhook", "%s: %s to %s, %d lanes", w.Name, w.Format, w.URL, w.Lanes)
	}
	if a.RongCloud != "" {
		row("RongCloud", "app key %s", a.RongCloud)
	}
	if a.TencentIM != 0 {
		row("Tencent IM", "sdkappid %d", a.TencentIM)
	}
	if a.Mozpresence != "" {
		row("Mozilla", "publishers %s", a.Mozpresence)
	}
	if a.Stringee != "" {
		row("Stringee", "key %s", a.Stringee)
	}
}

// String is the times of a policy.
func (p PolicySummary) String() string {
	return fmt.Sprintf("heartbeat %s, grace %s, resume %s, connect %s",
		seconds(p.HeartbeatTimeout), seconds(p.Grace), seconds(p.ResumeWindow), seconds(p.ConnectBefore))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func rate(perSecond float64) string {
	if perSecond == 0 {
		return "any"
	}
	return fmt.Sprintf("%g", perSecond)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}
