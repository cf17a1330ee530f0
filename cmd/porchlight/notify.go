package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// notifyCommand puts a live notification for a user.
type notifyCommand struct {
	backendFlags
	User      string        `required:"" placeholder:"U" help:"Whom to notify."`
	Action    string        `placeholder:"URL" help:"What happens if the user agrees: a URL, or what the app makes of it."`
	Source    string        `placeholder:"S" help:"Who or what it is from, for people."`
	Publisher string        `placeholder:"P" help:"Whose queue it goes into. Default: the app's own."`
	ID        string        `name:"id" placeholder:"ID" help:"Its id, so that the same command puts it once. Default: made."`
	TTL       time.Duration `name:"ttl" default:"5m" placeholder:"D" help:"How long it is worth telling; 0 is for ever. Default: ${default}."`
	JSON      bool          `name:"json" help:"One JSON object."`
	Text      string        `arg:"" help:"What the user is told."`
}

// Help shows an example.
func (notifyCommand) Help() string {
	return "It is told to the user's devices that take live notifications, or waits until one comes.\n\nExample:\n\n  porchlight notify --user alice \"Bob wants you in the room\" --action https://chat.example/rooms/7"
}

// Run puts it.
func (n notifyCommand) Run(ctx context.Context, c console) error {
	b, err := n.backend(c, "")
	if err != nil {
		return err
	}
	ttl := n.TTL
	if ttl == 0 {
		ttl = client.Forever
	}
	got, err := b.Notify(ctx, n.User, client.ToNotify{Text: n.Text, Action: n.Action, Source: n.Source, Publisher: n.Publisher, ID: n.ID, TTL: ttl})
	if err != nil {
		return err
	}
	for _, one := range got {
		if n.JSON {
			err = json.NewEncoder(c.out).Encode(map[string]any{"user": n.User, "id": one.ID, "queue_size": one.QueueSize})
		} else {
			_, err = fmt.Fprintf(c.out, "stored as %s; %s's queue has %d\n", one.ID, n.User, one.QueueSize)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
