package main

import (
	"context"
	"fmt"

	"github.com/porchlight-dev/porchlight/client"
)

// setCommand holds a session with a status.
type setCommand struct {
	dialFlags
	Status    string            `default:"online" help:"online, away or busy. Default: ${default}."`
	Text      string            `help:"Free text beside it."`
	Prop      map[string]string `mapsep:"none" placeholder:"k=v" help:"A property; may be given several times."`
	Invisible bool              `help:"Look offline to everybody but yourself."`
}

// Help shows an example.
func (setCommand) Help() string {
	return "Example:\n\n  porchlight set --user bob --status busy --text \"in a call\" --prop room=7"
}

// Run makes the session and leaves it at Ctrl-C.
func (s setCommand) Run(ctx context.Context, c console) error {
	word, err := show(s.Status)
	if err != nil {
		return err
	}
	cl, err := s.dial(c, "set")
	if err != nil {
		return err
	}
	defer cl.Close()
	status := client.Status{Show: word, Text: s.Text, Invisible: s.Invisible}
	if len(s.Prop) > 0 {
		status.Properties = map[string]any{}
		for k, v := range s.Prop {
			status.Properties[k] = v
		}
	}
	session, err := cl.Open(ctx, client.Options{Status: status})
	if err != nil {
		return err
	}
	defer leave(ctx, session)
	fmt.Fprintf(c.err, "session %s is %s; Ctrl-C leaves\n", session.ID(), word)
	select {
	case <-ctx.Done():
		return nil
	case <-session.Done():
		return session.Err()
	}
}
