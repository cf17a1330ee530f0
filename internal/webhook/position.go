package webhook

import (
	"math"

	"github.com/porchlight-dev/porchlight/internal/facts"
)

// Position is where a fact stands in the log; see facts.
type Position = facts.Position

func sameRecord(p, o Position) bool { return p.Sequence == o.Sequence && p.Index == o.Index }

// recordStart is the position before the first fact of p's record.
func recordStart(p Position) Position {
	switch {
	case p.Index == math.MaxUint32: // behind a message: nothing of it is wanted
		return p
	case p.Index > 0:
		return Position{Sequence: p.Sequence, Index: p.Index - 1, Ordinal: math.MaxUint32}
	case p.Sequence > 0:
		return facts.End(p.Sequence - 1)
	}
	return Position{}
}

func older(a, b Position) Position {
	if b.Before(a) {
		return b
	}
	return a
}

func newer(a, b Position) Position {
	if a.Before(b) {
		return b
	}
	return a
}
