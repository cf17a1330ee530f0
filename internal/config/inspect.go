package config

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// Inspect is Load, and looks beyond it at all that a start would refuse: the
// files that the configuration names, and addresses that strangers reach while
// everybody knows a key.
func Inspect(path string, environ ...string) (*Config, error) {
	c, err := Load(path, environ...)
	if err != nil {
		return nil, err
	}
	var p problems
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		c.Apps[name].Catalogues.inspect(&p, place{"apps", name, "catalogues"})
	}
	if t := c.Listen.TLS; t.Cert != "" {
		if _, err := listen.LoadCertificates(t.Cert, t.Key, slog.New(slog.DiscardHandler)); err != nil {
			p.add(place{"listen", "tls"}, "%v", err)
		}
	}
	c.inspectNodes(&p)
	if path := c.SessionKeysFile(); path != "" {
		if _, err := os.Stat(path); err == nil { // a start makes it when there is none
			if _, err := token.LoadRing(path); err != nil {
				p.add(place{"session_keys"}, "%v", err)
			}
		}
	}
	for _, a := range []struct{ key, addr string }{{"http", c.Listen.HTTP}, {"grpc", c.Listen.GRPC}} {
		if a.addr == "" {
			continue
		}
		if err := c.Exposes(a.addr); err != nil {
			p.add(place{"listen", a.key}, "%v", err)
		}
	}
	if c.Data == "" {
		c.warnings = append(c.warnings, "data is not set: the node needs --data, or PORCHLIGHT_DATA")
	}
	if err := p.err(c.src); err != nil {
		return nil, err
	}
	return c, nil
}

// SessionKeysFile is where the keys of session tokens are; empty while there is no
// data directory either.
func (c *Config) SessionKeysFile() string {
	if c.SessionKeys != "" || c.Data == "" {
		return c.SessionKeys
	}
	return filepath.Join(c.Data, "session-keys")
}

func (c Catalogues) inspect(p *problems, at place) {
	good := true
	for product, file := range c.Products {
		if _, err := readCatalogue(file); err != nil {
			p.add(at.key("products", product), "%v", err)
			good = false
		}
	}
	if !good {
		return
	}
	if _, err := c.read(); err != nil {
		p.add(at, "%v", err)
	}
}

// Problems is err as a list: what an *Error has, or the one error that it is.
func Problems(err error) []Problem {
	if err == nil {
		return []Problem{}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problems
	}
	return []Problem{{Text: err.Error()}}
}
