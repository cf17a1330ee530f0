package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// stopLimit bounds a stop: longer than streams, the store and the checkpoint
// need together, shorter than supervisors wait before they kill.
const stopLimit = 25 * time.Second

// serveCommand runs a node with a configuration.
type serveCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file (YAML)."`
	HTTP   string `name:"http" placeholder:"ADDR" help:"HTTP address in place of the configuration's."`
	GRPC   string `name:"grpc" placeholder:"ADDR" help:"gRPC address in place of the configuration's."`
	Data   string `placeholder:"DIR" help:"Data directory in place of the configuration's."`

	Node    string   `placeholder:"NAME" help:"Name of this node among several; by default the machine's."`
	Cluster []string `placeholder:"URL" help:"An existing NATS cluster that the nodes share: nats://a:4222,nats://b:4222,…"`
	Peers   []string `placeholder:"ADDR" help:"Addresses of all nodes, which form a cluster of their own, this one's first: host:port,…; three or more."`
}

// Help shows an example.
func (serveCommand) Help() string {
	return "Example:\n\n  porchlight serve --config porchlight.yaml --data /var/lib/porchlight\n  porchlight serve --config porchlight.yaml --node n1 --peers 10.0.0.1:7402,10.0.0.2:7402,10.0.0.3:7402\n  porchlight serve --config porchlight.yaml --node n1 --cluster nats://a:4222,nats://b:4222,nats://c:4222"
}

// Run serves until the process is told to stop.
func (s serveCommand) Run(ctx context.Context, c console) error {
	o := porchlight.Options{ConfigFile: s.Config, Environ: os.Environ(), HTTP: s.HTTP, GRPC: s.GRPC, Data: s.Data, Node: s.Node, Cluster: s.Cluster, Peers: s.Peers, Build: version, Logger: logger(c)}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	return hold(ctx, node{o, again}, func(srv *porchlight.Server) error {
		fmt.Fprintf(c.out, "grpc  %s\nhttp  %s\n", srv.GRPCAddr(), srv.HTTPAddr())
		return nil
	})
}

// node is what to run, and what has it read its configuration again; nil: nothing.
type node struct {
	porchlight.Options
	again <-chan os.Signal
}

func logger(c console) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, nil))
}

// hold runs a node until ctx ends or a port fails, then stops it in order.
func hold(ctx context.Context, n node, started func(*porchlight.Server) error) error {
	srv, err := porchlight.New(n.Options)
	if err != nil {
		return err
	}
	defer profile(n.Logger)()
	switch err = srv.Start(ctx); {
	case err == nil:
		if err = started(srv); err == nil {
			err = n.wait(ctx, srv)
		}
	case ctx.Err() != nil:
		err = brokenOff(n.Logger)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if e := srv.Stop(stopping); err == nil {
		err = e
	}
	return err
}

// brokenOff is the outcome of a start that was told to stop. What it broke off in
// says only that.
func brokenOff(log *slog.Logger) error {
	log.Info("stopped before the start was over")
	return nil
}

// wait returns when ctx ends or a port fails.
func (n node) wait(ctx context.Context, srv *porchlight.Server) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-srv.Failed():
			return err
		case <-n.again:
			if err := srv.Reload(ctx); err != nil {
				refused(n.Logger, err)
			}
		}
	}
}

// refused logs why a configuration was not taken, line by line.
func refused(log *slog.Logger, err error) {
	const said = "the new configuration is refused; everything stays as it was"
	bad, ok := errors.AsType[*config.Error](err)
	if !ok {
		log.Error(said, "error", err)
		return
	}
	for _, p := range bad.Problems {
		log.Error(said, "problem", p.String())
	}
}

const profileVariable = "PORCHLIGHT_CPUPROFILE"

// profile writes a CPU profile of a node's whole run when PORCHLIGHT_CPUPROFILE
// names a file (docs/performance.md).
func profile(log *slog.Logger) (stop func()) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		log.Warn("no CPU profile", "error", err)
		return func() {}
	}
	return func() { pprof.StopCPUProfile(); f.Close() }
}
