package config

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// Bounds of webhooks.
const (
	mostWebhooks       = 16 // of one app
	maxWebhookName     = 32
	maxURL             = 2048
	mostLanes          = 64
	mostBatch          = 1000
	longestLinger      = 10 * time.Second
	mostWebhookSecrets = 4
	minSigningKey      = 24 // bytes, as Standard Webhooks says
	maxSigningKey      = 64
	// longestForRongCloud is the longest heartbeat time-out beside a RongCloud
	// endpoint: its document says that an offline comes at most 5 minutes late.
	longestForRongCloud = 299 * time.Second
)

// signingPrefix begins a secret of Standard Webhooks.
const signingPrefix = "whsec_"

func (a *App) checkWebhooks(p *problems, at place) {
	if len(a.Webhooks) > mostWebhooks {
		p.add(at, "%d endpoints; at most %d are allowed", len(a.Webhooks), mostWebhooks)
	}
	for _, name := range a.webhookNames() {
		w, at := a.Webhooks[name], at.key(name)
		if !validWebhookName(name) {
			p.add(at, "an endpoint's name is 1 to %d of a-z, 0-9 and -", maxWebhookName)
		}
		if w.Format != "" && !slices.Contains(Formats(), w.Format) {
			p.add(at.key("format"), "unknown format %.32q; use %s", w.Format, oneOf(Formats()))
			continue // what else it may have depends on it
		}
		w = w.withDefaults()
		before := len(p.list)
		w.checkAddress(p, at)
		w.checkSecrets(p, at.key("secrets"))
		w.checkAmounts(p, at)
		w.checkStyle(p, at)
		a.checkFormat(p, at, w)
		if len(p.list) == before {
			a.tryFormat(p, at, w)
		}
	}
}

// validWebhookName reports whether a name can stand in a path, in a metric and
// in the store's keys as it is.
func validWebhookName(s string) bool {
	return s != "" && len(s) <= maxWebhookName && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (w *Webhook) checkAddress(p *problems, at place) {
	at = at.key("url")
	switch {
	case w.URL == "":
		p.add(at, "is missing; it says where events are sent, such as https://backend.example/presence")
		return
	case len(w.URL) > maxURL:
		p.add(at, "%d bytes; at most %d are allowed", len(w.URL), maxURL)
		return
	}
	checkURL(p, at, w.URL, w.AllowPrivate)
	u, err := url.Parse(w.URL)
	if err != nil {
		return
	}
	if u.Scheme == "https" || w.AllowPrivate { // http without it is refused above
		checkLiteral(p, at, u, w.AllowPrivate)
	}
}

// checkLiteral refuses a host that is an address nobody may call, before the
// first call does.
func checkLiteral(p *problems, at place, u *url.URL, private bool) {
	err := outbound.CheckHost(u.Hostname(), private)
	switch {
	case err == nil:
	case private || outbound.CheckHost(u.Hostname(), true) != nil:
		p.add(at, "leads to an address that is never called: where clouds keep the secrets of their machines, or one that nothing has")
	default:
		p.add(at, "leads to this machine or a private network; set allow_private if that is meant")
	}
}

// signs reports whether the format signs with Standard Webhooks.
func (w *Webhook) signs() bool { return w.Format == FormatNative || w.Format == FormatCloudEvents }

func (w *Webhook) checkSecrets(p *problems, at place) {
	switch {
	case !w.signs():
		if len(w.Secrets) > 0 {
			p.add(at, "format %s does not sign with them; its secret is %s", w.Format,
				map[string]string{FormatRongCloud: "apps.NAME.rongcloud.app_secret", FormatTencentIM: "tencentim.token"}[w.Format])
		}
		return
	case len(w.Secrets) == 0:
		p.add(at, `are missing; give one: [whsec_…] with the output of openssl rand -base64 32 after whsec_`)
	case len(w.Secrets) > mostWebhookSecrets:
		p.add(at, "%d secrets; at most %d are allowed, the newest first", len(w.Secrets), mostWebhookSecrets)
	}
	seen := map[Secret]bool{}
	for i, s := range w.Secrets {
		switch {
		case seen[s]:
			p.add(at.item(i), "is there twice")
		case strings.HasPrefix(string(s), signingPrefix+exampleSecret):
			p.add(at.item(i), "is still the one of the example, which everybody knows; give whsec_ and the output of openssl rand -base64 32")
		default:
			checkSigningKey(p, at.item(i), s)
		}
		seen[s] = true
	}
}

func checkSigningKey(p *problems, at place, s Secret) {
	text, ok := strings.CutPrefix(string(s), signingPrefix)
	if !ok {
		p.add(at, "must begin with whsec_ (Standard Webhooks); give whsec_ and the output of openssl rand -base64 32")
		return
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		p.add(at, "what follows whsec_ is not base64 with its = at the end; give the output of openssl rand -base64 32")
	case len(key) < minSigningKey || len(key) > maxSigningKey:
		p.add(at, "%d bytes follow whsec_; %d to %d are allowed", len(key), minSigningKey, maxSigningKey)
	}
}

func (w *Webhook) checkAmounts(p *problems, at place) {
	if w.Lanes < 1 || w.Lanes > mostLanes {
		p.add(at.key("lanes"), "%d is not between 1 and %d; 0 is the default, %d", w.Lanes, mostLanes, DefaultWebhookLanes)
	}
	batch := at.key("batch")
	if w.Format == FormatTencentIM && w.Batch != (WebhookBatch{}) {
		p.add(batch, "format %s has one event in a request", w.Format)
		return
	}
	if w.Batch.Events < 0 || w.Batch.Events > mostBatch {
		p.add(batch.key("events"), "%d is not between 0 and %d; 0 is the format's own", w.Batch.Events, mostBatch)
	}
	if w.Batch.Events > 1 && w.Format == FormatCloudEvents && w.CloudEvents.Mode == ModeStructured {
		p.add(batch.key("events"), "%d cannot be: cloudevents.mode structured has one event in a request; use batched", w.Batch.Events)
	}
	if w.Batch.Linger < 0 || w.Batch.Linger > longestLinger {
		p.add(batch.key("linger"), "%v is not between 0 and %v; 0 is the format's own", w.Batch.Linger, longestLinger)
	}
	if w.IncludeCustom && !w.signs() {
		p.add(at.key("include_custom"), "is for native and cloudevents; format %s says by itself what it tells", w.Format)
	}
}

// checkStyle looks at the keys of the formats: those of another format are
// refused, because they would count for nothing.
func (w *Webhook) checkStyle(p *problems, at place) {
	own := w.withDefaults()
	plain := (Webhook{}).withDefaults()
	for _, k := range []struct {
		format string
		set    bool
	}{
		{FormatRongCloud, !*own.RongCloud.NotifyAllOffline || own.RongCloud.SignatureStyle != plain.RongCloud.SignatureStyle},
		{FormatTencentIM, own.TencentIM != plain.TencentIM},
		{FormatCloudEvents, own.CloudEvents != plain.CloudEvents},
	} {
		if k.set && k.format != w.Format {
			p.add(at.key(k.format), "counts with format: %s; this endpoint has %s", k.format, w.Format)
		}
	}
	word := func(at place, got string, words ...string) {
		if !slices.Contains(words, got) {
			p.add(at, "unknown word %.32q; use %s", got, oneOf(words))
		}
	}
	word(at.key("rongcloud", "signature_style"), own.RongCloud.SignatureStyle, StyleSeed, StyleSignTimestamp)
	word(at.key("tencentim", "profile"), own.TencentIM.Profile, ProfileTencent2020, ProfileTencent2025)
	word(at.key("cloudevents", "mode"), own.CloudEvents.Mode, ModeStructured, ModeBatched)
	if own.TencentIM.Retry && own.TencentIM.Profile == ProfileTencent2020 {
		p.add(at.key("tencentim", "retry"), "needs profile: %s; in %s nothing is tried again", ProfileTencent2025, ProfileTencent2020)
	}
}

// checkFormat looks at what a format needs of the app around it.
func (a *App) checkFormat(p *problems, at place, w Webhook) {
	switch w.Format {
	case FormatRongCloud:
		if a.RongCloud.AppKey == "" {
			p.add(at.key("format"), "%s needs the app's rongcloud: {app_key, app_secret}, which sign", w.Format)
		}
		a.checkRongCloudTimes(p, at)
	case FormatTencentIM:
		if a.TencentIM.SDKAppID == 0 {
			p.add(at.key("format"), "%s needs the app's tencentim: {sdkappid}, which every request carries", w.Format)
		}
	}
}

// checkRongCloudTimes refuses time-outs that break RongCloud's own promise.
func (a *App) checkRongCloudTimes(p *problems, at place) {
	policy := at[:2].key("policy")
	y := a.policy()
	if d := y.HeartbeatTimeout; d > longestForRongCloud {
		p.add(policy.key("heartbeat_timeout"), "%v is too long beside the RongCloud endpoint %s, which promises that an offline comes within 5 minutes; at most %v", d, at[len(at)-1], longestForRongCloud)
	}
	for name := range a.Policy.Platforms {
		if d := y.On(name).HeartbeatTimeout; d > longestForRongCloud && a.Policy.Platforms[name].HeartbeatTimeout != 0 {
			p.add(policy.key("platforms", name, "heartbeat_timeout"), "%v is too long beside the RongCloud endpoint %s; at most %v", d, at[len(at)-1], longestForRongCloud)
		}
	}
}

// tryFormat asks the format itself what it has against the endpoint.
func (a *App) tryFormat(p *problems, at place, w Webhook) {
	f, err := a.webhookFormat(w)
	if err != nil {
		p.add(at, "%v", err)
		return
	}
	if err := webhook.CheckURL(w.URL); err != nil {
		p.add(at.key("url"), "%v", err)
		return
	}
	if c, ok := f.(webhook.URLChecker); ok {
		if err := c.CheckURL(w.URL); err != nil {
			p.add(at.key("url"), "%v", err)
		}
	}
}

// maxForeignName bounds ids and secrets of the interfaces that others defined.
const maxForeignName = 256

func (r *RongCloud) check(p *problems, at place) {
	if *r == (RongCloud{}) {
		return
	}
	checkForeign(p, at.key("app_key"), r.AppKey)
	checkForeign(p, at.key("app_secret"), string(r.AppSecret))
	checkTime(p, at.key("timestamp_window"), r.TimestampWindow)
}

func (t *TencentIM) check(p *problems, at place) {
	if t.SDKAppID == 0 && t.Key == "" && len(t.Admins) == 0 {
		return
	}
	if t.SDKAppID <= 0 {
		p.add(at.key("sdkappid"), "%d is none; it is the app's number at Tencent, above 0", t.SDKAppID)
	}
	if t.Key != "" || len(t.Admins) > 0 {
		checkForeign(p, at.key("key"), string(t.Key))
	}
	if t.Key != "" && len(t.Admins) == 0 {
		p.add(at.key("admins"), "are missing; calls are taken from administrators alone, such as [administrator]")
	}
	for i, name := range t.Admins {
		if name == "" || len(name) > maxUserSigName || !headerText(name) {
			p.add(at.key("admins").item(i), "is not 1 to %d characters of ASCII", maxUserSigName)
		}
	}
}

// maxUserSigName is the longest identifier that a UserSig has.
const maxUserSigName = 32

func checkForeign(p *problems, at place, s string) {
	switch {
	case s == "":
		p.add(at, "is missing")
	case strings.HasPrefix(s, exampleSecret):
		p.add(at, "is still the one of the example, which everybody knows; give the app's own")
	case len(s) > maxForeignName || !headerText(s):
		p.add(at, "is not 1 to %d characters of ASCII", maxForeignName)
	}
}

// checkForeignApps refuses two apps that stand for the same one elsewhere: a call
// would not say whose it is.
func (c *Config) checkForeignApps(p *problems, names []string) {
	keys, ids, sids := map[string]string{}, map[int64]string{}, map[string]string{}
	for _, name := range names {
		a, at := c.Apps[name], place{"apps", name}
		if key := a.RongCloud.AppKey; key != "" {
			if other, ok := keys[key]; ok {
				p.add(at.key("rongcloud", "app_key"), "app %s has the same; it selects the app", other)
			}
			keys[key] = name
		}
		if id := a.TencentIM.SDKAppID; id != 0 {
			if other, ok := ids[id]; ok {
				p.add(at.key("tencentim", "sdkappid"), "app %s has the same; it selects the app", other)
			}
			ids[id] = name
		}
		if sid := a.Stringee.KeySID; sid != "" {
			if other, ok := sids[sid]; ok {
				p.add(at.key("stringee", "key_sid"), "app %s has the same; it selects the app", other)
			}
			sids[sid] = name
		}
	}
}
