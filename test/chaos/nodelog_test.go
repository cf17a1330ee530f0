package chaos

import (
	"fmt"
	"os"
	"strings"
)

// blots finds what may be in no node's log, whatever is done to it: errors that no
// door has a word for, and tokens. That it cannot reach others or the store is said
// there rightly.
func blots(text string) (found []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.Contains(line, "eyJ") || strings.Contains(line, "Bearer"):
			found = append(found, "the log holds a token") // and this must not repeat it
		case strings.Contains(line, `msg="internal error"`) || strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE"):
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
