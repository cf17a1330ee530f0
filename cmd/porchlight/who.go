package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/porchlight-dev/porchlight/client"
)

// whoCommand asks once.
type whoCommand struct {
	dialFlags
	readFlags
	HTTP  string   `name:"http" placeholder:"URL" help:"Ask as the app's server, by the REST API at this URL, such as http://127.0.0.1:7400."`
	Key   string   `env:"PORCHLIGHT_KEY" placeholder:"K" help:"With --http: server key of the app; PORCHLIGHT_KEY works too. Default on loopback: the development key."`
	Truth bool     `help:"With --http: tell the truth, not what others see."`
	JSON  bool     `name:"json" help:"One JSON object per line."`
	Users []string `arg:"" name:"USER" help:"Users to ask about."`
}

// Help shows an example.
func (whoCommand) Help() string {
	return "Example:\n\n  porchlight who --user alice bob carol\n  porchlight who --http http://127.0.0.1:7400 --truth bob"
}

// Run asks and prints.
func (w whoCommand) Run(ctx context.Context, c console) error {
	list, err := w.ask(ctx, c)
	if err != nil {
		return err
	}
	if w.JSON {
		enc := json.NewEncoder(c.out)
		for _, p := range list {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, p := range list {
		word := availability(p)
		if p.Invisible {
			word += ", invisible to others"
		}
		fmt.Fprintf(table, "%s\t%s\t\n", p.User, word)
		for _, s := range p.Sessions {
			fmt.Fprintf(table, "\t%s\t%s\n", describe(s), s.ID)
		}
	}
	return table.Flush()
}

// ask asks as a user, or as the app's server.
func (w whoCommand) ask(ctx context.Context, c console) ([]client.Presence, error) {
	if w.HTTP != "" {
		if w.User != "" {
			return nil, errors.New("--http asks as the app's server and --user as one of its users; give one")
		}
		b, err := backendFlags{HTTP: w.HTTP, Key: w.Key, CA: w.CA}.backend(c, w.locale())
		if err != nil {
			return nil, err
		}
		return b.Query(ctx, w.Truth, w.Users...)
	}
	if w.Truth {
		return nil, errors.New("--truth is for servers; give --http too")
	}
	cl, err := w.dial(c, "who", w.locale())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return cl.Query(ctx, w.Users...)
}
