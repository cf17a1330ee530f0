package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// Cluster is an existing NATS cluster that several nodes share. Without urls
// there is none.
type Cluster struct {
	URLs []string `yaml:"urls" env:"URLS"`
	// Who we are there: at most one way.
	CredentialsFile string `yaml:"credentials_file" env:"CREDENTIALS_FILE"`
	SeedFile        string `yaml:"seed_file" env:"SEED_FILE"` // of an nkey
	User            string `yaml:"user" env:"USER"`
	Password        Secret `yaml:"password" env:"PASSWORD"`
	Token           Secret `yaml:"token" env:"TOKEN"`
	// TLS: ca believes the servers, cert and key are ours.
	TLS NodeTLS `yaml:"tls" envPrefix:"TLS_"`
	// Prefix begins all subjects and streams; "pl" when empty.
	Prefix string `yaml:"prefix" env:"PREFIX"`
	// Replicas of everything stored; 0 means 3.
	Replicas int `yaml:"replicas" env:"REPLICAS"`
	// Synced says that every server has sync_interval: always.
	Synced bool `yaml:"synced" env:"SYNCED"`
}

// Peers are the nodes whose embedded servers form a cluster. Without nodes there
// is none.
type Peers struct {
	// Listen is where the others reach this node, as it stands in Nodes.
	Listen   string   `yaml:"listen" env:"LISTEN"`
	Nodes    []string `yaml:"nodes" env:"NODES"` // of all, this one's included
	Password Secret   `yaml:"password" env:"PASSWORD"`
	TLS      NodeTLS  `yaml:"tls" envPrefix:"TLS_"`
}

// NodeTLS names the files of a certificate and of those who sign the others'.
type NodeTLS struct {
	CA   string `yaml:"ca" env:"CA"`
	Cert string `yaml:"cert" env:"CERT"`
	Key  string `yaml:"key" env:"KEY"`
}

func (t *NodeTLS) files() []*string { return []*string{&t.CA, &t.Cert, &t.Key} }

// Clustered reports whether the node is one of several.
func (c *Config) Clustered() bool { return len(c.Cluster.URLs) > 0 || len(c.Peers.Nodes) > 0 }

// NodeName is the name of this node among several: by default the machine's.
func (c *Config) NodeName() (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("node: this machine has no name (%w); give the node one", err)
	}
	if name, _, _ = strings.Cut(strings.ToLower(name), "."); !nodeName.MatchString(name) {
		return "", fmt.Errorf("node: the machine's name %.64q cannot be a node's; give the node one of its own", name)
	}
	return name, nil
}

// nodeName is what may name a node: it stands in the engine's names.
var nodeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// ValidNodeName reports whether s can name a node.
func ValidNodeName(s string) bool { return nodeName.MatchString(s) }

// busPrefix is what may begin subjects and streams.
var busPrefix = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

// checkNodes looks at what makes a node one of several.
func (c *Config) checkNodes(p *problems) {
	cluster, peers := place{"cluster"}, place{"peers"}
	if c.Node != "" && !nodeName.MatchString(c.Node) {
		p.add(place{"node"}, "%.64q cannot be a node's name; use 1 to 32 of a-z, 0-9 and -, such as n1", c.Node)
	}
	c.Cluster.check(p, cluster)
	c.Peers.check(p, peers)
	if len(c.Cluster.URLs) > 0 && len(c.Peers.Nodes) > 0 {
		p.add(peers, "cluster is set too: nodes share an existing NATS cluster, or form one of their own; take one of the two away")
	}
}

func (c *Cluster) check(p *problems, at place) {
	checkExample(p, at.key("password"), c.Password)
	checkExample(p, at.key("token"), c.Token)
	if len(c.URLs) == 0 {
		return // the addresses may come with the command line
	}
	for i, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme) || u.Path != "" || u.RawQuery != "":
			p.add(at.key("urls").item(i), "is not the address of a NATS server; write nats://host:4222 or tls://host:4222")
		case u.User != nil:
			p.add(at.key("urls").item(i), "has a user in it; set user and password, token or credentials_file instead")
		}
	}
	ways := 0
	for _, set := range []bool{c.CredentialsFile != "", c.SeedFile != "", c.User != "" || c.Password != "", c.Token != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		p.add(at, "says in more than one way who we are; keep one of credentials_file, seed_file, user with password, and token")
	}
	if (c.User == "") != (c.Password == "") {
		p.add(at, "needs both user and password, or neither")
	}
	if c.Prefix != "" && !busPrefix.MatchString(c.Prefix) {
		p.add(at.key("prefix"), "%.64q cannot begin subjects; use 1 to 16 of a-z and 0-9, a letter first", c.Prefix)
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		p.add(at.key("replicas"), "%d is not 1 to 5", c.Replicas)
	}
	c.TLS.check(p, at.key("tls"))
}

// checkExample refuses a secret that was copied from the documents.
func checkExample(p *problems, at place, s Secret) {
	if strings.HasPrefix(string(s), exampleSecret) {
		p.add(at, stillExample)
	}
}

func (c *Peers) check(p *problems, at place) {
	checkExample(p, at.key("password"), c.Password)
	if len(c.Nodes) == 0 {
		if c.Listen != "" {
			p.add(at, "needs nodes, the addresses of all nodes")
		}
		return // they may come with the command line
	}
	if c.Listen == "" {
		p.add(at.key("listen"), "is needed: the address at which the other nodes reach this one")
	}
	for _, one := range append([]located{{at.key("listen"), c.Listen}}, c.located(at)...) {
		if host, _, err := net.SplitHostPort(one.addr); one.addr != "" && (err != nil || host == "" || host == "0.0.0.0" || host == "::") {
			p.add(one.at, "%.64q is not an address that other nodes can reach; write 10.0.0.1:7402", one.addr)
		} else {
			checkAddress(p, one.at, one.addr)
		}
	}
	if c.Listen != "" && !slices.Contains(c.Nodes, c.Listen) {
		p.add(at.key("nodes"), "does not have this node's own address %s; write the same list at all nodes", c.Listen)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(c.Nodes)))) < 3 {
		p.add(at.key("nodes"), "are fewer than three: with two, the loss of one stops both; name three or more")
	}
	if c.Password == "" && c.TLS.Cert == "" {
		p.add(at, "needs a password that all nodes share, or tls: without one, whoever reaches the port could join")
	}
	c.TLS.check(p, at.key("tls"))
	if c.TLS.Cert != "" && c.TLS.CA == "" {
		p.add(at.key("tls", "ca"), "is needed: nodes check each other's certificates")
	}
}

// located is an address and where it stands.
type located struct {
	at   place
	addr string
}

func (c *Peers) located(at place) (all []located) {
	for i, a := range c.Nodes {
		all = append(all, located{at.key("nodes").item(i), a})
	}
	return all
}

func (t *NodeTLS) check(p *problems, at place) {
	if (t.Cert == "") != (t.Key == "") {
		p.add(at, "needs both cert and key, or neither")
	}
}

// config reads the files; nil when none is named.
func (t *NodeTLS) config() (*tls.Config, error) {
	if *t == (NodeTLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		b, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s has no certificate in it", t.CA)
		}
		c.ClientCAs, c.ClientAuth = c.RootCAs, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// Engine is where the engine of this node is: embedded in Data, or several
// nodes'. Logger is the caller's to set.
func (c *Config) Engine() (natsbus.Config, error) {
	b := natsbus.Config{Dir: c.Data}
	switch {
	case len(c.Cluster.URLs) > 0:
		t, err := c.Cluster.TLS.config()
		if err != nil {
			return b, fmt.Errorf("cluster.tls: %w", err)
		}
		b.Prefix = c.Cluster.Prefix
		b.Cluster = &natsbus.Cluster{
			URLs: c.Cluster.URLs, TLS: t, Replicas: c.Cluster.Replicas, Synced: c.Cluster.Synced,
			Credentials: natsbus.Credentials{
				File: c.Cluster.CredentialsFile, SeedFile: c.Cluster.SeedFile,
				User: c.Cluster.User, Password: natsbus.Secret(c.Cluster.Password), Token: natsbus.Secret(c.Cluster.Token),
			},
		}
	case len(c.Peers.Nodes) > 0:
		t, err := c.Peers.TLS.config()
		if err != nil {
			return b, fmt.Errorf("peers.tls: %w", err)
		}
		name, err := c.NodeName()
		if err != nil {
			return b, err
		}
		b.Peers = &natsbus.Peers{Name: name, Listen: c.Peers.Listen, Peers: c.Peers.Nodes, Password: natsbus.Secret(c.Peers.Password), TLS: t}
	}
	return b, nil
}
