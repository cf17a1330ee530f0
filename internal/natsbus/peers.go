package natsbus

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// leastPeers: two servers cannot outvote a lost third, and one cannot found a
	// cluster (engine.md, trap 2).
	leastPeers = 3

	// routePing is how often a peer is asked for a sign of life; three without one
	// cut the route, so that a stopped peer does not hold messages for minutes.
	routePing = 3 * time.Second

	clusterUser = "porchlight" // between peers; the password is the secret
)

// Peers says with which others this node's embedded server forms a cluster.
type Peers struct {
	// Name of this node, another for each, and the same at each start: the store
	// remembers it.
	Name string
	// Listen is the address other nodes reach this one's server at, host:port.
	Listen string
	// Peers are the Listen addresses of all nodes, this one's included or not.
	Peers []string
	// Password that all nodes share, or TLS with certificates that all nodes
	// check (both sides): one of the two is needed.
	Password Secret
	TLS      *tls.Config
}

// check tells what is wrong with p.
func (p *Peers) check(visitor bool) error {
	if p.Name == "" || strings.ContainsAny(p.Name, " \t\r\n.*>/\\") {
		return fmt.Errorf("natsbus: %q cannot be the name of a node: give each node a name of its own without spaces, dots, stars or slashes", p.Name)
	}
	if _, _, err := splitAddress(p.Listen); err != nil {
		return err
	}
	for _, a := range p.Peers {
		if _, _, err := splitAddress(a); err != nil {
			return err
		}
	}
	if n := len(p.all()); n < leastPeers {
		return fmt.Errorf("natsbus: a cluster of peers needs %d nodes or more and %d are named: with fewer, the loss of one stops all. "+
			"Name all nodes' addresses at each node, or run one node alone without peers", leastPeers, n)
	}
	if p.Password == "" && p.TLS == nil {
		return errors.New("natsbus: peers need a password that all share, or TLS with certificates: without one, whoever reaches the port could join")
	}
	return p.checkCertificate(visitor)
}

// checkCertificate refuses a certificate that the other nodes would refuse. Nobody
// calls a visitor, so it may be for any address.
func (p *Peers) checkCertificate(visitor bool) error {
	if p.TLS == nil {
		return nil
	}
	if len(p.TLS.Certificates) == 0 || p.TLS.RootCAs == nil {
		return errors.New("natsbus: TLS between peers needs a certificate of this node and the certificates of who signs them all (peers.tls: cert, key, ca)")
	}
	pair := p.TLS.Certificates[0]
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("natsbus: the certificate for the peers cannot be read: %w", err)
	}
	host, _, _ := splitAddress(p.Listen)
	if visitor {
		host = ""
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	for _, use := range []x509.VerifyOptions{
		{Roots: p.TLS.RootCAs, Intermediates: between, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		{Roots: p.TLS.RootCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	} {
		if _, err := leaf.Verify(use); err != nil {
			return fmt.Errorf("natsbus: the other nodes would refuse this one's certificate (peers.tls.cert): %w: "+
				"it must be valid now, signed by peers.tls.ca, for %s, and for both ends of a connection (server and client)", err, host)
		}
	}
	return nil
}

// checkListen sees whether the address is this machine's and free. The engine
// would say so in its log, and leave us waiting.
func (p *Peers) checkListen() error {
	l, err := net.Listen("tcp", p.Listen)
	if err != nil {
		return fmt.Errorf("natsbus: %s cannot be listened on for the other nodes (peers.listen, or the first of --peers): it must be this node's own address, and free: %w", p.Listen, err)
	}
	return l.Close()
}

// all are the addresses of all nodes, this one's included, each once.
func (p *Peers) all() []string {
	all := append([]string{p.Listen}, p.Peers...)
	slices.Sort(all)
	return slices.Compact(all)
}

// routeTLS is TLS between peers: both sides show a certificate and check the
// other's, or whoever reaches the port could join.
func (p *Peers) routeTLS() *tls.Config {
	if p.TLS == nil {
		return nil
	}
	c := p.TLS.Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs == nil {
		c.ClientCAs = c.RootCAs
	}
	return c
}

// splitAddress reads host:port.
func splitAddress(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("natsbus: %q is not the address of a peer: want host:port", s)
	}
	return host, port, nil
}

// peerOptions makes of the options of a node alone those of a member of a
// cluster.
func (b *Bus) peerOptions(o *server.Options) error {
	p := b.cfg.Peers
	host, port, err := splitAddress(p.Listen)
	if err != nil {
		return err
	}
	b.user, b.password = clusterUser, rand.Text() // for this process alone
	o.ServerName = p.Name
	o.StoreDir = filepath.Join(b.cfg.Dir, modeClustered)
	// Routes start only beside a listener for clients (engine.md, trap 3): it is
	// on loopback, at a port of the system's choice, and nobody knows its password.
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", -1
	o.Username, o.Password = b.user, b.password
	o.PingInterval, o.MaxPingsOut = routePing, 2
	o.Cluster = server.ClusterOpts{
		Name: "porchlight-" + b.Prefix(), Host: host, Port: port,
		Username: clusterUser, Password: string(p.Password),
		TLSConfig: p.routeTLS(), TLSTimeout: dialTimeout.Seconds(),
	}
	// This node's own address is among them: the engine counts routes to know
	// what a majority is before it has met anybody, and calls itself only once.
	for _, a := range p.all() {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: a, User: url.UserPassword(clusterUser, string(p.Password))})
	}
	if p.Password == "" {
		o.Cluster.Username = ""
		for _, u := range o.Routes {
			u.User = nil
		}
	}
	return nil
}
