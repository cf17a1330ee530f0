package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
)

// whoCommand asks once.
type whoCommand struct {
	dialFlags
	readFlags
	JSON  bool     `name:"json" help:"One JSON object per line."`
	Users []string `arg:"" name:"USER" help:"Users to ask about."`
}

// Help shows an example.
func (whoCommand) Help() string { return "Example:\n\n  porchlight who --user alice bob carol" }

// Run asks and prints.
func (w whoCommand) Run(ctx context.Context, c console) error {
	cl, err := w.dial(c, "who", w.locale())
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := cl.Query(ctx, w.Users...)
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
		fmt.Fprintf(table, "%s\t%s\t\n", p.User, availability(p))
		for _, s := range p.Sessions {
			fmt.Fprintf(table, "\t%s\t%s\n", describe(s), s.ID)
		}
	}
	return table.Flush()
}
