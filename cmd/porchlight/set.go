package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/porchlight-dev/porchlight/client"
)

// setCommand holds a session with a status.
type setCommand struct {
	dialFlags
	Status    string            `default:"online" help:"online, away or busy. Default: ${default}."`
	Text      string            `xor:"text" help:"Free text beside it."`
	Template  string            `xor:"text" placeholder:"TOKEN" help:"In its place, an entry of the product's catalogue, which everybody reads in his own language."`
	Arg       map[string]string `mapsep:"none" placeholder:"k=v" help:"An argument of the template; may be given several times. A value @TOKEN is an entry of the catalogue itself."`
	Fallback  string            `placeholder:"TEXT" help:"Shown when no catalogue has the template."`
	Prop      map[string]string `mapsep:"none" placeholder:"k=v" help:"A property; may be given several times. A value @TOKEN is an entry of the catalogue."`
	Invisible bool              `help:"Look offline to everybody but yourself."`
}

// Help shows an example.
func (setCommand) Help() string {
	return "Example:\n\n  porchlight set --user bob --status busy --text \"in a call\" --prop room=7\n" +
		"  porchlight set --user bob --template match.playing --arg map=@map.harbour --arg score=3 --arg other=2"
}

// Run makes the session and leaves it at Ctrl-C.
func (s setCommand) Run(ctx context.Context, c console) error {
	word, err := show(s.Status)
	if err != nil {
		return err
	}
	if s.Template == "" && (len(s.Arg) > 0 || s.Fallback != "") {
		return errors.New("--arg and --fallback belong to a --template")
	}
	cl, err := s.dial(c, "set", locale())
	if err != nil {
		return err
	}
	defer cl.Close()
	status := client.Status{Show: word, Text: s.Text, Properties: values(s.Prop), Invisible: s.Invisible}
	if s.Template != "" {
		status.Template = &client.Ref{Token: s.Template, Args: values(s.Arg), Fallback: s.Fallback}
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

// values reads what was given as k=v; nil when nothing was.
func values(given map[string]string) map[string]any {
	if len(given) == 0 {
		return nil
	}
	list := map[string]any{}
	for k, v := range given {
		list[k] = v
		if token, ok := strings.CutPrefix(v, "@"); ok {
			list[k] = client.Ref{Token: token}
		}
	}
	return list
}
