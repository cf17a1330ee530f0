package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Position is where a fact stands in the log: the message's sequence, the
// record's index in it, and which of the record's facts it is. Outside the
// process it is opaque text.
type Position struct {
	Sequence uint64
	Index    uint32
	Ordinal  uint32
}

// Compare returns -1, 0 or +1 as p stands before, at or after o.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Sequence, o.Sequence), cmp.Compare(p.Index, o.Index), cmp.Compare(p.Ordinal, o.Ordinal))
}

// String writes the position as its opaque text.
func (p Position) String() string { return fmt.Sprintf("%d.%d.%d", p.Sequence, p.Index, p.Ordinal) }

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	var n [3]uint64
	parts := strings.Split(s, ".")
	bad := len(parts) != len(n)
	for i, bits := range [3]int{64, 32, 32} {
		if bad {
			break
		}
		var err error
		n[i], err = strconv.ParseUint(parts[i], 10, bits)
		bad = err != nil || strconv.FormatUint(n[i], 10) != parts[i]
	}
	if bad {
		return Position{}, errors.New("a position is text that an earlier answer or a webhook gave; it cannot be made up")
	}
	return Position{n[0], uint32(n[1]), uint32(n[2])}, nil
}

func (p Position) sameRecord(o Position) bool { return p.Sequence == o.Sequence && p.Index == o.Index }

// recordStart is the position before the first fact of p's record.
func (p Position) recordStart() Position {
	if p.Ordinal == 0 {
		return p
	}
	return Position{p.Sequence, p.Index, 0}
}
