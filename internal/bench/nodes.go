package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// The phases of the load of several nodes, in their order. Each needs none of the
// others.
const (
	// PhaseAcross sends changes at random times, 3,000 a second, by devices at all
	// nodes; whoever watches is at another node than whom he watches.
	PhaseAcross = "across"
	// PhaseReplicate changes statuses at all nodes, and counts what the others took.
	PhaseReplicate = "replicate"
	// PhaseMillion fills the nodes with sessions: what each costs at a node that has
	// none of them, how soon a node that was killed and started again has all, and
	// how soon a tenth of them, of a node that is killed, are closed.
	PhaseMillion = "million"
)

// NodePhases lists them.
func NodePhases() []string { return []string{PhaseAcross, PhaseReplicate, PhaseMillion} }

// Bounds and presets of this load.
const (
	leastNodes, mostNodes = 3, 7
	acrossRate            = 3000 // changes a second
	acrossUsers           = 3000
	acrossFriends         = 2      // whom each watches, and by how many he is watched
	replicated            = 60_000 // changes a second, all nodes together
	replicateSessions     = 90_000 // all nodes together
	millionSessions       = 1_000_000
	leastSessions         = 1000
	mostSessions          = 3_000_000
	dyingShare            = 10 // one of so many sessions is at the node that dies
)

// Goals of this load.
const (
	goalAcross50, goalAcross99 = 3.0, 8.0 // ms
	goalReplicated             = replicated
	goalBehind                 = 1.0   // s
	goalPerSession             = 350.0 // bytes
	goalFresh                  = 5.0   // s
	goalClosed                 = 0.5   // s
)

// Place is where one of several nodes is.
type Place struct {
	Name     string
	Peers    []string // addresses of the engines of all nodes, this one's first
	Password string   // that they share
	Data     string   // directory
}

// Order is what a node of this load is told to do, a line of JSON.
type Order struct {
	Do      string `json:"do"`
	First   int    `json:"first,omitzero"` // user to be opened
	Count   int    `json:"count,omitzero"`
	Rate    int    `json:"rate,omitzero"` // a second; 0: as fast as it goes
	Seconds int    `json:"seconds,omitzero"`
}

// The orders.
const (
	DoOpen   = "open"   // opens Count sessions, of the users from First on
	DoChange = "change" // changes statuses for Seconds, Rate a second
	DoAwait  = "await"  // waits until Count users are online
	DoRest   = "rest"   // gives memory back that is not used
	DoStand  = "stand"  // does nothing
)

// Standing is the answer to an Order: what came of it, and how the node stands.
type Standing struct {
	Error  string  `json:"error,omitempty"`
	Took   float64 `json:"took_ms"`
	Made   int     `json:"made,omitzero"`     // sessions opened, or changes made
	First  float64 `json:"first_ms,omitzero"` // when a number that is awaited began to change
	Online int     `json:"online"`            // users

	Sent     uint64 `json:"sent"`     // changes, since the start
	Received uint64 `json:"received"` // those of the others
	Gaps     uint64 `json:"gaps"`     // losses among them
	Repaired uint64 `json:"repaired"` // shards copied for that
	Copied   uint64 `json:"copied"`   // sessions copied, at the start too
	Heap     uint64 `json:"heap"`     // bytes
}

// NodesConfig says what to measure. Self, Token and Dir are required.
type NodesConfig struct {
	// Self is the program with the environment that makes it a node at a Place: it
	// tells its HTTP address with Ready, then answers Orders.
	Self func(Place) (argv, environ []string)
	// Token returns the access token of a user.
	Token func(user string) (string, error)
	// Dir is a directory for the nodes' data.
	Dir string

	Nodes    int            // default 3
	Sessions int            // of PhaseMillion; default a million
	Phases   []string       // default all
	Seconds  int            // of each timed phase; default 5
	Progress io.Writer      // where the progress bar is drawn; nil draws none
	Report   func(NodesRow) // gets each row; nil drops them
}

// NodesRow is the result of one measure; its JSON is one line of
// `bench --nodes 3 --json`. Keys that do not apply are left out.
type NodesRow struct {
	Phase    string  `json:"phase"`
	Measure  string  `json:"measure"`
	Nodes    int     `json:"nodes"`
	Sessions int     `json:"sessions,omitzero"`
	Rate     float64 `json:"per_second,omitzero"`
	P50      float64 `json:"p50_ms,omitzero"`
	P99      float64 `json:"p99_ms,omitzero"`
	P999     float64 `json:"p999_ms,omitzero"`
	Bytes    float64 `json:"bytes_per_session,omitzero"` // heap, at a node that has none of them
	RSS      float64 `json:"rss_bytes_per_session,omitzero"`
	Seconds  float64 `json:"seconds,omitzero"`
	After    float64 `json:"after_kill_s,omitzero"` // when it was over
	Behind   float64 `json:"behind_s,omitzero"`     // until all nodes had all changes
	Gaps     uint64  `json:"gaps,omitzero"`         // batches that were lost on the way
	Repaired uint64  `json:"repaired,omitzero"`     // shards that were copied for it
	CPU      float64 `json:"cores,omitzero"`        // all nodes together
	LoadCPU  float64 `json:"load_cores,omitzero"`
	OtherCPU float64 `json:"other_cores,omitzero"` // programs outside the run
}

// The measures.
const (
	measureAcrossLone = "lone_change"
	measureAcross     = "change_to_watcher"
	measureReplicate  = "replicated"
	measureMost       = "replicated_most"
	measureOpened     = "opened"
	measureMemory     = "memory"
	measureFresh      = "fresh_node"
	measureDead       = "dead_node"
)

func (c NodesConfig) withDefaults() (NodesConfig, error) {
	if c.Nodes == 0 {
		c.Nodes = leastNodes
	}
	if c.Sessions == 0 {
		c.Sessions = millionSessions
	}
	if c.Seconds == 0 {
		c.Seconds = 5
	}
	if len(c.Phases) == 0 {
		c.Phases = NodePhases()
	}
	if c.Report == nil {
		c.Report = func(NodesRow) {}
	}
	switch {
	case c.Self == nil || c.Token == nil || c.Dir == "":
		return c, errors.New("bench: no way to start nodes, to make tokens, or no directory")
	case c.Nodes < leastNodes || c.Nodes > mostNodes:
		return c, fmt.Errorf("bench: %d nodes; %d to %d are possible", c.Nodes, leastNodes, mostNodes)
	case c.Sessions < leastSessions || c.Sessions > mostSessions:
		return c, fmt.Errorf("bench: %d sessions; %d to %d are possible", c.Sessions, leastSessions, mostSessions)
	case c.Seconds < 1 || c.Seconds > maxSeconds:
		return c, fmt.Errorf("bench: %d seconds; 1 to %d are possible", c.Seconds, maxSeconds)
	}
	for _, p := range c.Phases {
		if !slices.Contains(NodePhases(), p) {
			return c, fmt.Errorf("bench: phase %q is not known with several nodes; there are %q", p, NodePhases())
		}
	}
	return c, nil
}
