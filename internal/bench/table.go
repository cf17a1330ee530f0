package bench

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// goal is what a figure should reach (design §10). Exactly one of the bounds
// is set.
type goal struct {
	ratio float64 // at most this times the null server's
	most  float64 // at most this
	least float64 // at least this
}

// figure is one line of the table.
type figure struct {
	name      string
	own, null float64
	ratio     float64
	goal      goal
}

// figures lists what the table shows of a row, with the goals of the gRPC door.
func (r Row) figures() []figure {
	var null Figures
	var q Ratio
	if r.Null != nil {
		null, q = *r.Null, *r.Ratio
	}
	perMillion := figure{"CPU s per million deliveries", r.CPUPerMillion, null.CPUPerMillion, q.CPUPerMillion, goal{ratio: 1.2}}
	p50 := figure{"change to watcher p50, ms", r.P50, null.P50, q.P50, goal{}}
	p99 := figure{"  p99, ms", r.P99, null.P99, q.P99, goal{}}
	p999 := figure{"  p99.9, ms", r.P999, null.P999, q.P999, goal{}}
	switch r.Phase {
	case PhaseLogin:
		return []figure{
			{"CPU ms per login", r.CPUPerLogin, null.CPUPerLogin, q.CPUPerLogin, goal{most: 0.9}},
			{"openings per s", r.OpeningsPerSec, null.OpeningsPerSec, q.OpeningsPerSec, goal{}},
		}
	case PhaseIdle:
		return []figure{{"RSS KiB per idle user", r.RSSPerIdle, null.RSSPerIdle, q.RSSPerIdle, goal{most: 40}}}
	case PhaseUnloaded:
		p50.goal, p99.goal = goal{most: 0.5}, goal{most: 1.5}
		return []figure{p50, p99, p999}
	default:
		rate := figure{"deliveries per s", r.Aside.Rate, null.Aside.Rate, ratio(r.Aside.Rate, null.Aside.Rate), goal{}}
		return []figure{perMillion, rate, p50, p99, p999}
	}
}

// Table writes the rows of one run for people: every figure, the null server's,
// their ratio, the goal of design §10 and whether it is met. It returns the
// first error of w.
func Table(w io.Writer, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	first := rows[0]
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error and returns it from Flush.
	_, _ = fmt.Fprintf(out, "%d users, %d friends each, door %s, seed %d\n\n", first.Users, first.Friends, first.Door, first.Seed)
	_, _ = fmt.Fprintln(out, "phase\tfigure\tserver\tnull\tratio\tgoal\t")
	for _, r := range rows {
		phase := r.Phase
		for _, f := range r.figures() {
			_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t\n", phase, f.name, number(f.own), number(f.null), number(f.ratio), f.verdict())
			phase = ""
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: write the table: %w", err)
	}
	return notes(w, rows)
}

// otherCPU is how many cores other programs may take before a note says that
// they disturbed the figures.
const otherCPU = 0.1

// notes writes what a reader of the figures must know to trust them.
func notes(w io.Writer, rows []Row) error {
	for _, r := range rows {
		lines := r.Figures.notes("server")
		if r.Null != nil {
			lines = append(lines, r.Null.notes("null server")...)
		}
		for _, line := range lines {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return fmt.Errorf("bench: write the table: %w", err)
			}
		}
	}
	return nil
}

// notes lists what is worth knowing of one phase on one server.
func (f *Figures) notes(server string) []string {
	var lines []string
	note := func(format string, args ...any) {
		lines = append(lines, f.Phase+", "+server+": "+fmt.Sprintf(format, args...))
	}
	if f.Aside.Missing > 0 {
		note("%d deliveries never came (coalesced or lost)", f.Aside.Missing)
	}
	if f.Aside.Rate < 0.9*f.Aside.Wanted {
		note("%.0f deliveries per s were asked for, %.0f came", f.Aside.Wanted, f.Aside.Rate)
	}
	if f.Phase == PhaseSaturate {
		note("the load itself took %.2f cores", f.Aside.LoadCPU)
	}
	if f.Aside.OtherCPU > otherCPU && f.Phase != PhaseIdle {
		note("other programs took %.2f cores meanwhile and disturbed the figures", f.Aside.OtherCPU)
	}
	return lines
}

// verdict writes the goal and whether the figure meets it.
func (f figure) verdict() string {
	var text string
	var met, known bool
	switch g := f.goal; {
	case g.ratio > 0:
		text, known, met = "≤ "+number(g.ratio)+" × null", f.ratio > 0, f.ratio <= g.ratio
	case g.most > 0:
		text, known, met = "≤ "+number(g.most), f.own > 0, f.own <= g.most
	case g.least > 0:
		text, known, met = "≥ "+number(g.least), f.own > 0, f.own >= g.least
	default:
		return ""
	}
	switch {
	case !known:
		return text
	case met:
		return text + "  met"
	default:
		return text + "  missed"
	}
}

// number writes a figure short enough to compare at a glance; nothing for one
// that was not measured.
func number(x float64) string {
	switch {
	case x == 0:
		return ""
	case x >= 1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
}
