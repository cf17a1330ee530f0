package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// notifications measures live notifications and prints.
func (b benchCommand) notifications(ctx context.Context, c console) error {
	if b.GRPC != "" || b.HTTP != "" || b.Null {
		return errors.New("--phase notifications starts a server of its own, and has no null server: leave --grpc, --http and --null out")
	}
	self, err := itself()
	if err != nil {
		return err
	}
	cfg := bench.NotificationsConfig{
		Self: bench.Child([]string{self}, benchRole+"="+roleHTTP), Key: config.DevelopmentServerKey, Seconds: b.Seconds,
		Token: func(user string) (string, error) {
			return config.Token(config.TokenParams{App: "demo", User: user, TTL: time.Hour})
		},
	}
	return report(b, c, func(bar io.Writer, row func(bench.NotificationsRow)) error {
		cfg.Progress, cfg.Report = bar, row
		return bench.Notifications(ctx, cfg)
	}, bench.NotificationsTable)
}
