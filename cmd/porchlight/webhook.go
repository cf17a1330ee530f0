package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// webhookCommand has what is done with webhooks.
type webhookCommand struct {
	List   webhookList   `cmd:"" help:"Show how the app's webhooks are doing."`
	Show   webhookShow   `cmd:"" help:"Show one webhook, its replays and its dead letters."`
	Replay webhookReplay `cmd:"" help:"Tell a webhook again what happened, from a time or a position."`
	Cancel webhookCancel `cmd:"" help:"End a replay."`
	Resend webhookResend `cmd:"" help:"Send dead letters again."`
	Listen webhookListen `cmd:"" help:"Receive webhooks, check their signatures and print their events."`
}

// Help shows an example.
func (webhookCommand) Help() string {
	return "In two terminals. Example:\n\n  porchlight webhook listen\n  porchlight dev --webhook http://127.0.0.1:9000/\n\nAnd in a third:\n\n  porchlight webhook list"
}

// webhookList shows all of them.
type webhookList struct {
	backendFlags
	JSON bool `name:"json" help:"One JSON object per webhook and line."`
}

// Help shows an example.
func (webhookList) Help() string { return "Example:\n\n  porchlight webhook list" }

// Run prints them.
func (w webhookList) Run(ctx context.Context, c console) error {
	b, err := w.backend(c, "")
	if err != nil {
		return err
	}
	all, err := b.Webhooks(ctx)
	if err != nil {
		return err
	}
	if w.JSON {
		return eachJSON(c.out, all)
	}
	if len(all) == 0 {
		_, err = fmt.Fprintln(c.out, "the app has no webhooks")
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFORMAT\tDOING\tLAG\tWAITING\tDELIVERED\tFAILED\tDEAD\tLAST ERROR")
	for _, h := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", h.Name, h.Format, h.Doing, lag(h), h.Waiting, h.Delivered, h.Failures, h.Dead, lastError(h))
	}
	return table.Flush()
}

func eachJSON[T any](out io.Writer, all []T) error {
	enc := json.NewEncoder(out)
	for _, one := range all {
		if err := enc.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

func lag(h client.Webhook) string {
	if h.LagSeconds == 0 {
		return "none"
	}
	return time.Duration(h.LagSeconds * float64(time.Second)).Round(time.Millisecond).String()
}

func lastError(h client.Webhook) string {
	if h.LastError == "" {
		return "none"
	}
	return h.LastError + " at " + h.LastErrorAt.Local().Format("Jan 2 15:04:05")
}

// webhookShow shows one.
type webhookShow struct {
	backendFlags
	JSON bool   `name:"json" help:"JSON: the webhook on one line, and with --dead each dead letter on its own."`
	Dead bool   `help:"List its dead letters, too."`
	Name string `arg:"" help:"Name of the webhook in the configuration."`
}

// Help shows an example.
func (webhookShow) Help() string { return "Example:\n\n  porchlight webhook show main --dead" }

// Run prints it.
func (w webhookShow) Run(ctx context.Context, c console) error {
	b, err := w.backend(c, "")
	if err != nil {
		return err
	}
	h, err := b.Webhook(ctx, w.Name)
	if err != nil {
		return err
	}
	if w.JSON {
		err = json.NewEncoder(c.out).Encode(h)
	} else {
		err = printWebhook(c.out, h)
	}
	if err != nil || !w.Dead {
		return err
	}
	return b.DeadLetters(ctx, w.Name, func(l client.DeadLetter) error {
		if w.JSON {
			return json.NewEncoder(c.out).Encode(l)
		}
		_, err := fmt.Fprintf(c.out, "dead letter %s  %s\n  given up %s after %d tries: %s\n", l.ID, eventLine(l.Event), l.Died.Local().Format("Jan 2 15:04:05"), l.Attempts, l.Why)
		return err
	})
}

func printWebhook(out io.Writer, h client.Webhook) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("webhook", "%s, format %s, to %s, %d lanes", h.Name, h.Format, h.Host, h.Lanes)
	row("doing", "%s", h.Doing)
	if h.Node != "" {
		row("node", "%s", h.Node)
	}
	row("lag", "%s, %d events wait, %d requests under way", lag(h), h.Waiting, h.InFlight)
	row("breaker", "%s", h.Breaker)
	row("since start", "%d events delivered, %d requests, %d failed, %d gaps", h.Delivered, h.Attempts, h.Failures, h.Gaps)
	row("dead letters", "%d", h.Dead)
	row("last success", "%s", when(h.LastSuccess))
	row("last error", "%s", lastError(h))
	row("position", "%s", h.Position)
	for _, r := range h.Replays {
		row("replay", "%s", replayLine(r))
	}
	return table.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "none since start"
	}
	return t.Local().Format("Jan 2 15:04:05")
}

func replayLine(r client.Replay) string {
	line := fmt.Sprintf("%s %s, %d events delivered", r.ID, r.Doing, r.Events)
	if r.Doing == "running" {
		line += fmt.Sprintf(", about %.0f %%", 100*r.Progress)
	}
	if r.Failed > 0 {
		line += fmt.Sprintf(", %d given up", r.Failed)
	}
	if r.Error != "" {
		line += ": " + r.Error
	}
	return line
}
