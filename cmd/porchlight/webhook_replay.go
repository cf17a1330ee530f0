package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/porchlight-dev/porchlight/client"
)

// webhookReplay begins a replay and waits for its end.
type webhookReplay struct {
	backendFlags
	Position string        `placeholder:"P" help:"Begin behind this position, which an event or a snapshot gave."`
	Time     string        `placeholder:"T" help:"Or: begin at this time, such as 2026-05-04T09:00:00Z."`
	Since    time.Duration `placeholder:"TIME" help:"Or: begin so long ago, such as 2h."`
	Detach   bool          `help:"Do not wait for its end."`
	JSON     bool          `name:"json" help:"JSON: the replay as it is at the end, on one line."`
	Name     string        `arg:"" help:"Name of the webhook in the configuration."`
}

// Help shows an example.
func (webhookReplay) Help() string {
	return "The replay runs on the server, beside what is live. Ctrl-C leaves it running; porchlight webhook cancel ends it.\n\nExample:\n\n  porchlight webhook replay main --since 2h"
}

// from is where the flags say to begin.
func (w webhookReplay) from() (client.ReplayFrom, error) {
	given := 0
	for _, yes := range []bool{w.Position != "", w.Time != "", w.Since != 0} {
		if yes {
			given++
		}
	}
	switch {
	case given != 1:
		return client.ReplayFrom{}, errors.New("say where to begin, by one of --position, --time and --since")
	case w.Since < 0:
		return client.ReplayFrom{}, fmt.Errorf("--since %v is in the future", w.Since)
	case w.Since > 0:
		return client.ReplayFrom{Time: time.Now().Add(-w.Since)}, nil
	case w.Position != "":
		return client.ReplayFrom{Position: w.Position}, nil
	}
	at, err := time.Parse(time.RFC3339, w.Time)
	if err != nil {
		return client.ReplayFrom{}, fmt.Errorf("--time %q is no time such as 2026-05-04T09:00:00Z", w.Time)
	}
	return client.ReplayFrom{Time: at}, nil
}

// replayPoll is how often the server is asked how far a replay is.
const replayPoll = 500 * time.Millisecond

// replayPatience is how long nobody may say that, while the node that runs it starts
// anew or another takes it over.
const replayPatience = time.Minute

// Run begins it.
func (w webhookReplay) Run(ctx context.Context, c console) error {
	from, err := w.from()
	if err != nil {
		return err
	}
	b, err := w.backend(c, "")
	if err != nil {
		return err
	}
	r, err := b.Replay(ctx, w.Name, from)
	if err != nil {
		return err
	}
	if !w.Detach {
		r, err = w.wait(ctx, c, replayed{b, r})
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(c.err, "porchlight: replay %s goes on; end it with: porchlight webhook cancel %s %s\n", r.ID, w.Name, r.ID)
		return nil
	}
	if err != nil {
		return err
	}
	if w.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	if _, err := fmt.Fprintln(c.out, "replay", replayLine(r)); err != nil {
		return err
	}
	if r.Doing == "failed" {
		return fmt.Errorf("replay %s failed: %s", r.ID, r.Error)
	}
	return nil
}

// replayed is a replay and who knows of it.
type replayed struct {
	b *client.Backend
	r client.Replay
}

// wait asks until the replay is over.
func (w webhookReplay) wait(ctx context.Context, c console, of replayed) (client.Replay, error) {
	bar := replayBar(c.err)
	defer bar.Close()
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	heard := time.Now()
	for of.r.Doing == "running" {
		bar.Set(int(1000 * of.r.Progress))
		bar.Describe(fmt.Sprintf("replay %s: %d events", of.r.ID, of.r.Events))
		select {
		case <-ctx.Done():
			return of.r, ctx.Err()
		case <-tick.C:
		}
		h, err := of.b.Webhook(ctx, w.Name)
		if ctx.Err() != nil {
			return of.r, ctx.Err()
		}
		var e *client.Error
		if errors.As(err, &e) && e.Temporary() && time.Since(heard) < replayPatience {
			bar.Describe(fmt.Sprintf("replay %s: waiting for the server", of.r.ID))
			continue
		}
		if err != nil {
			return of.r, err
		}
		heard = time.Now()
		found := false
		for _, r := range h.Replays {
			if r.ID == of.r.ID {
				of.r, found = r, true
			}
		}
		if !found {
			return of.r, fmt.Errorf("the server no longer knows of replay %s; begin again at position %s", of.r.ID, of.r.At)
		}
	}
	return of.r, nil
}

// replayBar is drawn on a terminal alone.
func replayBar(to io.Writer) *progressbar.ProgressBar {
	if f, ok := to.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		to = io.Discard
	}
	return progressbar.NewOptions(1000, progressbar.OptionSetWriter(to), progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish())
}

// webhookCancel ends a replay.
type webhookCancel struct {
	backendFlags
	JSON   bool   `name:"json" help:"One JSON object."`
	Name   string `arg:"" help:"Name of the webhook in the configuration."`
	Replay string `arg:"" help:"Id of the replay, as porchlight webhook show has it."`
}

// Help shows an example.
func (webhookCancel) Help() string {
	return "Example:\n\n  porchlight webhook cancel main rp_5QZ2WM7CAY4K"
}

// Run ends it.
func (w webhookCancel) Run(ctx context.Context, c console) error {
	b, err := w.backend(c, "")
	if err != nil {
		return err
	}
	r, err := b.CancelReplay(ctx, w.Name, w.Replay)
	if err != nil {
		return err
	}
	if w.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	_, err = fmt.Fprintln(c.out, "replay", replayLine(r))
	return err
}

// webhookResend sends dead letters again.
type webhookResend struct {
	backendFlags
	All   bool     `help:"All dead letters."`
	Force bool     `help:"Those too that are older than their user's newest event: a receiver that goes by what comes last would take them for the present."`
	JSON  bool     `name:"json" help:"One JSON object."`
	Name  string   `arg:"" help:"Name of the webhook in the configuration."`
	IDs   []string `arg:"" optional:"" name:"ID" help:"Dead letters, as porchlight webhook show --dead has them."`
}

// Help shows an example.
func (webhookResend) Help() string {
	return "Each is tried once; what is delivered is a dead letter no more.\n\nExample:\n\n  porchlight webhook resend main --all"
}

// Run sends them. All may take several calls, each of which is bounded in time.
func (w webhookResend) Run(ctx context.Context, c console) error {
	if w.All == (len(w.IDs) > 0) {
		return errors.New("name the dead letters, or --all")
	}
	b, err := w.backend(c, "")
	if err != nil {
		return err
	}
	total := client.Resent{Errors: map[string]int{}}
	for {
		r, err := b.Resend(ctx, w.Name, w.Force, w.IDs...)
		if err != nil {
			return err
		}
		total.Sent, total.Failed, total.Older = total.Sent+r.Sent, total.Failed+r.Failed, r.Older
		for why, n := range r.Errors {
			total.Errors[why] += n
		}
		if !r.Unfinished || r.Sent == 0 { // nothing goes through: another call would try the same
			break
		}
		fmt.Fprintf(c.err, "porchlight: %d sent so far\n", total.Sent)
	}
	if err := w.tell(c, total); err != nil || total.Failed == 0 {
		return err
	}
	return fmt.Errorf("what failed is still a dead letter; see porchlight webhook show %s", w.Name)
}

func (w webhookResend) tell(c console, total client.Resent) error {
	if w.JSON {
		return json.NewEncoder(c.out).Encode(total)
	}
	fmt.Fprintf(c.out, "%d sent, %d failed\n", total.Sent, total.Failed)
	for why, n := range total.Errors {
		fmt.Fprintf(c.out, "  %d times: %s\n", n, why)
	}
	if n := len(total.Older); n > 0 {
		fmt.Fprintf(c.out, "not sent, as older than their user's newest event: %d; --force sends them\n", n)
	}
	return nil
}
