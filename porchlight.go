// Package porchlight runs the presence server: one node that knows who is
// online, on which devices, doing what and since when, and tells everybody who
// asked. It is the front of the module: cmd/porchlight is made of it.
package porchlight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// Version is the version of this source; it ends in -dev between releases.
const Version = "0.1.0-dev"

// Options say which node to run. The zero value is a development node on the
// default ports with a temporary directory.
type Options struct {
	// ConfigFile is a configuration; empty means the development one, whose
	// keys everybody knows: it listens on loopback only.
	ConfigFile string
	// HTTP, GRPC and Data, when not empty, are used in place of the
	// configuration's.
	HTTP, GRPC, Data string
	// Logger takes the node's log; nil drops it.
	Logger *slog.Logger
}

// Server is one node.
type Server struct {
	app       *app.App
	temporary string // directory to remove at the end; empty: none
}

// New checks the options and the configuration. Nothing is opened before Start.
func New(o Options) (*Server, error) {
	c := config.Development()
	if o.ConfigFile != "" {
		var err error
		if c, err = config.Load(o.ConfigFile); err != nil {
			return nil, err
		}
	}
	override(&c.Listen.HTTP, o.HTTP, config.DefaultHTTP)
	override(&c.Listen.GRPC, o.GRPC, config.DefaultGRPC)
	override(&c.Data, o.Data, "")
	for _, a := range []string{c.Listen.HTTP, c.Listen.GRPC} {
		if err := c.Exposes(a); err != nil {
			return nil, err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{}
	if c.Data == "" {
		if o.ConfigFile != "" {
			return nil, errors.New("no data directory: set data in the configuration, or --data")
		}
		dir, err := os.MkdirTemp("", "porchlight-*")
		if err != nil {
			return nil, fmt.Errorf("temporary data directory: %w", err)
		}
		c.Data, s.temporary = dir, dir
	}
	var err error
	if s.app, err = app.New(app.Params{Config: c, Temporary: s.temporary != "", Logger: o.Logger, Version: Version}); err != nil {
		s.clean()
		return nil, err
	}
	return s, nil
}

func override(field *string, values ...string) {
	if values[0] != "" {
		*field = values[0]
	}
	if *field == "" {
		*field = values[1]
	}
}

// Start opens the node and returns when it takes calls, or why it cannot.
func (s *Server) Start(ctx context.Context) error { return s.app.Start(ctx) }

// Stop tells devices to come back, writes what must survive and ends.
func (s *Server) Stop(ctx context.Context) error { return errors.Join(s.app.Stop(ctx), s.clean()) }

// Failed gives an error when a port fails while the node runs.
func (s *Server) Failed() <-chan error { return s.app.Failed() }

// GRPCAddr is the address of the gRPC port, after Start.
func (s *Server) GRPCAddr() net.Addr { return s.app.GRPCAddr() }

// HTTPAddr is the address of the HTTP port, after Start.
func (s *Server) HTTPAddr() net.Addr { return s.app.HTTPAddr() }

func (s *Server) clean() error {
	if s.temporary == "" {
		return nil
	}
	return os.RemoveAll(s.temporary)
}
