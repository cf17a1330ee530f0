package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// goal is what a figure should reach (design §10). Where both a ratio and a
// most are set, one of them is enough.
type goal struct {
	ratio float64 // at most this times the null server's
	most  float64 // at most this
}

// goals are those of one door, by phase.
type goals struct {
	login, idle, saturate, half, steady, storm, stuck goal
	p50, p99                                          goal // unloaded
	steadyP50, steadyP99                              goal
}

var (
	grpcGoals = goals{
		login: goal{most: 0.9}, idle: goal{most: 40}, saturate: goal{ratio: 1.2}, half: goal{ratio: 1.2},
		p50: goal{most: 0.5}, p99: goal{most: 1.5},
	}
	topicGoals = goals{saturate: goal{ratio: 1.2}, half: goal{ratio: 1.2}}
	liveGoals  = goals{
		login: goal{most: 0.5, ratio: 1.6}, idle: goal{most: 6}, saturate: goal{ratio: 1}, half: goal{ratio: 1.2},
		steady: goal{ratio: 1.3}, storm: goal{ratio: 0.3}, stuck: goal{most: 64},
		p50: goal{most: 0.3}, p99: goal{most: 1.5}, steadyP50: goal{most: 0.6}, steadyP99: goal{most: 4},
	}
)

// figure is one line of the table.
type figure struct {
	name              string
	own, null         float64
	ratio             float64
	epoll, epollRatio float64
	goal              goal
}

// figures lists what the table shows of a row, with the goals of its door.
func (r Row) figures() []figure {
	g := grpcGoals
	switch r.Door {
	case DoorTopics:
		g = topicGoals
	case DoorLive:
		g = liveGoals
	}
	line := func(name string, goal goal, of func(Figures) float64) figure {
		f := figure{name: name, own: of(r.Figures), goal: goal}
		if r.Null != nil {
			f.null = of(*r.Null)
			f.ratio = ratio(f.own, f.null)
		}
		if r.NullEpoll != nil {
			f.epoll = of(*r.NullEpoll)
			f.epollRatio = ratio(f.own, f.epoll)
		}
		return f
	}
	perMillion := func(goal goal) figure {
		return line("CPU s per million deliveries", goal, func(f Figures) float64 { return f.CPUPerMillion })
	}
	delays := func(p50, p99 goal) []figure {
		return []figure{
			line("change to watcher p50, ms", p50, func(f Figures) float64 { return f.P50 }),
			line("  p99, ms", p99, func(f Figures) float64 { return f.P99 }),
			line("  p99.9, ms", goal{}, func(f Figures) float64 { return f.P999 }),
		}
	}
	rate := line("deliveries per s", goal{}, func(f Figures) float64 { return f.Aside.Rate })
	switch r.Phase {
	case PhaseLogin:
		return []figure{
			line("CPU ms per login", g.login, func(f Figures) float64 { return f.CPUPerLogin }),
			line("openings per s", goal{}, func(f Figures) float64 { return f.OpeningsPerSec }),
		}
	case PhaseIdle:
		return []figure{line("RSS KiB per idle user", g.idle, func(f Figures) float64 { return f.RSSPerIdle })}
	case PhaseUnloaded:
		return delays(g.p50, g.p99)
	case PhaseStuck:
		return append([]figure{
			line("RSS KiB per watcher that does not read", g.stuck, func(f Figures) float64 { return f.RSSPerStuck }),
			line("p99 of the others before, ms", goal{}, func(f Figures) float64 { return f.P99Before }),
		}, delays(goal{}, goal{})...)
	case PhaseSteady:
		return append([]figure{perMillion(g.steady), rate}, delays(g.steadyP50, g.steadyP99)...)
	case PhaseStorm:
		return append([]figure{perMillion(g.storm), rate}, delays(goal{}, goal{})...)
	case PhaseHalf:
		return append([]figure{perMillion(g.half), rate}, delays(goal{}, goal{})...)
	default:
		return append([]figure{perMillion(g.saturate), rate}, delays(goal{}, goal{})...)
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
	epoll := slices.ContainsFunc(rows, func(r Row) bool { return r.NullEpoll != nil })
	columns := func(f figure) string {
		if !epoll {
			return ""
		}
		return number(f.epoll) + "\t" + number(f.epollRatio) + "\t"
	}
	title := ""
	if epoll {
		title = "null, epoll\tratio\t"
	}
	_, _ = fmt.Fprintf(out, "phase\tfigure\tserver\tnull\tratio\t%sgoal\t\n", title)
	for _, r := range rows {
		phase := r.Phase
		for _, f := range r.figures() {
			_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s%s\t\n", phase, f.name, number(f.own), number(f.null), number(f.ratio), columns(f), f.verdict())
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
		if r.NullEpoll != nil {
			lines = append(lines, r.NullEpoll.notes("null server on epoll")...)
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
	var texts []string
	var met, known bool
	if f.goal.most > 0 {
		texts = append(texts, "≤ "+number(f.goal.most))
		known, met = f.own > 0, f.own <= f.goal.most
	}
	if f.goal.ratio > 0 {
		texts = append(texts, "≤ "+number(f.goal.ratio)+" × null")
		known, met = known || f.ratio > 0, met || f.ratio > 0 && f.ratio <= f.goal.ratio
	}
	text := strings.Join(texts, " or ")
	switch {
	case !known || text == "":
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
