package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// watchCommand shows what users do.
type watchCommand struct {
	dialFlags
	readFlags
	Friends bool     `help:"Watch the user's friends too, and follow their list."`
	JSON    bool     `name:"json" help:"One JSON object per line."`
	Targets []string `arg:"" optional:"" name:"TARGET" help:"Users to watch."`
}

// Validate is called once the flags are read.
func (w watchCommand) Validate() error {
	if !w.Friends && len(w.Targets) == 0 {
		return errors.New("name the users to watch, or --friends")
	}
	return nil
}

// Help shows an example.
func (watchCommand) Help() string {
	return "Example:\n\n  porchlight watch --user alice bob carol\n  porchlight watch --user alice --friends"
}

// Run watches until Ctrl-C. It makes a session of its own, invisible to others,
// and comes back by itself when the link is lost.
func (w watchCommand) Run(ctx context.Context, c console) error {
	cl, err := w.dial(c, "watch", w.locale())
	if err != nil {
		return err
	}
	defer cl.Close()
	s, err := cl.Open(ctx, client.Options{Watch: w.Targets, Friends: w.Friends, Status: client.Status{Invisible: true}})
	if err != nil {
		return err
	}
	defer leave(ctx, s)
	changes := s.Changes()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Done():
			return s.Err()
		case change, ok := <-changes:
			if !ok {
				return s.Err()
			}
			if w.JSON {
				err = json.NewEncoder(c.out).Encode(change)
			} else {
				err = printChange(c.out, change)
			}
			if err != nil {
				return err
			}
		}
	}
}

// leave says goodbye even after Ctrl-C, for a short while.
func leave(ctx context.Context, s *client.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	s.Leave(ctx)
}

// printChange writes one change as lines for people: one per session, or one
// for the user when there is none.
func printChange(out io.Writer, change client.Change) error {
	at := change.At
	if at.IsZero() {
		at = time.Now()
	}
	stamp := at.Local().Format("15:04:05.000")
	if change.Kind != client.ChangePresence {
		why := ""
		if change.Err != nil {
			why = "  " + change.Err.Error()
		}
		_, err := fmt.Fprintf(out, "%s  -- %s %s%s\n", stamp, change.Kind, change.User, why)
		return err
	}
	p := change.Presence
	if len(change.Sessions) == 0 {
		_, err := fmt.Fprintf(out, "%s  %-12s %s\n", stamp, p.User, availability(p))
		return err
	}
	for _, step := range change.Sessions {
		line := describe(step.Session)
		if step.Kind == client.SessionClosed {
			line = string(step.Reason)
		}
		if _, err := fmt.Fprintf(out, "%s  %-12s %-28s %-8s %s\n", stamp, p.User, availability(p), step.Kind, line); err != nil {
			return err
		}
	}
	return nil
}

// availability is the user-level answer in words.
func availability(p client.Presence) string {
	word := standing(p)
	if !p.StaleSince.IsZero() {
		word += ", not heard since " + p.StaleSince.Local().Format("15:04:05")
	}
	return word
}

func standing(p client.Presence) string {
	switch {
	case p.Available:
		return "online"
	case p.Unknown:
		return "unknown"
	case p.LastSeen.IsZero():
		return "offline, never seen"
	}
	return "offline since " + p.LastSeen.Local().Format("Jan 2 15:04:05")
}

// describe is one session in words.
func describe(s client.UserSession) string {
	words := []string{string(s.Show)}
	if s.Platform != "" {
		words = append(words, "on "+s.Platform)
	}
	if s.Text != "" {
		words = append(words, fmt.Sprintf("%q", s.Text))
	}
	if len(s.Properties) > 0 {
		if b, err := json.Marshal(s.Properties); err == nil {
			words = append(words, string(b))
		}
	}
	return strings.Join(words, " ")
}
