package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Goals of the webhooks' load (design §10).
const (
	goalTold    = 10_000.0 // events per second, at least
	goalCatchUp = 20_000.0
	goalDelay   = 50.0 // p99, milliseconds
)

// HooksTable writes the rows of one run for people. It returns the first error
// of w.
func HooksTable(w io.Writer, rows []HookRow) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error and returns it from Flush.
	_, _ = fmt.Fprintln(out, "what\tevents\trequests\tevents per s\tCPU s per million\tp50 ms\tp99 ms\tgoal\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(out, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", r.what(), r.Events, r.Requests, number(r.Rate), number(r.CPU), number(r.P50), number(r.P99), r.verdict())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: write the table: %w", err)
	}
	return nil
}

func (r HookRow) what() string {
	switch r.Measure {
	case measureOpenings:
		return fmt.Sprintf("openings by %d callers of the API, told", hookCallers)
	case measureClosings:
		return "closings all at once, told"
	case measureDelay:
		return "change to request, 1,000 changes/s"
	case measureCatchUp:
		return "catch-up after the receiver was away"
	case measureTen:
		return "change to request, beside nine endpoints that fail"
	}
	return r.Measure
}

func (r HookRow) verdict() string {
	least := 0.0
	switch r.Measure {
	case measureDelay, measureTen:
		return "p99 " + figure{own: r.P99, goal: goal{most: goalDelay}}.verdict()
	case measureClosings:
		least = goalTold
	case measureCatchUp:
		least = goalCatchUp
	default:
		return ""
	}
	word := "met"
	if r.Rate < least {
		word = "missed"
	}
	return "≥ " + number(least) + ": " + word
}
