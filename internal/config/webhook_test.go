package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// withWebhook is a configuration whose app has the keys of rest, and one endpoint.
func withWebhook(webhook, rest string) string {
	return "apps:\n  a:\n    jwt: {issuer: i, keys: [{secret: " + secret + "}]}\n    webhooks: {main: {" + webhook + "}}\n" + rest
}

const (
	goodURL  = "url: \"https://shop.example/hook\""
	goodKeys = ", secrets: [" + signing + "]"
	good     = goodURL + goodKeys
	rongApp  = "    rongcloud: {app_key: plkey, app_secret: s}\n"
	sidApp   = "    stringee: {key_sid: s, project_id: 1, key_secret: " + secret + "}\n"
	timApp   = "    tencentim: {sdkappid: 1400000001}\n"
)

func TestWebhookDefaults(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(withWebhook(good, "")))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.App("a")
	w := a.Webhooks["main"]
	if w.Format != "native" || w.Lanes != 16 || w.AllowPrivate || w.RongCloud.NotifyAllOffline == nil || !*w.RongCloud.NotifyAllOffline ||
		w.RongCloud.SignatureStyle != "seed" || w.TencentIM.Profile != "2020" || w.CloudEvents.Mode != "structured" {
		t.Errorf("defaults = %+v", w)
	}
	if c.Apps["a"].Webhooks["main"].Format != "" {
		t.Error("filling the defaults changed the configuration")
	}
	if c, err = Parse([]byte(full)); err != nil {
		t.Fatal(err)
	}
	a, _ = c.App("shop")
	if w := a.Webhooks["main"]; w.URL != "https://shop.example/hook?a=b" || w.Secrets[0] != signing || w.Lanes != 4 || w.Batch != (WebhookBatch{7, 30 * time.Millisecond}) || !w.IncludeCustom {
		t.Errorf("main = %+v", w)
	}
	if w := a.Webhooks["rong"]; w.Format != "rongcloud" || !w.AllowPrivate || *w.RongCloud.NotifyAllOffline || w.RongCloud.SignatureStyle != "signTimestamp" {
		t.Errorf("rong = %+v", w)
	}
	if w := a.Webhooks["tim"]; w.TencentIM != (TencentIMFormat{"2025", "hunter2", true}) {
		t.Errorf("tim = %+v", w)
	}
	if w := a.Webhooks["cloud"]; w.CloudEvents.Mode != "batched" {
		t.Errorf("cloud = %+v", w)
	}
	if a.RongCloud != (RongCloud{"plkey", secret, time.Minute}) || a.TencentIM.SDKAppID != 1400000001 || a.TencentIM.Key != secret || a.TencentIM.Admins[0] != "administrator" {
		t.Errorf("rongcloud %+v, tencentim %+v", a.RongCloud, a.TencentIM)
	}
}

func TestWebhooksAreRefused(t *testing.T) {
	t.Parallel()
	url := func(u string) string { return "url: \"" + u + "\"" + goodKeys }
	key := func(s string) string { return goodURL + ", secrets: [\"" + s + "\"]" }
	rong := "format: rongcloud, " + goodURL
	tim := "format: tencentim, " + goodURL
	for name, test := range map[string]struct{ webhook, rest, line, want string }{
		"no address":                {"secrets: [" + signing + "]", "", "4", "main.url: is missing"},
		"no URL":                    {url("shop"), "", "4", "is not a URL"},
		"another scheme":            {url("ftp://shop.example/"), "", "4", "is not a URL"},
		"http":                      {url("http://shop.example/"), "", "4", "is http"},
		"a password":                {url("https://me:hunter2@shop.example/"), "", "4", "a password in it"},
		"a fragment":                {url("https://shop.example/#x"), "", "4", "fragment"},
		"an empty fragment":         {url("https://shop.example/#"), "", "4", "fragment"},
		"long":                      {url("https://shop.example/" + strings.Repeat("x", 2048)), "", "4", "at most 2048"},
		"loopback":                  {url("https://127.0.0.1/"), "", "4", "set allow_private"},
		"loopback 6":                {url("https://[::1]:8443/"), "", "4", "set allow_private"},
		"loopback in 6":             {url("https://[::ffff:127.0.0.1]/"), "", "4", "set allow_private"},
		"this machine by name":      {url("https://LocalHost./"), "", "4", "set allow_private"},
		"private":                   {url("https://192.168.1.1/"), "", "4", "set allow_private"},
		"link local":                {url("https://169.254.169.254/") + ", allow_private: true", "", "4", "never called"},
		"metadata":                  {url("https://[fd00:ec2::254]/") + ", allow_private: true", "", "4", "never called"},
		"RongCloud's parameters":    {"format: rongcloud, url: \"https://x.example/?nonce=1\"", rongApp, "4", "its query already has nonce"},
		"Tencent's parameters":      {"format: tencentim, url: \"https://x.example/?a=b&SdkAppid=1\"", timApp, "4", "its query already has SdkAppid"},
		"unknown format":            {"format: json, " + good, "", "4", "main.format: unknown format \"json\"; use native, rongcloud, tencentim or cloudevents"},
		"no secret":                 {goodURL, "", "4", "main.secrets: are missing"},
		"no secret of cloudevents":  {"format: cloudevents, " + goodURL, "", "4", "main.secrets: are missing"},
		"no prefix":                 {key(secret), "", "4", "secrets[0]: must begin with whsec_"},
		"no base64":                 {key("whsec_!!!!"), "", "4", "not base64"},
		"no padding":                {key(strings.TrimRight(signing, "=")), "", "4", "not base64"},
		"short secret":              {key("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY="), "", "4", "23 bytes follow whsec_; 24 to 64"},
		"long secret":               {key("whsec_" + strings.Repeat("MDEy", 22)), "", "4", "66 bytes follow"},
		"twice the same":            {goodURL + ", secrets: [" + signing + ", " + signing + "]", "", "4", "secrets[1]: is there twice"},
		"five secrets":              {goodURL + ", secrets: [" + strings.Repeat("a, ", 4) + "a]", "", "4", "5 secrets; at most 4"},
		"the example's":             {key("whsec_replace-this-x"), "", "4", "of the example"},
		"lanes":                     {good + ", lanes: 65", "", "4", "main.lanes: 65"},
		"negative lanes":            {good + ", lanes: -1", "", "4", "main.lanes: -1"},
		"events":                    {good + ", batch: {events: 1001}", "", "4", "main.batch.events: 1001"},
		"linger":                    {good + ", batch: {linger: 11s}", "", "4", "main.batch.linger: 11s"},
		"negative linger":           {good + ", batch: {linger: -1s}", "", "4", "main.batch.linger: -1s"},
		"events of structured":      {"format: cloudevents, " + good + ", batch: {events: 50}", "", "4", "main.batch.events: 50 cannot be"},
		"another's style":           {good + ", rongcloud: {signature_style: signTimestamp}", "", "4", "main.rongcloud: counts with format: rongcloud; this endpoint has native"},
		"another's switch":          {good + ", rongcloud: {notify_all_offline: false}", "", "4", "main.rongcloud: counts with"},
		"another's token":           {good + ", tencentim: {token: x}", "", "4", "main.tencentim: counts with format: tencentim"},
		"another's mode":            {rong + ", cloudevents: {mode: batched}", rongApp, "4", "main.cloudevents: counts with format: cloudevents; this endpoint has rongcloud"},
		"unknown style":             {rong + ", rongcloud: {signature_style: md5}", rongApp, "4", "unknown word \"md5\"; use seed or signTimestamp"},
		"unknown profile":           {tim + ", tencentim: {profile: 2021}", timApp, "4", "unknown word \"2021\"; use 2020 or 2025"},
		"unknown mode":              {"format: cloudevents, " + good + ", cloudevents: {mode: binary}", "", "4", "unknown word \"binary\"; use structured or batched"},
		"retry in 2020":             {tim + ", tencentim: {retry: true}", timApp, "4", "tencentim.retry: needs profile: 2025"},
		"a switch that is a text":   {rong + ", rongcloud: {notify_all_offline: never}", rongApp, "4", "neither true nor false"},
		"RongCloud with secrets":    {"format: rongcloud, " + good, rongApp, "4", "its secret is apps.NAME.rongcloud.app_secret"},
		"Tencent with secrets":      {"format: tencentim, " + good, timApp, "4", "its secret is tencentim.token"},
		"Tencent with a batch":      {tim + ", batch: {events: 2}", timApp, "4", "one event in a request"},
		"RongCloud with custom":     {rong + ", include_custom: true", rongApp, "4", "include_custom: is for native and cloudevents"},
		"RongCloud without its app": {rong, "", "4", "needs the app's rongcloud"},
		"Tencent without its app":   {tim, "", "4", "needs the app's tencentim"},
		"no app secret":             {good, "    rongcloud: {app_key: k}\n", "5", "a.rongcloud.app_secret: is missing"},
		"a negative window":         {good, "    rongcloud: {app_key: k, app_secret: s, timestamp_window: -1s}\n", "5", "a.rongcloud.timestamp_window: -1s"},
		"no app key":                {good, "    rongcloud: {app_secret: k}\n", "5", "a.rongcloud.app_key: is missing"},
		"app key with a space":      {good, "    rongcloud: {app_key: \" k\", app_secret: s}\n", "5", "a.rongcloud.app_key: is not 1 to 256 characters of ASCII"},
		"no key SID":                {good, "    stringee: {key_secret: " + secret + ", project_id: 1}\n", "5", "a.stringee.key_sid: is missing"},
		"no key secret":             {good, "    stringee: {key_sid: s, project_id: 1}\n", "5", "a.stringee.key_secret: is missing"},
		"short key secret":          {good, "    stringee: {key_sid: s, key_secret: short, project_id: 1}\n", "5", "a.stringee.key_secret: has 5 bytes"},
		"no project":                {good, "    stringee: {key_sid: s, key_secret: " + secret + "}\n", "5", "a.stringee.project_id: 0 is none"},
		"no sdkappid":               {good, "    tencentim: {key: k, admins: [a]}\n", "5", "a.tencentim.sdkappid: 0 is none"},
		"negative sdkappid":         {good, "    tencentim: {sdkappid: -1}\n", "5", "a.tencentim.sdkappid: -1"},
		"no key for admins":         {good, "    tencentim: {sdkappid: 1, admins: [a]}\n", "5", "a.tencentim.key: is missing"},
		"no admins":                 {good, "    tencentim: {sdkappid: 1, key: k}\n", "5", "a.tencentim.admins: are missing"},
		"long admin":                {good, "    tencentim: {sdkappid: 1, key: k, admins: [a, " + strings.Repeat("b", 33) + "]}\n", "5", "a.tencentim.admins[1]: is not 1 to 32"},
		"long time-out":             {rong, rongApp + "    policy:\n      heartbeat_timeout: 300s\n", "7", "policy.heartbeat_timeout: 5m0s is too long beside the RongCloud endpoint main"},
		"long time-out by preset":   {rong, rongApp + "    policy: {preset: tencent-2020}\n", "6", "6m40s is too long beside the RongCloud endpoint"},
		"long time-out on a phone":  {rong, rongApp + "    policy: {platforms: {ios: {heartbeat_timeout: 301s}}}\n", "6", "platforms.ios.heartbeat_timeout: 5m1s is too long"},
		"unknown key":               {good + ", retries: 3", "", "4", "unknown key \"retries\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(withWebhook(test.webhook, test.rest)))
			got := fmt.Sprint(err)
			if !strings.Contains(got, "line "+test.line+": ") || !strings.Contains(got, test.want) {
				t.Errorf("got %s\nwant line %s and %q", got, test.line, test.want)
			}
			if n := len(Problems(err)); n != 1 && name != "five secrets" {
				t.Errorf("%d problems, want one: %v", n, err)
			}
			for _, hidden := range []string{"hunter2", signing[6:], secret} {
				if strings.Contains(got, hidden) {
					t.Errorf("shows a secret: %s", got)
				}
			}
		})
	}
}

func TestWebhooksAreTaken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ webhook, rest string }{
		"a private address that is meant":   {"url: \"http://127.0.0.1:9000/\", allow_private: true" + goodKeys, ""},
		"two secrets, 24 and 64 bytes":      {goodURL + ", secrets: [whsec_" + strings.Repeat("MDEy", 8) + ", whsec_" + strings.Repeat("MDEy", 21) + "MA==]", ""},
		"a query of its own":                {"url: \"https://x.example/?tenant=a%2Fb&x=1\"" + goodKeys, ""},
		"another format's parameter":        {"url: \"https://x.example/?nonce=1&SdkAppid=1\"" + goodKeys, ""},
		"other formats' defaults, said":     {good + ", rongcloud: {notify_all_offline: true, signature_style: seed}, tencentim: {profile: 2020}, cloudevents: {mode: structured}", ""},
		"299 s beside RongCloud":            {"format: rongcloud, " + goodURL, rongApp + "    policy: {heartbeat_timeout: 299s}\n"},
		"400 s beside Tencent":              {"format: tencentim, " + goodURL, timApp + "    policy: {preset: tencent-2020}\n"},
		"an app that calls and has no hook": {good, "    rongcloud: {app_key: k, app_secret: s}\n    tencentim: {sdkappid: 1, key: k, admins: [a]}\n"},
	} {
		if _, err := Parse([]byte(withWebhook(test.webhook, test.rest))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names, numbers and what no two apps may share.
func TestWebhooksOfSeveral(t *testing.T) {
	t.Parallel()
	name := func(n string) string { return strings.Replace(withWebhook(good, ""), "main:", n+":", 1) }
	other := "  b:\n    jwt: {issuer: j, keys: [{secret: " + secret + "}]}\n"
	for what, test := range map[string]struct{ text, want string }{
		"capitals":      {name("Main"), "apps.a.webhooks.Main: an endpoint's name is 1 to 32 of a-z, 0-9 and -"},
		"a dot":         {name("a.b"), "an endpoint's name"},
		"a long name":   {name(strings.Repeat("a", 33)), "an endpoint's name"},
		"too many":      {strings.Replace(withWebhook(good, ""), "{main: {"+good+"}}", "{"+endpoints(17)+"}", 1), "17 endpoints; at most 16"},
		"same app key":  {withWebhook(good, rongApp) + other + rongApp, "apps.b.rongcloud.app_key: app a has the same"},
		"same key SID":  {withWebhook(good, sidApp) + other + sidApp, "apps.b.stringee.key_sid: app a has the same"},
		"same sdkappid": {withWebhook(good, timApp) + other + timApp, "apps.b.tencentim.sdkappid: app a has the same"},
	} {
		_, err := Parse([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || len(Problems(err)) != 1 {
			t.Errorf("%s: %v, want %q alone", what, err, test.want)
		}
	}
	if _, err := Parse([]byte(withWebhook(good, rongApp+timApp) + other + strings.Replace(rongApp, "plkey", "x", 1) + strings.Replace(timApp, "1400", "1500", 1))); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte(name("a-1"))); err != nil {
		t.Error(err)
	}
}

func endpoints(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("e%d: {%s}", i, good))
	}
	return strings.Join(list, ", ")
}

// What is wrong with several endpoints is told at once.
func TestAllProblemsOfWebhooks(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(`apps:
  a:
    jwt: {issuer: i, keys: [{secret: ` + secret + `}]}
    webhooks:
      one:
        url: http://shop.example/
        secrets:
        - hunter2
        - whsec_hunter2
        lanes: 100
      two:
        format: rongcloud
`))
	var paths []string
	for _, p := range Problems(err) {
		paths = append(paths, fmt.Sprintf("%d %s", p.Line, p.Path))
	}
	want := "6 apps.a.webhooks.one.url, 8 apps.a.webhooks.one.secrets[0], 9 apps.a.webhooks.one.secrets[1], 10 apps.a.webhooks.one.lanes, 11 apps.a.webhooks.two.url, 12 apps.a.webhooks.two.format"
	if got := strings.Join(paths, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Errorf("shows a secret: %v", err)
	}
}

func TestWebhooksFromTheEnvironment(t *testing.T) {
	t.Parallel()
	c, err := loadWith(t, full,
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_URL=https://other.example/", "PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_SECRETS=whsec_"+strings.Repeat("MDEy", 8)+","+signing,
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_BATCH_LINGER=1s", "PORCHLIGHT_APPS_SHOP_WEBHOOKS_RONG_RONGCLOUD_NOTIFY_ALL_OFFLINE=true",
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_NEW_URL=https://new.example/", "PORCHLIGHT_APPS_SHOP_WEBHOOKS_NEW_SECRETS="+signing,
		"PORCHLIGHT_APPS_SHOP_RONGCLOUD_APP_SECRET=other", "PORCHLIGHT_APPS_SHOP_TENCENTIM_SDKAPPID=7",
	)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Apps["shop"]
	if w := a.Webhooks["main"]; w.URL != "https://other.example/" || len(w.Secrets) != 2 || w.Batch != (WebhookBatch{7, time.Second}) || w.Lanes != 4 {
		t.Errorf("main = %+v", w)
	}
	if w := a.Webhooks["rong"]; !*w.RongCloud.NotifyAllOffline || w.RongCloud.SignatureStyle != "signTimestamp" {
		t.Errorf("rong = %+v", w)
	}
	if len(a.Webhooks) != 5 || a.Webhooks["new"].URL != "https://new.example/" || a.RongCloud.AppSecret != "other" || a.TencentIM.SDKAppID != 7 {
		t.Errorf("got %v, %+v, %+v", len(a.Webhooks), a.RongCloud, a.TencentIM)
	}
	for variable, want := range map[string]string{
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_LANES=many":                           "apps.shop.webhooks.main.lanes",
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_RONG_RONGCLOUD_NOTIFY_ALL_OFFLINE=perhaps": "not true or false",
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_SECRETS=hunter2":                      "PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_SECRETS",
		"PORCHLIGHT_APPS_SHOP_WEBHOOKS_MAIN_COLOUR=red":                           "no key",
	} {
		_, err := loadWith(t, full, variable)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", variable, err, want)
		}
	}
}

// No rendering of a configuration shows what signs.
func TestWebhooksShowNoSecret(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(strings.Replace(full, "hook?a=b", "hook?a=h7Kq92LmXw04Zr8TbN6vYc1D", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Summary()
	b, err := json.Marshal(map[string]any{"apps": c.Apps["shop"].TencentIM, "hooks": c.Apps["shop"].Webhooks["tim"], "summary": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(b), fmt.Sprintf("%v %+v %#v", c.Apps, c.Apps, c.Apps["shop"].Webhooks["main"].Secrets), s.String()} {
		for _, hidden := range []string{signing[6:], secret, "hunter2"} {
			if strings.Contains(shown, hidden) {
				t.Errorf("shows a secret: %s", shown)
			}
		}
	}
	if !strings.Contains(s.String(), "main: native to https://shop.example/hook?(not shown), 4 lanes") || !strings.Contains(s.String(), "sdkappid 1400000001") {
		t.Errorf("got %s", s)
	}
	if n := len(maps.Collect(maps.All(c.Apps["shop"].Webhooks))); n != len(s.Apps[0].Webhooks) {
		t.Errorf("%d endpoints in the summary, want %d", len(s.Apps[0].Webhooks), n)
	}
}

// Custom statuses are written to the log only where some endpoint reports them.
func TestCustomStatusesAreLogged(t *testing.T) {
	t.Parallel()
	for webhook, want := range map[string]bool{
		good: false, good + ", include_custom: true": true,
		goodURL + ", format: tencentim": false, goodURL + ", format: tencentim, tencentim: {profile: \"2025\"}": true,
	} {
		c, err := Parse([]byte(withWebhook(webhook, timApp)))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Policies()["a"].TellCustom; got != want {
			t.Errorf("%s: got %v, want %v", webhook, got, want)
		}
	}
}

// What the deliverer is given is what the file says.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Endpoints()
	if err != nil || len(list) != 4 {
		t.Fatalf("got %v, %v", list, err)
	}
	var got []string
	for _, e := range list {
		if err := e.Check(); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		got = append(got, fmt.Sprintf("%s/%s %s %s %d %v %d %v", e.App, e.Name, e.Format.Name(), e.URL, e.Lanes, e.AllowPrivate, e.Batch.Events, e.Batch.Linger))
		for _, shown := range []string{fmt.Sprintf("%v %+v %#v", e.Format, e.Format, e.Format)} {
			if strings.Contains(shown, secret) || strings.Contains(shown, "hunter2") || strings.Contains(shown, signing[6:]) {
				t.Errorf("shows a secret: %s", shown)
			}
		}
	}
	want := []string{
		"shop/cloud cloudevents https://shop.example/ce 16 false 0 0s",
		"shop/main native https://shop.example/hook?a=b 4 false 7 30ms",
		"shop/rong rongcloud http://10.0.0.1/ 16 true 0 0s",
		"shop/tim tencentim https://shop.example/tim 16 false 0 0s",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p := list[1].Format.Policy(); p.Batch.Events == 7 {
		t.Error("the endpoint's batch went into the format")
	}
	if apps := c.RongCloudApps(); len(apps) != 1 || apps[0].Key != "plkey" || apps[0].Window != time.Minute || apps[0].Secret != secret {
		t.Errorf("RongCloud: %+v", apps)
	}
	if apps := c.TencentIMApps(); len(apps) != 1 || apps[0].ID != 1400000001 || apps[0].Key != secret || apps[0].Admins[0] != "administrator" {
		t.Errorf("Tencent: %+v", apps)
	}
}

// Every key of the development configuration that everybody knows keeps a node on
// loopback.
func TestDevelopmentSecretsStayOnLoopback(t *testing.T) {
	t.Parallel()
	mine := "jwt: {issuer: i, keys: [{secret: " + secret + "}]}"
	for name, rest := range map[string]string{
		"webhook":    "webhooks: {main: {url: \"https://x.example\", secrets: [" + DevelopmentWebhookSecret + "]}}",
		"RongCloud":  "rongcloud: {app_key: k, app_secret: \"" + DevelopmentRongCloudSecret + "\"}",
		"Stringee":   "stringee: {key_sid: s, project_id: 1, key_secret: \"" + DevelopmentStringeeSecret + "\"}",
		"Tencent IM": "tencentim: {sdkappid: 1, key: \"" + DevelopmentTencentIMKey + "\", admins: [a]}",
		"":           "rongcloud: {app_key: " + DevelopmentRongCloudKey + ", app_secret: s}",
	} {
		c, err := Parse([]byte("apps: {a: {" + mine + ", " + rest + "}}"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.Exposes("127.0.0.1:80"); err != nil {
			t.Errorf("%s on loopback: %v", name, err)
		}
		if err := c.Exposes(":80"); (err != nil) != (name != "") {
			t.Errorf("%s for everybody: %v", name, err)
		}
	}
}
