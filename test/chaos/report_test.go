package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is what one stretch of a run measured. PORCHLIGHT_CHAOS_REPORT names a file
// that each one is appended to, a line of JSON; docs/reliability.json keeps those
// that docs/reliability.md stands on.
type report struct {
	Seed    uint64         `json:"seed"`
	Began   time.Time      `json:"began"`
	Took    seconds        `json:"took_s"`
	Nodes   int            `json:"nodes"`
	Store   string         `json:"store"` // embedded, or servers
	Guests  int            `json:"guests"`
	Patrons int            `json:"patrons"`
	Rounds  map[string]int `json:"rounds"`

	Openings   int `json:"openings"` // acknowledged, of guests and patrons
	Closings   int `json:"closings"`
	Statuses   int `json:"statuses"`
	Notices    int `json:"notices"`
	Events     int `json:"events"` // told to the webhook, and to those of foreign formats
	Repeats    int `json:"repeats"`
	Returns    int `json:"returns"`
	InTime     int `json:"returns_in_time"`
	Flaps      int `json:"flaps"`
	Lost       int `json:"lost"`
	Ghosts     int `json:"ghosts"`
	Questions  int `json:"questions"`
	Alone      int `json:"questions_alone"`
	Stuck      int `json:"stuck"`
	Violations int `json:"violations"`

	Doors    seconds `json:"worst_doors_s"`
	Hook     seconds `json:"worst_hook_s"`
	Agree    seconds `json:"worst_agree_s"`
	Stop     seconds `json:"worst_stop_s"`
	SeenOwn  seconds `json:"worst_last_seen_s"`
	SeenWith seconds `json:"worst_last_seen_node_lost_s"`
	Memory   float64 `json:"most_memory_mb"` // of one node
}

// seconds are written with three digits.
type seconds time.Duration

// MarshalJSON writes a number.
func (s seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(s).Seconds()), nil
}

// UnmarshalJSON reads one.
func (s *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*s = seconds(time.Duration(f * float64(time.Second)).Round(time.Millisecond))
	return nil
}

func (s seconds) String() string { return time.Duration(s).Round(time.Millisecond).String() }

// measured puts the figures of a crowd together.
func (w *crowd) measured() *report {
	f := &w.found
	r := &report{
		Seed: w.seed, Began: w.born.UTC().Truncate(time.Second), Took: seconds(time.Since(w.born)), Nodes: len(w.fleet.nodes), Store: "embedded",
		Guests: len(w.guests), Patrons: len(w.patrons), Rounds: f.rounds,
		Openings: f.openings, Closings: f.closings, Statuses: f.updates, Returns: f.returns, InTime: f.inTime, Flaps: f.flaps, Lost: f.lost,
		Ghosts: f.ghosts, Questions: f.questions, Alone: f.alone, Stuck: f.stuck, Violations: w.figures.violations,
		Doors: seconds(f.worstDoors), Hook: seconds(f.worstHook), Agree: seconds(f.worstAll), Stop: seconds(f.worstStop),
		SeenOwn: seconds(f.seenOwn), SeenWith: seconds(f.seenWith), Memory: f.memory,
	}
	if w.fleet.servers != nil {
		r.Store = "servers"
	}
	for _, l := range w.ledgers() {
		l.mu.Lock()
		r.Notices += l.notices
		l.mu.Unlock()
	}
	r.Events, r.Repeats = w.hook.tape.counts()
	w.ears.mu.Lock()
	r.Events, r.Repeats = r.Events+w.ears.events, r.Repeats+w.ears.repeats
	w.ears.mu.Unlock()
	for _, p := range w.patrons {
		p.mu.Lock()
		r.Openings += p.opens.acked
		r.Closings += p.closes.acked
		p.mu.Unlock()
	}
	return r
}

// write appends the report to the file that the environment names.
func (r *report) write(t *testing.T) {
	t.Helper()
	name := os.Getenv("PORCHLIGHT_CHAOS_REPORT")
	if name == "" {
		return
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) //nolint:gosec // it is a page's figures
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
}

// add joins another stretch.
func (r *report) add(o *report) {
	r.Took += o.Took
	r.Nodes = max(r.Nodes, o.Nodes)
	r.Guests, r.Patrons = max(r.Guests, o.Guests), max(r.Patrons, o.Patrons)
	for name, n := range o.Rounds {
		r.Rounds[name] += n
	}
	for to, from := range map[*int]int{
		&r.Openings: o.Openings, &r.Closings: o.Closings, &r.Statuses: o.Statuses, &r.Notices: o.Notices, &r.Events: o.Events, &r.Repeats: o.Repeats,
		&r.Returns: o.Returns, &r.InTime: o.InTime, &r.Flaps: o.Flaps, &r.Lost: o.Lost, &r.Ghosts: o.Ghosts, &r.Questions: o.Questions, &r.Alone: o.Alone,
		&r.Stuck: o.Stuck, &r.Violations: o.Violations,
	} {
		*to += from
	}
	for to, from := range map[*seconds]seconds{
		&r.Doors: o.Doors, &r.Hook: o.Hook, &r.Agree: o.Agree, &r.Stop: o.Stop, &r.SeenOwn: o.SeenOwn, &r.SeenWith: o.SeenWith,
	} {
		*to = max(*to, from)
	}
	r.Memory = max(r.Memory, o.Memory)
}

// reports reads lines that write wrote and joins them.
func reports(file string) (all report, stretches int, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return all, 0, err
	}
	all.Rounds = map[string]int{}
	for line := range strings.Lines(string(b)) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return all, 0, fmt.Errorf("%s: %w", file, err)
		}
		stretches++
		all.add(&r)
	}
	return all, stretches, nil
}

// table is the part of docs/reliability.md that is made of reports.
func (r *report) table() string {
	rounds := 0
	var kinds []string
	for _, name := range slices.Sorted(maps.Keys(r.Rounds)) {
		rounds += r.Rounds[name]
		kinds = append(kinds, fmt.Sprintf("%s %d", name, r.Rounds[name]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds in %v, up to %d nodes, %d gRPC devices and %d at other doors: %s.\n\n", rounds, time.Duration(r.Took).Round(time.Second), r.Nodes, r.Guests, r.Patrons, strings.Join(kinds, ", "))
	b.WriteString("| | promised | measured | worst |\n|---|---|---|---|\n")
	row := func(name, promised, measured string, worst any) {
		fmt.Fprintf(&b, "| %s | %s | %s | %v |\n", name, promised, measured, worst)
	}
	row("R1 doors", "≤ 10 s after kill -9", fmt.Sprintf("%d sessions that nobody came back to", r.Ghosts), r.Doors)
	row("R1 webhook", "≤ 12 s, ≤ 15 s if the node led the log", "the same", r.Hook)
	row("R3, R9", "0 visible changes", fmt.Sprintf("%d returns, %d within the grace", r.Returns, r.InTime), fmt.Sprintf("%d unexplained changes in %d notices", r.Flaps, r.Notices))
	row("R4, R6", "0 lost or wrong", fmt.Sprintf("%d openings, %d closings, %d statuses acknowledged", r.Openings, r.Closings, r.Statuses), fmt.Sprintf("%d lost or wrong", r.Lost))
	row("R5", "0 inversions", fmt.Sprintf("%d events told, %d repeats", r.Events, r.Repeats), fmt.Sprintf("%d violations of any kind", r.Violations))
	row("R6", "≤ 5 s", "until all nodes and watchers agreed", r.Agree)
	row("R7", "never an old status", fmt.Sprintf("%d times a watcher did not read for 2 to 10 s", r.Stuck), fmt.Sprintf("at most %.0f MB in a node", r.Memory))
	row("R8", "stale, never offline", fmt.Sprintf("%d questions to nodes, %d of them to one without a majority", r.Questions, r.Alone), "in R5's sum")
	row("R12", "≤ 1 s; lost with a node ≤ 36 s", "of devices at cheap doors, that went or were lost", fmt.Sprintf("%v; %v", r.SeenOwn, r.SeenWith))
	return b.String()
}

const (
	pageBegin = "<!-- Made of docs/reliability.json by: PORCHLIGHT_CHAOS_PAGE=write go test -run TestReliabilityPage ./test/chaos -->\n"
	pageEnd   = "<!-- end -->\n"
)

// TestReliabilityPage: the page's figures are those of the runs that are kept.
func TestReliabilityPage(t *testing.T) {
	t.Parallel()
	page := filepath.Join(rootDir, "docs", "reliability.md")
	all, stretches, err := reports(filepath.Join(rootDir, "docs", "reliability.json"))
	if err != nil {
		t.Fatal(err)
	}
	if stretches == 0 {
		t.Fatal("docs/reliability.json keeps no run")
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), pageBegin)
	_, after, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no part between %q and %q", page, pageBegin, pageEnd)
	}
	want := before + pageBegin + "\n" + all.table() + "\n" + pageEnd + after
	switch {
	case want == string(b):
	case os.Getenv("PORCHLIGHT_CHAOS_PAGE") == "write":
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the figures of docs/reliability.md are not those of docs/reliability.json; see the line above them")
	}
}

// TestReportsAreJoined: figures of stretches add up, and the worst one counts.
func TestReportsAreJoined(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "reports")
	lines := `{"nodes":3,"rounds":{"kill":2},"ghosts":4,"worst_doors_s":7.125,"violations":0,"most_memory_mb":90}
{"nodes":5,"rounds":{"kill":1,"roll":1},"ghosts":1,"worst_doors_s":6.5,"violations":2,"most_memory_mb":80}
`
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	all, n, err := reports(file)
	if err != nil || n != 2 {
		t.Fatalf("%d stretches, %v, want 2", n, err)
	}
	text := all.table()
	for _, want := range []string{"4 rounds", "kill 3, roll 1", "up to 5 nodes", "5 sessions that nobody came back to | 7.125s", "2 violations", "at most 90 MB"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
