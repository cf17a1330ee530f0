package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// clusterMembers shows the nodes.
type clusterMembers struct {
	backendFlags
	JSON bool `name:"json" help:"One JSON object."`
}

// Help shows an example.
func (clusterMembers) Help() string {
	return "As the node sees them that is asked; sessions are those of the app whose key it is. The exit code is 1 when a node is not heard, differs, or the one that is asked is cut off.\n\nExample:\n\n  porchlight cluster members --http http://127.0.0.1:7400"
}

// Run shows them.
func (k clusterMembers) Run(ctx context.Context, c console) error {
	b, err := k.backend(c, "")
	if err != nil {
		return err
	}
	all, err := b.Cluster(ctx)
	if err != nil {
		return err
	}
	if k.JSON {
		err = json.NewEncoder(c.out).Encode(all)
	} else {
		err = printMembers(c.out, &all, time.Now())
	}
	if bad := troubles(&all); err == nil && len(bad) > 0 {
		err = fmt.Errorf("%s", strings.Join(bad, "; "))
	}
	return err
}

// troubles are what is not as it should be.
func troubles(c *client.Cluster) (list []string) {
	if !c.Joined || !c.Quorum {
		list = append(list, c.Self+" is cut off from the others, or stood still")
	}
	for i := range c.Members {
		m := &c.Members[i]
		if m.Standing != "alive" && m.Standing != "left" {
			list = append(list, m.Name+" is "+m.Standing)
		}
		if m.Unready != "" {
			list = append(list, m.Name+" takes no sessions: "+m.Unready)
		}
		if len(m.NotHeard) > 0 && !m.Self { // of the node that answers, their standing says it
			list = append(list, m.Name+" does not hear "+strings.Join(m.NotHeard, ", "))
		}
		if m.OtherConfiguration {
			list = append(list, m.Name+" has another configuration; reload both")
		}
	}
	return list
}

func printMembers(out io.Writer, c *client.Cluster, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tVERSION\tSTANDING\tHEARD\tLIVE\tLOST\tCREATED\tPOSITION\tLAG\tDIFFERING\tCOPIED AGAIN")
	for i := range c.Members {
		m := &c.Members[i]
		name, heard := m.Name, "-"
		if m.Self {
			name += " (asked)"
		} else if !m.Heard.IsZero() {
			heard = now.Sub(m.Heard).Round(100*time.Millisecond).String() + " ago"
		}
		live, lost, created, differing := "-", "-", "-", "-"
		if s := m.Sessions; s != nil {
			live, lost, created = fmt.Sprint(s.Live), fmt.Sprint(s.Lost), fmt.Sprint(s.Created)
		}
		if m.Differing != nil {
			differing = fmt.Sprintf("%d of 1024", *m.Differing)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", name, cmp.Or(m.Version, "-"), m.Standing, heard, live, lost, created, m.Position, m.Lag, differing, copied(m.Repairs))
	}
	return w.Flush()
}

// copied says what was copied again.
func copied(r *client.Repairs) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d shards, last %s (%s)", r.Shards, r.Last.Local().Format("Jan 2 15:04:05"), r.Reason)
}
