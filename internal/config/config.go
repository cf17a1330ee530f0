// Package config reads Porchlight's configuration and composes the Config of
// each part from it. It invents nothing: what a value means and what its
// default is stands with the package that owns it.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/porchlight-dev/porchlight/internal/token"
)

// maxFile bounds a configuration file; a larger one is a mistake.
const maxFile = 1 << 20

// Config is a whole configuration (design §7). The zero value of each field
// means its default.
type Config struct {
	Apps   map[string]App `yaml:"apps" envPrefix:"APPS_"`
	Listen Listen         `yaml:"listen" envPrefix:"LISTEN_"`
	// Data is the directory of everything durable.
	Data string `yaml:"data" env:"DATA"`
	// RestartGrace is how long sessions found at start wait for their devices.
	RestartGrace time.Duration `yaml:"restart_grace" env:"RESTART_GRACE"`
	// SessionKeys is the file of the keys that seal session tokens; by default
	// it is made in Data.
	SessionKeys string `yaml:"session_keys" env:"SESSION_KEYS"`
	// LogMaxBytes bounds the log of records; by default the smaller of 20 GB and
	// half of what is free at the first start.
	LogMaxBytes int64 `yaml:"log_max_bytes" env:"LOG_MAX_BYTES"`

	// Node names this node among several; by default as its machine.
	Node    string  `yaml:"node" env:"NODE"`
	Cluster Cluster `yaml:"cluster" envPrefix:"CLUSTER_"`
	Peers   Peers   `yaml:"peers" envPrefix:"PEERS_"`

	src      *source
	warnings []string
}

// Warnings are what is odd and yet no error: variables of the environment that
// look like ours and mean nothing.
func (c *Config) Warnings() []string { return c.warnings }

// Listen says where the doors are.
type Listen struct {
	HTTP string `yaml:"http" env:"HTTP"` // 127.0.0.1:7400
	GRPC string `yaml:"grpc" env:"GRPC"` // 127.0.0.1:7401
	// TLS serves both ports encrypted when it has its two files.
	TLS TLS `yaml:"tls" envPrefix:"TLS_"`
	// TrustedProxies are the networks whose word on the peer's address counts.
	TrustedProxies []string `yaml:"trusted_proxies" env:"TRUSTED_PROXIES"`
	// ProxyProtocol says that the trusted proxies speak it on both ports.
	ProxyProtocol bool `yaml:"proxy_protocol" env:"PROXY_PROTOCOL"`
	// RongCloud and TencentIM are where one door alone answers, beside the HTTP
	// port.
	RongCloud Own `yaml:"rongcloud" envPrefix:"RONGCLOUD_"`
	TencentIM Own `yaml:"tencentim" envPrefix:"TENCENTIM_"`
	// Mozpresence is the same for Mozilla's Presence interface and its pages.
	Mozpresence Own `yaml:"mozpresence" envPrefix:"MOZPRESENCE_"`
	// Stringee is the same for that door, and what it tells of where to connect.
	Stringee OwnStringee `yaml:"stringee" envPrefix:"STRINGEE_"`
	// ConnectionsPerAddress limits those from one address, at each of the doors with
	// sockets for users.
	ConnectionsPerAddress int `yaml:"connections_per_address" env:"CONNECTIONS_PER_ADDRESS"`
}

// Own is a place where one door alone answers, at every path.
type Own struct {
	Listen string `yaml:"listen" env:"LISTEN"` // address of a port of its own
	Host   string `yaml:"host" env:"HOST"`     // requests to that host at the HTTP port
}

// TLS names the files of a certificate, both or none.
type TLS struct {
	Cert string `yaml:"cert" env:"CERT"`
	Key  string `yaml:"key" env:"KEY"`
}

// leastLog is the least log that a node can live with: a smaller one would be
// full of what the checkpoint does not have yet.
const leastLog = 16 << 20

// Defaults of Listen.
const (
	DefaultHTTP = "127.0.0.1:7400"
	DefaultGRPC = "127.0.0.1:7401"
)

// DevelopmentServerKey is the server key of app "demo" in the development
// configuration: known to everyone, so good on loopback only.
const DevelopmentServerKey = "porchlight development server key, known to everyone, loopback only"

// What the development configuration's webhooks sign with, and what the app demo
// is at RongCloud and at Tencent IM: known to everyone, too.
const (
	DevelopmentWebhookSecret   = "whsec_cG9yY2hsaWdodCBkZXZlbG9wbWVudCB3ZWJob29rIHNlY3JldCwga25vd24gdG8gZXZlcnlvbmU="
	DevelopmentRongCloudKey    = "porchlight-dev"
	DevelopmentRongCloudSecret = "porchlight development secret for RongCloud's interface"
	DevelopmentTencentIMApp    = 1400000001
	DevelopmentTencentIMKey    = "porchlight development key for Tencent's interface"
	DevelopmentTencentIMAdmin  = "administrator"
)

// Load reads a file, and over it the variables of an environment as os.Environ
// gives it (see the operations page), and checks the outcome. Unknown keys and
// wrong values are refused, all at once, by an *Error that shows the lines.
// Relative file names in the file begin at its directory.
func Load(path string, environ ...string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("configuration %s: more than %d bytes; a configuration is shorter", path, maxFile)
	}
	c, err := read(path, b, environ)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Parse is Load for the text of a file; relative file names begin at the working
// directory.
func Parse(b []byte, environ ...string) (*Config, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("configuration: more than %d bytes; a configuration is shorter", maxFile)
	}
	c, err := read("", b, environ)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func read(path string, b []byte, environ []string) (*Config, error) {
	var p problems
	src := readSource(path, string(b), &p)
	if len(p.list) == 0 && src.root != nil {
		look := &strict{problems: &p, src: src}
		look.look(src.root, reflect.TypeFor[Config](), nil)
		if look.nodes > mostNodes {
			p.add(nil, "more than %d values; aliases (*) make too much of it", mostNodes)
		}
	}
	c := &Config{}
	if len(p.list) == 0 {
		if err := yaml.UnmarshalWithOptions(b, c, yaml.AllowDuplicateMapKey()); err != nil {
			p.wrong(err)
		}
	}
	c.src = src
	if len(p.list) == 0 {
		c.locate(filepath.Dir(path))
		c.override(environ, &p)
	}
	if len(p.list) > 0 {
		return nil, p.err(src)
	}
	return c, c.Check()
}

// locate makes the file names of the configuration begin at a directory.
func (c *Config) locate(dir string) {
	at := func(name *string) {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(dir, *name)
		}
	}
	names := []*string{&c.Data, &c.SessionKeys, &c.Listen.TLS.Cert, &c.Listen.TLS.Key, &c.Cluster.CredentialsFile, &c.Cluster.SeedFile}
	for _, name := range slices.Concat(names, c.Cluster.TLS.files(), c.Peers.TLS.files()) {
		at(name)
	}
	for _, a := range c.Apps {
		for i := range a.JWT.Keys {
			at(&a.JWT.Keys[i].PublicKeyFile)
		}
		for product, file := range a.Catalogues.Products {
			at(&file)
			a.Catalogues.Products[product] = file
		}
	}
}

// Development is the configuration of `porchlight dev`: one app, "demo", with
// keys that everybody knows, texts in three languages, open to web pages from
// anywhere.
func Development() *Config {
	iss := token.Development()
	return &Config{Apps: map[string]App{string(iss.App): {
		ServerKeys: []ServerKey{{ID: "dev", Secret: DevelopmentServerKey}},
		JWT: JWT{
			Issuer: iss.Issuer, Audience: iss.Audience,
			Keys: []Key{{ID: iss.Keys[0].ID, Secret: Secret(iss.Keys[0].Secret)}},
		},
		Catalogues:  Catalogues{demo: true},
		CORS:        CORS{Origins: []string{"*"}},
		RongCloud:   RongCloud{AppKey: DevelopmentRongCloudKey, AppSecret: DevelopmentRongCloudSecret},
		TencentIM:   TencentIM{SDKAppID: DevelopmentTencentIMApp, Key: DevelopmentTencentIMKey, Admins: []string{DevelopmentTencentIMAdmin}},
		Mozpresence: Mozpresence{Publishers: PublishersOpen, AllowPrivate: true},
		Stringee:    Stringee{KeySID: DevelopmentStringeeSID, KeySecret: DevelopmentStringeeSecret, ProjectID: DevelopmentStringeeProject},
	}}}
}

// DevelopmentWith is Development with the variables of an environment over it, as
// Load takes them.
func DevelopmentWith(environ ...string) (*Config, error) {
	var p problems
	c := Development()
	c.src = readSource("", "", &p)
	c.override(environ, &p)
	if len(p.list) > 0 {
		return nil, p.err(c.src)
	}
	return c, c.Check()
}
