package chaos

import (
	"os"
	"slices"
	"strings"
	"time"
)

// harm is what happens to nodes for a while.
type harm string

const (
	harmKilled  harm = "killed"  // -9
	harmTermed  harm = "termed"  // SIGTERM
	harmStopped harm = "stopped" // SIGSTOP until SIGCONT
	harmParted  harm = "parted"  // cut from some nodes, heard by a majority
	harmAlone   harm = "alone"   // cut from all nodes
	harmQuorum  harm = "quorum"  // no majority is there
	harmServers harm = "servers" // a NATS server is away
	harmDoors   harm = "doors"   // links of clients are harmed
	harmClock   harm = "clock"   // its clock was set
	harmSlow    harm = "slow"    // slow links
)

// lasts reports whether what is acknowledged meanwhile may be lost too, and not
// only what was acknowledged just before.
func (h harm) lasts() bool {
	return h == harmStopped || h == harmParted || h == harmAlone || h == harmQuorum
}

// harmless reports whether nothing that was acknowledged may be lost.
func (h harm) harmless() bool {
	return h == harmServers || h == harmDoors || h == harmClock || h == harmSlow
}

// hurt notes that nodes are harmed from now on, which is to begin after it
// returns; over notes the end.
func (w *world) hurt(h harm, nodes ...int) (over func()) {
	place := 0
	w.history.note(func() {
		place = len(w.history.outages)
		w.history.outages = append(w.history.outages, outage{at: time.Now(), clean: h == harmTermed, harm: h, nodes: nodes})
	})
	return func() { w.history.note(func() { w.history.outages[place].gone = time.Now() }) }
}

// doubt notes that sessions whose link is at one of the nodes may have been closed
// and opened anew, as those of a node that was taken for lost.
func (h *history) doubt(nodes ...int) {
	h.note(func() {
		for _, l := range h.lives {
			if l.held && slices.Contains(nodes, l.node) {
				l.losses, l.doubtful = l.losses+1, l.doubtful+1
			}
		}
	})
}

// stoodStill is for how long a node stood still since a time that nobody stopped.
func (w *crowd) stoodStill(since time.Time) (worst time.Duration) {
	for i, n := range w.fleet.nodes {
		b, err := os.ReadFile(n.log.Name())
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			at, gap, ok := standstillOf(line)
			if ok && at.After(since) && !w.stopped(i, at) {
				worst = max(worst, gap)
			}
		}
	}
	return worst
}

// standstillOf reads a node's line of its own standstill.
func standstillOf(line string) (at time.Time, gap time.Duration, ok bool) {
	if !strings.Contains(line, `msg="this node stood still"`) {
		return at, gap, false
	}
	for field := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "time":
			at, err = time.Parse(time.RFC3339Nano, value)
		case "for":
			gap, err = time.ParseDuration(value)
		}
		if err != nil {
			return at, gap, false
		}
	}
	return at, gap, gap > 0
}

// stopped reports whether a node was stopped around a time.
func (w *crowd) stopped(i int, at time.Time) (yes bool) {
	for _, o := range w.outages() {
		if (o.harm == harmStopped || o.harm == harmQuorum) && slices.Contains(o.nodes, i) &&
			at.After(o.at) && (o.gone.IsZero() || at.Before(o.gone.Add(2*time.Second))) {
			yes = true
		}
	}
	return yes
}
