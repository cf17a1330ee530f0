package config

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// NodesSummary is with whom a node is one of several; it has no secrets.
type NodesSummary struct {
	Name     string   `json:"name"`
	Peers    []string `json:"peers,omitempty"`   // addresses of all nodes
	Listen   string   `json:"listen,omitempty"`  // this one's among them
	Servers  []string `json:"servers,omitempty"` // of a NATS cluster
	Prefix   string   `json:"prefix,omitempty"`
	Replicas int      `json:"replicas"`
	Synced   bool     `json:"synced"`
	As       string   `json:"as"` // how it says who it is
	TLS      bool     `json:"tls"`
}

// nodesSummary is nil for one node alone.
func (c *Config) nodesSummary() *NodesSummary {
	s := &NodesSummary{Replicas: natsbus.DefaultReplicas, Synced: true}
	s.Name, _ = c.NodeName()
	switch k := &c.Cluster; {
	case len(c.Peers.Nodes) > 0:
		s.Peers, s.Listen, s.TLS, s.As = c.Peers.Nodes, c.Peers.Listen, c.Peers.TLS.Cert != "", "certificate"
		if c.Peers.Password != "" {
			s.As = "password"
		}
	case len(k.URLs) > 0:
		s.Servers, s.Prefix, s.Synced, s.TLS = k.URLs, cmp.Or(k.Prefix, "pl"), k.Synced, k.TLS != (NodeTLS{}) || strings.HasPrefix(k.URLs[0], "tls:")
		s.Replicas = cmp.Or(k.Replicas, s.Replicas)
		switch {
		case k.CredentialsFile != "":
			s.As = "credentials of " + k.CredentialsFile
		case k.SeedFile != "":
			s.As = "nkey of " + k.SeedFile
		case k.User != "":
			s.As = "user " + k.User
		case k.Token != "":
			s.As = "token"
		case k.TLS.Cert != "":
			s.As = "certificate"
		default:
			s.As = "nobody"
		}
	default:
		return nil
	}
	return s
}

// rows are the summary as text.
func (s *NodesSummary) rows(row func(name, format string, args ...any)) {
	secured := "in the clear"
	if s.TLS {
		secured = "TLS"
	}
	if len(s.Peers) > 0 {
		row("node", "%s at %s, of %s", s.Name, s.Listen, strings.Join(s.Peers, " "))
		row("peers", "by %s, %s", s.As, secured)
		return
	}
	synced := "not said to be synced"
	if s.Synced {
		synced = "synced"
	}
	row("node", "%s", s.Name)
	row("cluster", "%s as %s, %s", strings.Join(s.Servers, " "), s.As, secured)
	row("its data", "prefix %s, %d replicas, %s", s.Prefix, s.Replicas, synced)
}

// inspectNodes looks at what makes the node one of several as a start would, as
// far as it can be known without the others.
func (c *Config) inspectNodes(p *problems) {
	for _, f := range []struct {
		at   place
		file string
	}{{place{"cluster", "credentials_file"}, c.Cluster.CredentialsFile}, {place{"cluster", "seed_file"}, c.Cluster.SeedFile}} {
		if f.file == "" {
			continue
		}
		if _, err := os.Stat(f.file); err != nil {
			p.add(f.at, "%v", err)
		}
	}
	good := true
	for _, t := range []struct {
		key string
		*NodeTLS
	}{{"cluster", &c.Cluster.TLS}, {"peers", &c.Peers.TLS}} {
		if _, err := t.config(); err != nil {
			p.add(place{t.key, "tls"}, "%v", err)
			good = false
		}
	}
	if !good || !c.Clustered() {
		return
	}
	e, err := c.Engine()
	if err == nil {
		e.Dir = cmp.Or(e.Dir, "unset") // that it is missing is said elsewhere
		_, err = natsbus.New(e)
	}
	if err != nil {
		at := "cluster"
		if len(c.Peers.Nodes) > 0 {
			at = "peers"
		}
		p.add(place{at}, "%s", strings.TrimPrefix(fmt.Sprint(err), "natsbus: "))
	}
}
