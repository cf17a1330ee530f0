package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Goals of the friends' load, milliseconds.
const (
	goalListChange = 5.0 // p99
	goalBatchQuery = 1.0 // p50
)

// FriendsTable writes the rows of one run for people. It returns the first
// error of w.
func FriendsTable(w io.Writer, rows []FriendsRow) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error and returns it from Flush.
	_, _ = fmt.Fprintln(out, "what\tcalls\tCPU ms per call\tp50 ms\tp99 ms\tgoal\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\t\n", r.what(), r.Count, number(r.CPU), number(r.P50), number(r.P99), r.verdict())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: write the table: %w", err)
	}
	return nil
}

func (r FriendsRow) what() string {
	switch r.Phase {
	case PhaseFriends:
		return fmt.Sprintf("subscribe to %d friends, snapshot complete", r.Friends)
	case PhaseListChange:
		return fmt.Sprintf("friend added to or removed from %d, watcher told", r.Friends)
	}
	return fmt.Sprintf("query of %d users", r.Users)
}

func (r FriendsRow) verdict() string {
	switch r.Phase {
	case PhaseListChange:
		return "p99 " + figure{own: r.P99, goal: goal{most: goalListChange}}.verdict()
	case PhaseBatchQuery:
		return "p50 " + figure{own: r.P50, goal: goal{most: goalBatchQuery}}.verdict()
	}
	return ""
}
