package config

import (
	"maps"
	"net"
	"net/url"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/door/stringee"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// Stringee is the API key of a Stringee project that this app stands for.
type Stringee struct {
	KeySID    string `yaml:"key_sid" env:"KEY_SID"`       // the iss of its tokens
	KeySecret Secret `yaml:"key_secret" env:"KEY_SECRET"` // signs them, 32 bytes at least
	ProjectID int64  `yaml:"project_id" env:"PROJECT_ID"`
	// StrictCty refuses tokens without the header cty; a wrong one is refused always.
	StrictCty bool `yaml:"strict_cty" env:"STRICT_CTY"`
}

// OwnStringee is where Stringee's door alone answers, and what it tells clients.
type OwnStringee struct {
	Listen string `yaml:"listen" env:"LISTEN"` // address of a port of its own
	Host   string `yaml:"host" env:"HOST"`     // requests to that host at the HTTP port
	// Addresses are told to browsers that ask where the server is, which open
	// wss:// there; none is the host that they asked.
	Addresses []string `yaml:"addresses" env:"ADDRESSES"`
	// Elsewhere are the sockets of other nodes, to which a stopping node sends its
	// clients.
	Elsewhere []string `yaml:"elsewhere" env:"ELSEWHERE"`
}

// The API key of app demo in the development configuration: known to everyone.
const (
	DevelopmentStringeeSID     = "SK.porchlight-dev"
	DevelopmentStringeeSecret  = "porchlight development secret for Stringee's interface"
	DevelopmentStringeeProject = 25
)

func (s *Stringee) check(p *problems, at place) {
	if *s == (Stringee{}) {
		return
	}
	checkForeign(p, at.key("key_sid"), s.KeySID)
	checkForeign(p, at.key("key_secret"), string(s.KeySecret))
	if n := len(s.KeySecret); n > 0 && n < token.MinSecret {
		p.add(at.key("key_secret"), "has %d bytes; HS256 needs at least %d", n, token.MinSecret)
	}
	if s.ProjectID <= 0 {
		p.add(at.key("project_id"), "%d is none; it is the project's number at Stringee, above 0", s.ProjectID)
	}
}

// mostAddresses bounds the lists of OwnStringee.
const mostAddresses = 16

func (o *OwnStringee) check(p *problems, at place) {
	for key, list := range map[string][]string{"addresses": o.Addresses, "elsewhere": o.Elsewhere} {
		if len(list) > mostAddresses {
			p.add(at.key(key), "has %d entries; at most %d are allowed", len(list), mostAddresses)
		}
	}
	for i, s := range o.Addresses {
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" || !headerText(s) {
			p.add(at.key("addresses").item(i), "%.64q is not an address; write presence.example.com:443", s)
		}
	}
	for i, s := range o.Elsewhere {
		if u, err := url.Parse(s); err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.User != nil {
			p.add(at.key("elsewhere").item(i), "%.64q is not the address of a socket; write wss://node2.example.com:443", s)
		}
	}
}

// StringeeApps is what Stringee's door needs.
func (c *Config) StringeeApps() (list []stringee.App) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		if s := c.Apps[name].Stringee; s.KeySID != "" {
			list = append(list, stringee.App{
				App: presence.AppID(name), SID: s.KeySID, Secret: string(s.KeySecret), Project: s.ProjectID, StrictCty: s.StrictCty,
			})
		}
	}
	return list
}

// StringeePlaces is what Stringee's door tells of where to connect.
func (c *Config) StringeePlaces() stringee.Places {
	return stringee.Places{Addresses: c.Listen.Stringee.Addresses, Elsewhere: c.Listen.Stringee.Elsewhere}
}
