package natsbus

import (
	"errors"
	"fmt"
	"log/slog"
)

// Config says where the engine lives. The zero value lacks Dir.
type Config struct {
	// Dir is Porchlight's data directory; it is made when missing. The engine's
	// files lie below <Dir>/standalone/jetstream, or <Dir>/clustered/jetstream
	// when there are Peers. With a Cluster it is not used, and may be empty; one
	// that holds a single node's data is refused.
	Dir string

	// Cluster, when not nil, is an existing NATS cluster to use instead of an
	// embedded server.
	Cluster *Cluster

	// Peers, when not nil, are the other nodes whose embedded servers form a
	// cluster with this one's.
	Peers *Peers

	// Visitor, beside Peers, makes this one no member: it keeps no data, needs no
	// Dir, and is there for what is done to a cluster from outside.
	Visitor bool

	// Prefix begins the subjects of everything, and in capitals the streams' names;
	// empty means "pl". Porchlight clusters that share a NATS account need
	// different ones.
	Prefix string

	// MaxStore is the most bytes the engine's files may hold and its streams may
	// reserve together; a stream that asks for more is refused. Zero leaves the
	// limits to the streams.
	MaxStore int64

	// Logger takes the engine's warnings and errors; its chatter goes to debug
	// level. Nil drops all of it.
	Logger *slog.Logger
}

// defaultPrefix begins all subjects.
const defaultPrefix = "pl"

// check tells what is wrong with cfg.
func (cfg *Config) check() error {
	switch {
	case cfg.MaxStore < 0:
		return fmt.Errorf("natsbus: the most bytes to store cannot be negative (%d)", cfg.MaxStore)
	case cfg.Cluster != nil && cfg.Peers != nil:
		return errors.New("natsbus: a NATS cluster to use and peers to form one are both given: choose one")
	case cfg.Visitor && cfg.Peers == nil:
		return errors.New("natsbus: a visitor needs the addresses of the nodes")
	case cfg.Dir == "" && cfg.Cluster == nil && !cfg.Visitor:
		return errors.New("natsbus: no data directory given")
	case !validPrefix(cfg.Prefix):
		return fmt.Errorf("natsbus: %q cannot be a prefix: use 1 to 16 of a-z, 0-9 and _", cfg.Prefix)
	case cfg.Cluster != nil:
		return cfg.Cluster.check()
	case cfg.Peers != nil:
		return cfg.Peers.check(cfg.Visitor)
	}
	return nil
}

func validPrefix(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return len(s) <= 16
}
