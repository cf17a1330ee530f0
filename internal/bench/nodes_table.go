package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// NodesTable writes the rows of one run for people. It returns the first error of
// w.
func NodesTable(w io.Writer, rows []NodesRow) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error and returns it from Flush.
	_, _ = fmt.Fprintln(out, "what\tper s\tp50 ms\tp99 ms\tB per session\tRSS\ts\tcores: nodes\tload\tothers\tgoal\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.what(), number(r.Rate), number(r.P50), number(r.P99),
			number(r.Bytes), number(r.RSS), number(r.Seconds), number(r.CPU), number(r.LoadCPU), number(r.OtherCPU), r.verdict())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: write the table: %w", err)
	}
	return nil
}

// what names a measure.
func (r NodesRow) what() string {
	switch r.Measure {
	case measureAcrossLone:
		return "one change at a time, to watchers at other nodes"
	case measureAcross:
		return "change to watchers at other nodes"
	case measureReplicate:
		return fmt.Sprintf("changes, known to all nodes (%s s after the last)", number(r.Behind))
	case measureMost:
		return fmt.Sprintf("the same, as fast as it goes (%s s after the last)", number(r.Behind))
	case measureOpened:
		return fmt.Sprintf("%d sessions opened, known to all nodes", r.Sessions)
	case measureMemory:
		return "memory at a node that has none of them"
	case measureFresh:
		return "a node starts again and has them all"
	case measureDead:
		return fmt.Sprintf("%d sessions of a dead node close (over %s s after the kill)", r.Sessions, number(r.After))
	}
	return r.Measure
}

// verdict compares with the goal, if there is one.
func (r NodesRow) verdict() string {
	switch r.Measure {
	case measureAcross:
		return "p50 " + figure{own: r.P50, goal: goal{most: goalAcross50}}.verdict() + ", p99 " + figure{own: r.P99, goal: goal{most: goalAcross99}}.verdict()
	case measureReplicate:
		word := "met"
		if r.Rate < 0.98*goalReplicated || r.Behind > goalBehind { // the clocks of a pace are not exact
			word = "missed"
		}
		return "≥ " + number(goalReplicated) + ": " + word
	case measureMemory:
		return figure{own: r.Bytes, goal: goal{most: goalPerSession}}.verdict()
	case measureFresh:
		return figure{own: r.Seconds, goal: goal{most: goalFresh}}.verdict()
	case measureDead:
		return figure{own: r.Seconds, goal: goal{most: goalClosed}}.verdict()
	}
	return ""
}
