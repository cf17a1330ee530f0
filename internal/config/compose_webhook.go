package config

import (
	"maps"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/door/rongcloud"
	"github.com/porchlight-dev/porchlight/internal/door/tencentim"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

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
