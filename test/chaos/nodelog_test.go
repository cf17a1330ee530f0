package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// rightly are the errors that a node says rightly when it is cut off, or others are
// killed. Each begins so.
var rightly = []string{
	// The store has no leader, or cannot be reached; all of it is tried again.
	"the checkpoint cannot be written", "shards of the checkpoint cannot be written", "no base of the checkpoint can be made",
	"the log cannot be read", "what happened cannot be read", "dead letters of a webhook were not stored",
	"from when on a user's access tokens count cannot be read", "a webhook is not served",
	// The engine's connection is away; it is tried again.
	"calls do not reach this node's new incarnation",
	"engine: ", // of connections to servers that were killed, stopped or cut off
}

// blots finds what may be in no node's log, whatever is done to it: errors other
// than that it cannot reach others or the store, and tokens.
func blots(text string) (found []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "eyJ") || strings.Contains(line, "Bearer"):
			found = append(found, "the log holds a token") // and this must not repeat it
		case strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE"):
			found = append(found, line)
		case strings.Contains(line, "level=ERROR") &&
			!slices.ContainsFunc(rightly, func(s string) bool { return strings.Contains(line, `level=ERROR msg="`+s) }):
			found = append(found, line)
		}
	}
	return found
}

// checkLogs reads what the nodes wrote since the last time.
func (w *crowd) checkLogs() {
	if w.read == nil {
		w.read = make([]int, len(w.fleet.nodes))
	}
	for i, n := range w.fleet.nodes {
		b, err := os.ReadFile(n.log.Name())
		if err != nil {
			w.blame("the log of node %d: %v", i+1, err)
			continue
		}
		found := blots(string(b[w.read[i]:]))
		w.read[i] = len(b)
		for k := range found {
			found[k] = fmt.Sprintf("node %d: %s", i+1, found[k])
		}
		w.blameAll(found)
	}
}
