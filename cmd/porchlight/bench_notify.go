package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/porchlight-dev/porchlight/internal/bench"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// notifications measures live notifications and prints.
func (b benchCommand) notifications(ctx context.Context, c console) error {
	if b.GRPC != "" || b.HTTP != "" || b.Null {
		return errors.New("--phase notifications starts a server of its own, and has no null server: leave --grpc, --http and --null out")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to start it again: %w", err)
	}
	cfg := bench.NotificationsConfig{
		Self: bench.Child([]string{self}, benchRole+"="+roleHTTP), Key: config.DevelopmentServerKey, Seconds: b.Seconds,
		Token: func(user string) (string, error) {
			return config.Token(config.TokenParams{App: "demo", User: user, TTL: time.Hour})
		},
	}
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		cfg.Progress = c.err
	}
	var rows []bench.NotificationsRow
	cfg.Report = func(row bench.NotificationsRow) {
		if b.JSON {
			json.NewEncoder(c.out).Encode(row)
		}
		rows = append(rows, row)
	}
	if err := bench.Notifications(ctx, cfg); err != nil || b.JSON {
		return err
	}
	return bench.NotificationsTable(c.out, rows)
}
