package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config is what a node needs to take part.
type Config struct {
	// Name is the node's, the same at each start; no two nodes may share one.
	Name string
	// Incarnation is this start's number, from the cluster's durable counter.
	Incarnation Incarnation
	// Next takes another number from that counter, for a node that comes back when
	// the others gave it up. Nil: such a node takes no part until it is restarted.
	Next func(ctx context.Context) (Incarnation, error)
	// Version is of the program, to be shown.
	Version string
	// Fingerprint is of all configuration that must be the same everywhere. A node
	// with another one is refused.
	Fingerprint uint64
	// Prefix is what the transport puts before all subjects, to be named in errors;
	// empty means DefaultPrefix.
	Prefix string
	// Return is how long a lost node may return as the same incarnation: the grace
	// of sessions. Zero means DefaultReturn.
	Return time.Duration

	// What the node stands on; all four are needed. Transport must be open before
	// Start and stay so until Stop has returned.
	Transport Transport
	Liveness  Liveness
	Table     Table
	Listener  Listener

	Logger *slog.Logger // nil: silence
}

// What Config says when it says nothing.
const (
	DefaultPrefix = "pl"
	DefaultReturn = 6 * time.Second
)

// maxName is the most bytes of a node's name: it is in every heartbeat.
const maxName = 128

// check completes a configuration, or says what is missing.
func (cfg *Config) check() error {
	switch {
	case cfg.Name == "":
		return errors.New("cluster: the node has no name")
	case len(cfg.Name) > maxName:
		return fmt.Errorf("cluster: the node's name has %d bytes: at most %d", len(cfg.Name), maxName)
	case cfg.Incarnation == 0:
		return errors.New("cluster: the node has no incarnation")
	case cfg.Transport == nil || cfg.Liveness == nil || cfg.Table == nil || cfg.Listener == nil:
		return errors.New("cluster: transport, liveness, table and listener are all needed")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.Return <= 0 {
		cfg.Return = DefaultReturn
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
