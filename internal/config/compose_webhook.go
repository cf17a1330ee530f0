package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
	"github.com/porchlight-dev/porchlight/internal/door/tencentim"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/cloudevents"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// Endpoints is what the deliverer of webhooks needs.
func (c *Config) Endpoints() (list []webhook.Endpoint, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		a, _ := c.App(name)
		for _, endpoint := range a.webhookNames() {
			w := a.Webhooks[endpoint]
			e := webhook.Endpoint{
				App: presence.AppID(name), Name: endpoint, URL: w.URL, Lanes: w.Lanes, AllowPrivate: w.AllowPrivate,
				Batch: webhook.Batch{Events: w.Batch.Events, Linger: w.Batch.Linger},
			}
			if e.Format, err = a.webhookFormat(w); err != nil {
				return nil, fmt.Errorf("%s: %w", place{"apps", name, "webhooks", endpoint}, err)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// webhookFormat makes the format of an endpoint that has its defaults.
func (a *App) webhookFormat(w Webhook) (webhook.Format, error) {
	var secrets []string
	for _, s := range w.Secrets {
		secrets = append(secrets, string(s))
	}
	switch w.Format {
	case FormatRongCloud:
		return rongcloud.NewCallback(rongcloud.CallbackConfig{
			Key: a.RongCloud.AppKey, Secret: string(a.RongCloud.AppSecret), LastOnly: !*w.RongCloud.NotifyAllOffline, Style: w.RongCloud.SignatureStyle,
		})
	case FormatTencentIM:
		return tencentim.NewCallback(tencentim.CallbackConfig{
			ID: a.TencentIM.SDKAppID, Profile: w.TencentIM.Profile, Token: string(w.TencentIM.Token), Retry: w.TencentIM.Retry,
		})
	case FormatCloudEvents:
		return cloudevents.New(cloudevents.Config{Secrets: secrets, Batched: w.CloudEvents.Mode == ModeBatched, IncludeCustom: w.IncludeCustom})
	}
	return native.New(native.Config{Secrets: secrets, IncludeCustom: w.IncludeCustom})
}

// RongCloudApps is what the RongCloud door needs.
func (c *Config) RongCloudApps() (list []rongcloud.App) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		if r := c.Apps[name].RongCloud; r.AppKey != "" {
			list = append(list, rongcloud.App{App: presence.AppID(name), Key: r.AppKey, Secret: string(r.AppSecret), Window: r.TimestampWindow})
		}
	}
	return list
}

// TencentIMApps is what the Tencent IM door needs.
func (c *Config) TencentIMApps() (list []tencentim.App) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		if t := c.Apps[name].TencentIM; t.Key != "" {
			list = append(list, tencentim.App{App: presence.AppID(name), ID: t.SDKAppID, Key: string(t.Key), Admins: t.Admins})
		}
	}
	return list
}
