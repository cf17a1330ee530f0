package config

import (
	"maps"
	"time"
)

// App is one tenant: nothing crosses apps.
type App struct {
	ServerKeys []ServerKey `yaml:"server_keys" envPrefix:"SERVER_KEYS_"`
	JWT        JWT         `yaml:"jwt" envPrefix:"JWT_"`
	Policy     Policy      `yaml:"policy" envPrefix:"POLICY_"`
	Limits     Limits      `yaml:"limits" envPrefix:"LIMITS_"`
	Friends    Friends     `yaml:"friends" envPrefix:"FRIENDS_"`
	Catalogues Catalogues  `yaml:"catalogues" envPrefix:"CATALOGUES_"`
	CORS       CORS        `yaml:"cors" envPrefix:"CORS_"`
	// Webhooks are the addresses that are told of the app's presence, by name.
	Webhooks  map[string]Webhook `yaml:"webhooks" envPrefix:"WEBHOOKS_"`
	RongCloud RongCloud          `yaml:"rongcloud" envPrefix:"RONGCLOUD_"`
	TencentIM TencentIM          `yaml:"tencentim" envPrefix:"TENCENTIM_"`
	// Mozpresence is Mozilla's Presence interface.
	Mozpresence Mozpresence `yaml:"mozpresence" envPrefix:"MOZPRESENCE_"`
	Stringee    Stringee    `yaml:"stringee" envPrefix:"STRINGEE_"`
}

// ServerKey lets the app's own backend call the server API. The secret alone
// selects key and app.
type ServerKey struct {
	ID     string `yaml:"id" env:"ID"`
	Secret Secret `yaml:"secret" env:"SECRET"` // what follows "Bearer ", 32 bytes at least
	// RequestsPerSecond limits what is done with the key; 0 is no limit.
	RequestsPerSecond float64 `yaml:"requests_per_second" env:"REQUESTS_PER_SECOND"`
}

// JWT says whose access tokens an app takes.
type JWT struct {
	Issuer    string `yaml:"issuer" env:"ISSUER"`
	Audience  string `yaml:"audience" env:"AUDIENCE"`
	UserClaim string `yaml:"user_claim" env:"USER_CLAIM"`
	Keys      []Key  `yaml:"keys" envPrefix:"KEYS_"`
	// JWKSURL is where the issuer publishes its keys (RFC 7517); they count
	// beside Keys.
	JWKSURL string `yaml:"jwks_url" env:"JWKS_URL"`
	// AllowPrivate lets JWKSURL be http, and lead to loopback and private addresses.
	AllowPrivate bool `yaml:"allow_private" env:"ALLOW_PRIVATE"`
}

// Key checks access tokens: a secret for HS256, or a public key, whose kind
// says the algorithm.
type Key struct {
	ID            string `yaml:"id" env:"ID"`
	Secret        Secret `yaml:"secret" env:"SECRET"`         // as text, 32 bytes at least
	PublicKey     Secret `yaml:"public_key" env:"PUBLIC_KEY"` // PEM
	PublicKeyFile string `yaml:"public_key_file" env:"PUBLIC_KEY_FILE"`
}

// Policy is how an app's sessions live.
type Policy struct {
	// Preset changes the defaults of the others: "" or tencent-2020.
	Preset           string        `yaml:"preset" env:"PRESET"`
	HeartbeatTimeout time.Duration `yaml:"heartbeat_timeout" env:"HEARTBEAT_TIMEOUT"`
	Grace            time.Duration `yaml:"grace" env:"GRACE"`
	ResumeWindow     time.Duration `yaml:"resume_window" env:"RESUME_WINDOW"`
	ConnectBefore    time.Duration `yaml:"connect_before" env:"CONNECT_BEFORE"`
	MultiDevice      string        `yaml:"multi_device" env:"MULTI_DEVICE"` // allow, one_per_platform or single
	Visibility       string        `yaml:"visibility" env:"VISIBILITY"`     // everyone or friends
	// Platforms is what differs on devices of a platform, whatever its case.
	Platforms map[string]PlatformPolicy `yaml:"platforms" envPrefix:"PLATFORMS_"`
}

// PlatformPolicy is what differs on one platform; zero is as in the app.
type PlatformPolicy struct {
	HeartbeatTimeout time.Duration `yaml:"heartbeat_timeout" env:"HEARTBEAT_TIMEOUT"`
	Grace            time.Duration `yaml:"grace" env:"GRACE"`
}

// Limits are what an app's users may use.
type Limits struct {
	Sessions       int     `yaml:"sessions" json:"sessions" env:"SESSIONS"`
	OpensPerSecond float64 `yaml:"opens_per_second" json:"opens_per_second" env:"OPENS_PER_SECOND"`
	// ConnectionsPerUser limits those of one user, at each of the doors with
	// sockets; 0 is no limit
	// but that on sessions.
	ConnectionsPerUser int `yaml:"connections_per_user" json:"connections_per_user" env:"CONNECTIONS_PER_USER"`
	Watches            int `yaml:"watches" json:"watches" env:"WATCHES"`
	Batch              int `yaml:"batch" json:"batch" env:"BATCH"`
	Friends            int `yaml:"friends" json:"friends" env:"FRIENDS"`
	// RequestsPerSecond limits the server API for the app as a whole; 0 is no limit.
	RequestsPerSecond float64 `yaml:"requests_per_second" json:"requests_per_second" env:"REQUESTS_PER_SECOND"`
}

// Friends says where the lists of friends come from.
type Friends struct {
	Source  string        `yaml:"source" env:"SOURCE"` // store or http
	URL     string        `yaml:"url" env:"URL"`
	Secret  Secret        `yaml:"secret" env:"SECRET"`
	Timeout time.Duration `yaml:"timeout" env:"TIMEOUT"`
	MaxAge  time.Duration `yaml:"max_age" env:"MAX_AGE"`
	// AllowPrivate lets URL be http, and lead to loopback and private addresses.
	AllowPrivate bool `yaml:"allow_private" env:"ALLOW_PRIVATE"`
}

// Catalogues are the texts of an app's notifications.
type Catalogues struct {
	DefaultLocale string `yaml:"default_locale" env:"DEFAULT_LOCALE"`
	// Products has a file for each product; "" is the product of sessions that
	// name none, and of those whose product has no file.
	Products map[string]string `yaml:"products" env:"PRODUCTS" envKeyValSeparator:"="`
	// demo puts the built-in demo catalogue in the place of product "".
	demo bool
}

// CORS says which web pages may call.
type CORS struct {
	Origins []string `yaml:"origins" env:"ORIGINS"` // https://app.example, or *
}

// Presets of Policy.
const presetTencent2020 = "tencent-2020"

// The words of Policy.Visibility.
const (
	VisibleToEveryone = "everyone"
	VisibleToFriends  = "friends"
)

// The words of Friends.Source.
const (
	FriendsFromStore = "store"
	FriendsFromHTTP  = "http"
)

// Defaults of what no package of its own has.
const (
	DefaultFriends        = 10_000
	DefaultFriendsTimeout = 2 * time.Second
	DefaultFriendsMaxAge  = 30 * time.Second
	DefaultLocale         = "en"
)

// tencentTimeout is what the preset sets (Tencent's documents of 2020).
const tencentTimeout = 400 * time.Second

// withDefaults fills what is zero and has its default here. What other packages
// have a default for stays zero for them.
func (a App) withDefaults() App {
	if a.Policy.HeartbeatTimeout == 0 && a.Policy.Preset == presetTencent2020 {
		a.Policy.HeartbeatTimeout = tencentTimeout
	}
	orText(&a.Policy.Visibility, VisibleToEveryone)
	orText(&a.Friends.Source, FriendsFromStore)
	orText(&a.Catalogues.DefaultLocale, DefaultLocale)
	if a.Limits.Friends == 0 {
		a.Limits.Friends = DefaultFriends
	}
	if a.Friends.Timeout == 0 {
		a.Friends.Timeout = DefaultFriendsTimeout
	}
	if a.Friends.MaxAge == 0 {
		a.Friends.MaxAge = DefaultFriendsMaxAge
	}
	if len(a.Webhooks) > 0 {
		a.Webhooks = maps.Clone(a.Webhooks)
		for name, w := range a.Webhooks {
			a.Webhooks[name] = w.withDefaults()
		}
	}
	return a
}

func orText(s *string, preset string) {
	if *s == "" {
		*s = preset
	}
}

// App is an app with its defaults filled in; ok is false when there is none of
// that name.
func (c *Config) App(name string) (a App, ok bool) {
	a, ok = c.Apps[name]
	return a.withDefaults(), ok
}
