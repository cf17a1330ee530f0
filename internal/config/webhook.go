package config

import (
	"maps"
	"slices"
	"time"
)

// Webhook is one address that is told of an app's presence.
type Webhook struct {
	URL    string `yaml:"url" env:"URL"`
	Format string `yaml:"format" env:"FORMAT"` // native, rongcloud, tencentim or cloudevents
	// Secrets sign, with native and cloudevents: the first signs alone, or all of
	// them while the receiver moves from one to another.
	Secrets []Secret `yaml:"secrets" env:"SECRETS"`
	// Lanes are the users' queues that do not wait for each other.
	Lanes int `yaml:"lanes" env:"LANES"`
	// AllowPrivate lets URL be http, and lead to loopback and private addresses.
	AllowPrivate bool         `yaml:"allow_private" env:"ALLOW_PRIVATE"`
	Batch        WebhookBatch `yaml:"batch" envPrefix:"BATCH_"`
	// IncludeCustom tells of custom statuses too, with native and cloudevents.
	IncludeCustom bool             `yaml:"include_custom" env:"INCLUDE_CUSTOM"`
	RongCloud     RongCloudFormat  `yaml:"rongcloud" envPrefix:"RONGCLOUD_"`
	TencentIM     TencentIMFormat  `yaml:"tencentim" envPrefix:"TENCENTIM_"`
	CloudEvents   CloudEventsStyle `yaml:"cloudevents" envPrefix:"CLOUDEVENTS_"`
}

// WebhookBatch says how many events one request has; zero is as the format has it.
type WebhookBatch struct {
	Events int           `yaml:"events" env:"EVENTS"`
	Linger time.Duration `yaml:"linger" env:"LINGER"` // how long the first event waits for others
}

// RongCloudFormat is what RongCloud's callback leaves open.
type RongCloudFormat struct {
	// NotifyAllOffline tells of each connection that ends; false: of the user's last
	// one alone. Absent is true.
	NotifyAllOffline *bool `yaml:"notify_all_offline" env:"NOTIFY_ALL_OFFLINE"`
	// SignatureStyle is seed, or signTimestamp for receivers of before 2021.
	SignatureStyle string `yaml:"signature_style" env:"SIGNATURE_STYLE"`
}

// TencentIMFormat is what Tencent's callback leaves open.
type TencentIMFormat struct {
	Profile string `yaml:"profile" env:"PROFILE"` // 2020 or 2025
	Token   Secret `yaml:"token" env:"TOKEN"`     // signs the request's time
	// Retry tries again after a time-out, with profile 2025.
	Retry bool `yaml:"retry" env:"RETRY"`
}

// CloudEventsStyle says how CloudEvents come.
type CloudEventsStyle struct {
	Mode string `yaml:"mode" env:"MODE"` // structured or batched
}

// RongCloud is the app at RongCloud that this app stands for.
type RongCloud struct {
	AppKey    string `yaml:"app_key" env:"APP_KEY"`
	AppSecret Secret `yaml:"app_secret" env:"APP_SECRET"`
	// TimestampWindow refuses queries signed longer ago; 0 takes any: most clients
	// sign once when they start.
	TimestampWindow time.Duration `yaml:"timestamp_window" env:"TIMESTAMP_WINDOW"`
}

// TencentIM is the app at Tencent that this app stands for.
type TencentIM struct {
	SDKAppID int64    `yaml:"sdkappid" env:"SDKAPPID"`
	Key      Secret   `yaml:"key" env:"KEY"` // makes and checks UserSigs
	Admins   []string `yaml:"admins" env:"ADMINS"`
}

// The words of Webhook.Format.
const (
	FormatNative      = "native"
	FormatRongCloud   = "rongcloud"
	FormatTencentIM   = "tencentim"
	FormatCloudEvents = "cloudevents"
)

// Formats are all words of Webhook.Format.
func Formats() []string {
	return []string{FormatNative, FormatRongCloud, FormatTencentIM, FormatCloudEvents}
}

// Words of the formats' own keys, the defaults first.
const (
	StyleSeed           = "seed"
	StyleSignTimestamp  = "signTimestamp"
	ProfileTencent2020  = "2020"
	ProfileTencent2025  = "2025"
	ModeStructured      = "structured"
	ModeBatched         = "batched"
	DefaultWebhookLanes = 16
)

// withDefaults fills what has its default here.
func (w Webhook) withDefaults() Webhook {
	orText(&w.Format, FormatNative)
	orText(&w.RongCloud.SignatureStyle, StyleSeed)
	orText(&w.TencentIM.Profile, ProfileTencent2020)
	orText(&w.CloudEvents.Mode, ModeStructured)
	if w.RongCloud.NotifyAllOffline == nil {
		yes := true
		w.RongCloud.NotifyAllOffline = &yes
	}
	if w.Lanes == 0 {
		w.Lanes = DefaultWebhookLanes
	}
	return w
}

// webhookNames are an app's endpoints, in order.
func (a *App) webhookNames() []string { return slices.Sorted(maps.Keys(a.Webhooks)) }
