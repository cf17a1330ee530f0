// Package config reads Porchlight's configuration and composes the Config of
// each part from it. It invents nothing: what a value means and what its
// default is stands with the package that owns it.
package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/porchlight-dev/porchlight/internal/token"
)

// secrets finds the values of keys in an excerpt of a file.
var secrets = regexp.MustCompile(`(secret["']?\s*:\s*)("[^"]*"?|'[^']*'?|[^,}\]\s]+)`)

// maxFile bounds a configuration file; a larger one is a mistake.
const maxFile = 1 << 20

// Config is a whole configuration (design §7). The zero value of each field
// means its default.
type Config struct {
	Apps   map[string]App `yaml:"apps"`
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
}

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

// Load reads a file. Unknown fields and wrong values are refused; the error
// shows the line.
func Load(path string) (*Config, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("configuration %s: %d bytes; at most %d are allowed", path, st.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse reads the text of a file and checks it.
func Parse(b []byte) (*Config, error) {
	c := &Config{}
	if err := yaml.UnmarshalWithOptions(b, c, yaml.Strict()); err != nil {
		// The excerpt that shows the line may show a key beside it.
		shown := secrets.ReplaceAllString(yaml.FormatError(err, false, true), "${1}(not shown)")
		return nil, errors.New(shown)
	}
	return c, c.Check()
}

// Development is the configuration of `porchlight dev`: one app, "demo", with
// keys that everybody knows, open to web pages from anywhere.
func Development() *Config {
	iss := token.Development()
	return &Config{Apps: map[string]App{string(iss.App): {
		ServerKeys: []ServerKey{{ID: "dev", Secret: DevelopmentServerKey}},
		JWT: JWT{
			Issuer: iss.Issuer, Audience: iss.Audience,
			Keys: []Key{{ID: iss.Keys[0].ID, Secret: string(iss.Keys[0].Secret)}},
		},
		CORS: CORS{Origins: []string{"*"}},
	}}}
}
