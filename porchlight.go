// Package porchlight runs the presence server: one node that knows who is
// online, on which devices, doing what and since when, and tells everybody who
// asked. It is the front of the module: cmd/porchlight is made of it.
package porchlight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// Version is the version of this source; it ends in -dev between releases.
const Version = "0.1.0-dev"

// Options say which node to run. The zero value is a development node on the
// default ports with a temporary directory.
type Options struct {
	// ConfigFile is a configuration (YAML), Config the text of one. At most one of
	// them; without any the node has the development configuration, whose keys
	// everybody knows: it listens on loopback only. Relative file names in a
	// configuration begin at the directory of ConfigFile, or at the working
	// directory for Config.
	ConfigFile string
	Config     []byte
	// Environ overrides single keys, as variables like
	// PORCHLIGHT_APPS_DEMO_POLICY_GRACE=2s. It is not taken from the process: give
	// os.Environ() where that is wanted.
	Environ []string
	// HTTP, GRPC and Data, when not empty, are used in place of the
	// configuration's.
	HTTP, GRPC, Data string
	// Node, when not empty, is this node's name among several, in place of the
	// configuration's; Cluster and Peers are the addresses of a NATS cluster, or of
	// all nodes of one that they form themselves, this one's first.
	Node           string
	Cluster, Peers []string
	// HTTPListener and GRPCListener, when not nil, are served in place of the
	// addresses, and closed by Stop. With GRPCListener alone there is no HTTP port.
	HTTPListener, GRPCListener net.Listener
	// Demo serves the demo page at /demo/, and signs in whoever asks there: with the
	// development configuration only.
	Demo bool
	// Build, when not empty, is what this build calls its version, in place of
	// Version: it is shown among the nodes of a cluster.
	Build string
	// Logger takes the node's log; nil drops it. It never gets tokens or keys.
	Logger *slog.Logger
}

// Server is one node. Make it with New, start it once and stop it once. Several
// may run in one process, each with a data directory of its own.
type Server struct {
	app       *app.App
	options   Options
	reloading sync.Mutex // held during a Reload and a Stop
	config    atomic.Pointer[config.Config]
	temporary string // directory to remove at the end; empty: none
	given     []net.Listener
}

// New checks the options and the configuration. Nothing is listened on before
// Start. A Server that is not started must be stopped all the same: a temporary
// data directory goes with it.
func New(o Options) (*Server, error) {
	c, err := o.read()
	if err != nil {
		return nil, err
	}
	if err := o.exposes(c); err != nil {
		return nil, err
	}
	if o.Demo && !o.development() {
		return nil, errors.New("options: Demo signs in whoever asks, and a configuration is given: leave one of them out")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, w := range c.Warnings() {
		o.Logger.Warn(w)
	}
	s := &Server{options: o, given: []net.Listener{o.HTTPListener, o.GRPCListener}}
	if c.Data == "" {
		if !o.development() {
			return nil, errors.New("no data directory: set data in the configuration, or Options.Data (--data)")
		}
		dir, err := os.MkdirTemp("", "porchlight-*")
		if err != nil {
			return nil, fmt.Errorf("temporary data directory: %w", err)
		}
		c.Data, s.temporary = dir, dir
	}
	s.config.Store(c)
	nodes, err := nodesOf(c)
	if err == nil {
		s.app, err = app.New(app.Params{
			Config: c, Temporary: s.temporary != "", GRPC: o.GRPCListener, HTTP: o.HTTPListener, Demo: o.Demo, Nodes: nodes, Logger: o.Logger, Version: cmp.Or(o.Build, Version),
		})
	}
	if err != nil {
		s.clean()
		return nil, err
	}
	return s, nil
}

// nodesOf is what makes a node one of several; nil when it is alone.
func nodesOf(c *config.Config) (*app.Nodes, error) {
	if !c.Clustered() {
		return nil, nil
	}
	name, err := c.NodeName()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	e, err := c.Engine()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return &app.Nodes{Name: name, Cluster: e.Cluster, Peers: e.Peers, Prefix: e.Prefix, Fingerprint: c.Fingerprint()}, nil
}

func (o *Options) development() bool { return o.ConfigFile == "" && o.Config == nil }

// read gives the configuration with everything in its place.
func (o *Options) read() (c *config.Config, err error) {
	switch {
	case o.ConfigFile != "" && o.Config != nil:
		return nil, errors.New("options: both ConfigFile and Config are given; one configuration is enough")
	case o.ConfigFile != "":
		c, err = config.Load(o.ConfigFile, o.Environ...)
	case o.Config != nil:
		c, err = config.Parse(o.Config, o.Environ...)
	default:
		c, err = config.DevelopmentWith(o.Environ...)
	}
	if err != nil {
		return nil, err
	}
	override(&c.Listen.HTTP, o.HTTP, config.DefaultHTTP)
	override(&c.Listen.GRPC, o.GRPC, config.DefaultGRPC)
	override(&c.Data, o.Data, "")
	override(&c.Node, o.Node, "")
	if len(o.Cluster) > 0 {
		c.Cluster.URLs = o.Cluster
	}
	if len(o.Peers) > 0 {
		c.Peers.Listen, c.Peers.Nodes = o.Peers[0], o.Peers
	}
	return c, c.Check()
}

// exposes refuses to serve keys that everybody knows beyond loopback.
func (o *Options) exposes(c *config.Config) error {
	addrs := []string{c.Listen.HTTP, c.Listen.GRPC}
	for i, l := range []net.Listener{o.HTTPListener, o.GRPCListener} {
		switch {
		case l == nil:
		case l.Addr().Network() == "tcp":
			addrs[i] = l.Addr().String()
		default:
			addrs[i] = "" // a network in memory, a Unix socket: not for strangers
		}
	}
	if o.GRPCListener != nil && o.HTTPListener == nil {
		addrs[0] = "" // no port at all
	}
	for _, a := range addrs {
		if a == "" {
			continue
		}
		if err := c.Exposes(a); err != nil {
			return err
		}
	}
	return nil
}

func override(field *string, given, preset string) {
	if given != "" {
		*field = given
	}
	if *field == "" {
		*field = preset
	}
}

// Start opens the node and returns when it takes calls, or why it cannot.
func (s *Server) Start(ctx context.Context) error { return s.app.Start(ctx) }

// Reload reads the configuration again, the files that it names, and the keys of
// session tokens, and puts them in place without dropping anyone: keys, apps,
// policies, limits, texts, friends, origins, certificates. On an error everything
// stays as it was. What only a start can change, such as addresses, is said in
// the log.
func (s *Server) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c, err := s.options.read()
	if err != nil {
		return err
	}
	if err := s.options.exposes(c); err != nil {
		return err
	}
	for _, w := range c.Warnings() {
		s.options.Logger.Warn(w)
	}
	if s.temporary != "" {
		c.Data = s.temporary
	}
	if err := s.app.Reload(ctx, c); err != nil {
		return err
	}
	s.config.Store(c)
	return nil
}

// Stop tells devices to come back, writes what must survive and ends.
func (s *Server) Stop(ctx context.Context) error {
	s.reloading.Lock() // a Reload that runs is over first, a later one is refused
	defer s.reloading.Unlock()
	return errors.Join(s.app.Stop(ctx), s.clean())
}

// Failed gives an error when a port fails while the node runs.
func (s *Server) Failed() <-chan error { return s.app.Failed() }

// Token makes an access token for a user of an app, good for ttl from now,
// signed with the app's first key. It is for tests, tools and trying out; products
// sign with their own identity provider.
func (s *Server) Token(app, user string, ttl time.Duration) (string, error) {
	return s.config.Load().Token(app, user, ttl)
}

// ServerKey is the app's first server key, with which its backend calls the
// server API; empty when it has none. It is a secret.
func (s *Server) ServerKey(app string) string {
	if keys := s.config.Load().Apps[app].ServerKeys; len(keys) > 0 {
		return string(keys[0].Secret)
	}
	return ""
}

// GRPCAddr is the address of the gRPC port, after Start.
func (s *Server) GRPCAddr() net.Addr { return s.app.GRPCAddr() }

// HTTPAddr is the address of the HTTP port, after Start; nil when there is none.
func (s *Server) HTTPAddr() net.Addr { return s.app.HTTPAddr() }

// clean also closes listeners that a node which never started leaves open.
func (s *Server) clean() error {
	for _, l := range s.given {
		if l != nil {
			l.Close() // again: an error of the second is no news
		}
	}
	if s.temporary == "" {
		return nil
	}
	return os.RemoveAll(s.temporary)
}
