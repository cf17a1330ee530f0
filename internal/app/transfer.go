package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// Storage says where data are: in a node's data directory or in a NATS cluster.
type Storage struct {
	// Data is the data directory of a node that does not run.
	Data string
	// Members are those of nodes whose engines form a cluster, and of which none
	// runs: for an export of a majority of them, for an import of all. An import
	// makes them; each node's name is the last element of its directory.
	Members []string

	// Servers are URLs of a NATS cluster.
	Servers       []string
	Prefix        string
	CredsFile     string
	SeedFile      string
	User          string
	Password      natsbus.Secret
	Token         natsbus.Secret
	CA, Cert, Key string // files (PEM)
	Replicas      int
	Logger        *slog.Logger

	engine *natsbus.Config // of a configuration, in place of all this
}

// Secret is a text that does not show.
type Secret = natsbus.Secret

// bus opens the storage, until stop.
func (s *Storage) bus(ctx context.Context) (bus *natsbus.Bus, stop func(), err error) {
	if len(s.Members) > 0 {
		return startMembers(ctx, s.Members, s.Logger)
	}
	bus, err = s.one(ctx)
	return bus, func() { _ = bus.Stop(context.WithoutCancel(ctx)) }, err
}

func (s *Storage) one(ctx context.Context) (*natsbus.Bus, error) {
	if s.engine != nil {
		return s.visit(ctx)
	}
	cfg := natsbus.Config{Dir: s.Data, Prefix: s.Prefix, Logger: s.Logger}
	if len(s.Servers) > 0 {
		tls, err := s.tls()
		if err != nil {
			return nil, err
		}
		cfg.Dir, cfg.Cluster = "", &natsbus.Cluster{
			URLs: s.Servers, Replicas: s.Replicas, TLS: tls,
			Credentials: natsbus.Credentials{File: s.CredsFile, SeedFile: s.SeedFile, User: s.User, Password: s.Password, Token: s.Token},
		}
	}
	bus, err := natsbus.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := bus.Start(ctx); err != nil {
		return nil, errors.Join(err, bus.Stop(ctx))
	}
	return bus, nil
}

// tls reads the certificates; nil when none are named.
func (s *Storage) tls() (*tls.Config, error) {
	if s.CA == "" && s.Cert == "" && s.Key == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("CA certificates: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA certificates: there are none in %s", s.CA)
		}
	}
	if s.Cert != "" || s.Key != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Transfer tells how far an export or import is.
type Transfer = natsstore.Progress

// ExportData writes all that is stored into a new file, which is there whole or
// not at all.
func ExportData(ctx context.Context, from Storage, file string, told func(Transfer)) error {
	if from.Data != "" {
		if !natsbus.Used(from.Data) { // it would be made one
			return fmt.Errorf("%s is no data directory of a node: give the one that the node's configuration names (data), or that it was started with (--data)", from.Data)
		}
		if name, err := natsbus.Member(from.Data); err == nil {
			return fmt.Errorf("data directory %s is that of node %q of several, which has only a part for sure: give those of a majority of the nodes", from.Data, name)
		}
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s is there already: name a new file", file)
	}
	bus, stop, err := from.bus(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if from.Data != "" {
		if err := pack(ctx, bus, from.Data); err != nil {
			return err
		}
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".porchlight-export-*") // 0600: personal data
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // gone already when all went well
	err = natsstore.Export(ctx, bus, out, told)
	if errors.Is(err, natsstore.ErrNothing) {
		err = fmt.Errorf("%w: give the prefix of the nodes' configuration (cluster.prefix) with --cluster-prefix, and the account that they use", err)
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

// ImportData fills an empty cluster, or an empty data directory, with an export.
func ImportData(ctx context.Context, to Storage, file io.ReadSeeker, told func(Transfer)) error {
	if len(to.Members) > 0 {
		return found(ctx, to, file, told)
	}
	bus, stop, err := to.bus(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return natsstore.Import(ctx, bus, file, told)
}

// StreamStatus is how one stream is doing.
type StreamStatus = natsstore.StreamStatus

// DataStatus tells how what is stored is doing.
func DataStatus(ctx context.Context, of Storage) ([]StreamStatus, error) {
	bus, stop, err := of.bus(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	return natsstore.Status(ctx, bus)
}

// ClusterRights are the subjects that the account of a cluster must be allowed,
// and those that an import or export needs beside them.
func ClusterRights(prefix string) (publish, subscribe, imports []string) {
	publish, subscribe = natsstore.Rights(prefix)
	return publish, subscribe, natsstore.ImportRights(prefix)
}
