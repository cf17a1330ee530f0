package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/bench"
)

// benchConfig is the environment variable that names the configuration file of
// a child of roleConfig; its data is beside it.
const benchConfig = "PORCHLIGHT_BENCH_CONFIG"

// hooks measures webhooks and prints.
func (b benchCommand) hooks(ctx context.Context, c console) (err error) {
	if b.GRPC != "" || b.HTTP != "" || b.Null {
		return errors.New("--phase webhook starts servers of its own, with webhooks of its own, and has no null server: leave --grpc, --http and --null out")
	}
	self, err := itself()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "porchlight-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := bench.HooksConfig{Seconds: b.Seconds, Self: func(configuration string) bench.Start {
		return func(ctx context.Context) (string, int, func() error, error) {
			one, err := os.MkdirTemp(dir, "")
			if err != nil {
				return "", 0, nil, err
			}
			file := filepath.Join(one, "porchlight.yaml")
			if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
				return "", 0, nil, err
			}
			return bench.Child([]string{self}, benchRole+"="+roleConfig, benchConfig+"="+file)(ctx)
		}
	}}
	return report(b, c, func(bar io.Writer, row func(bench.HookRow)) error {
		cfg.Progress, cfg.Report = bar, row
		return bench.Hooks(ctx, cfg)
	}, bench.HooksTable)
}

// benchConfigured is the server of roleConfig.
func benchConfigured(ctx context.Context, c console, ready func(addr string) error) error {
	const anyPort = "127.0.0.1:0"
	file := os.Getenv(benchConfig)
	o := porchlight.Options{ConfigFile: file, Data: filepath.Join(filepath.Dir(file), "data"), HTTP: anyPort, GRPC: anyPort, Logger: logger(c)}
	return hold(ctx, node{Options: o}, func(srv *porchlight.Server) error { return ready(srv.HTTPAddr().String()) })
}
