package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/scale"
)

// benchPlace is the environment variable that says to a child of roleNode, as JSON,
// where it is.
const benchPlace = "PORCHLIGHT_BENCH_PLACE"

// several measures nodes that form a cluster and prints.
func (b benchCommand) several(ctx context.Context, c console) (err error) {
	switch {
	case b.GRPC != "" || b.HTTP != "" || b.Null || b.Users != nil:
		return errors.New("--nodes starts nodes of its own, with a number of users of its own, and has no null server: leave --grpc, --http, --users and --null out")
	case b.FriendsSubscription:
		return errors.New("--nodes and --friends-subscription are two loads: give either")
	case b.Seconds < 1 || b.Sessions < 1:
		return errors.New("--seconds and --sessions are 1 or more")
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
	cfg := bench.NodesConfig{
		Dir: dir, Nodes: b.Nodes, Sessions: b.Sessions, Seconds: b.Seconds,
		Self: func(p bench.Place) (argv, environ []string) {
			place, _ := json.Marshal(p) // texts always can be
			return []string{self}, []string{benchRole + "=" + roleNode, benchPlace + "=" + string(place)}
		},
		Token: func(user string) (string, error) {
			return config.Token(config.TokenParams{App: "demo", User: user, TTL: 12 * time.Hour})
		},
	}
	if b.Phase != "" {
		cfg.Phases = strings.Split(b.Phase, ",")
	}
	return report(b, c, func(bar io.Writer, row func(bench.NodesRow)) error {
		cfg.Progress, cfg.Report = bar, row
		return bench.NodesRun(ctx, cfg)
	}, bench.NodesTable)
}

// benchNode is the node of roleNode.
func benchNode(ctx context.Context, c console) error {
	cfg := scale.Config{Version: porchlight.Version, Logger: logger(c)}
	if err := json.Unmarshal([]byte(os.Getenv(benchPlace)), &cfg.Place); err != nil {
		return fmt.Errorf("%s: %w", benchPlace, err)
	}
	if path := os.Getenv(profileVariable); path != "" {
		os.Setenv(profileVariable, path+"."+cfg.Place.Name) // each node has one of its own
	}
	defer profile(cfg.Logger)()
	return scale.Serve(ctx, cfg, os.Stdin, c.out)
}
