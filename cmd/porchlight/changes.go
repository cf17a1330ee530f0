package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// changesCommand fetches what happened.
type changesCommand struct {
	backendFlags
	After  string `placeholder:"P" help:"Begin behind this position, which an event, a snapshot or this command gave; now for what happens from here on. Default: the oldest event there is."`
	Follow bool   `short:"f" help:"Go on with what happens, until Ctrl-C."`
	JSON   bool   `name:"json" help:"One JSON object per event and line."`
}

// Help shows an example.
func (changesCommand) Help() string {
	return "At the end it says on standard error with which position to go on.\n\nExample:\n\n  porchlight changes --after now --follow"
}

const (
	changesPage = 1000
	changesWait = 25 * time.Second
)

// Run fetches and prints.
func (k changesCommand) Run(ctx context.Context, c console) error {
	b, err := k.backend(c, "")
	if err != nil {
		return err
	}
	after := client.ChangesAfter{Position: k.After, Limit: changesPage}
	if k.Follow {
		after.Wait = changesWait
	}
	for {
		got, err := b.Changes(ctx, after)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if err := k.print(c, got); err != nil {
			return err
		}
		if after.Position = got.Next; !got.More && !k.Follow {
			break
		}
	}
	fmt.Fprintf(c.err, "porchlight: go on with --after %s\n", after.Position)
	return nil
}

func (k changesCommand) print(c console, got client.Changes) error {
	if got.Gap != nil {
		fmt.Fprintf(c.err, "porchlight: warning: what happened from position %s to %s is no longer known; porchlight snapshot has what came of it\n", got.Gap.From, got.Gap.To)
	}
	for _, e := range got.Events {
		if err := printEvent(c.out, e, k.JSON); err != nil {
			return err
		}
	}
	return nil
}

func printEvent(out io.Writer, e client.Event, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(e)
	}
	_, err := fmt.Fprintln(out, eventLine(e))
	return err
}

// eventLine is an event for people.
func eventLine(e client.Event) string {
	words := []string{e.Time.Local().Format("Jan 2 15:04:05.000"), fmt.Sprintf("%-12s", e.User), fmt.Sprintf("%-7s", e.Kind), fmt.Sprintf("#%d", e.Seq)}
	if e.Reason != e.Kind {
		words = append(words, strings.ReplaceAll(e.Reason, "_", " "))
	}
	if e.Session != nil && e.Session.Device.Platform != "" {
		words = append(words, "on "+e.Session.Device.Platform)
	}
	if e.Invisible {
		words = append(words, "invisible")
	}
	switch {
	case e.Available && !e.WasAvailable:
		words = append(words, "now online")
	case !e.Available && e.WasAvailable:
		words = append(words, "now offline")
	}
	return strings.Join(words, "  ")
}

// snapshotCommand fetches everybody's presence.
type snapshotCommand struct {
	backendFlags
	At     string `placeholder:"P" help:"As it was at this position. Default: now."`
	Online bool   `help:"Only users who have an open session."`
	JSON   bool   `name:"json" help:"One JSON object per user and line."`
}

// Help shows an example.
func (snapshotCommand) Help() string {
	return "It tells the truth, invisible sessions too. At the end it says on standard error of which position it is.\n\nExample:\n\n  porchlight snapshot --online"
}

// Run fetches and prints.
func (k snapshotCommand) Run(ctx context.Context, c console) error {
	b, err := k.backend(c, "")
	if err != nil {
		return err
	}
	users := 0
	position, err := b.Snapshot(ctx, client.SnapshotOf{Position: k.At, Online: k.Online}, func(u client.SnapshotUser) error {
		users++
		if k.JSON {
			return json.NewEncoder(c.out).Encode(u)
		}
		_, err := fmt.Fprintln(c.out, snapshotLine(u))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "porchlight: %d users; go on with: porchlight changes --after %s\n", users, position)
	return nil
}

func snapshotLine(u client.SnapshotUser) string {
	line := fmt.Sprintf("%-12s  ", u.User) + availability(client.Presence{Available: u.Available, LastSeen: u.LastSeen})
	for _, s := range u.Sessions {
		line += "  " + strings.TrimSpace("on "+s.Device.Platform)
		if s.Invisible {
			line += " (invisible)"
		}
	}
	return line
}

// historyCommand fetches what happened to a user.
type historyCommand struct {
	backendFlags
	Limit int    `default:"100" help:"The most events. Default: ${default}."`
	JSON  bool   `name:"json" help:"One JSON object per event and line."`
	User  string `arg:"" help:"Whose history."`
}

// Help shows an example.
func (historyCommand) Help() string {
	return "The newest first, up to 30 days back.\n\nExample:\n\n  porchlight history bob --limit 10"
}

// Run fetches and prints.
func (k historyCommand) Run(ctx context.Context, c console) error {
	if k.Limit < 1 {
		return fmt.Errorf("--limit %d shows nothing; give 1 or more", k.Limit)
	}
	b, err := k.backend(c, "")
	if err != nil {
		return err
	}
	n := 0
	err = b.History(ctx, k.User, func(e client.Event) error {
		if n++; n > k.Limit {
			return io.EOF
		}
		return printEvent(c.out, e, k.JSON)
	})
	if err == io.EOF {
		return nil
	}
	if err == nil && n == 0 && !k.JSON {
		_, err = fmt.Fprintf(c.out, "nothing is known of %s\n", k.User)
	}
	return err
}
