package facts

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Position is where a fact stands in the log: the message, the record in it,
// and which of the facts that the record concludes. Positions order all facts
// of a log. The zero Position is before everything.
type Position struct {
	Sequence uint64
	Index    uint32
	Ordinal  uint32
}

// End is the position behind everything that the message of that sequence
// concludes.
func End(sequence uint64) Position { return Position{sequence, math.MaxUint32, math.MaxUint32} }

// Compare returns -1, 0 or +1.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Sequence, o.Sequence), cmp.Compare(p.Index, o.Index), cmp.Compare(p.Ordinal, o.Ordinal))
}

// Before reports whether p stands before o.
func (p Position) Before(o Position) bool { return p.Compare(o) < 0 }

// IsZero reports the position before everything.
func (p Position) IsZero() bool { return p == Position{} }

// String writes the position as its opaque text, of at most 42 characters of
// 0-9 and the dot. Texts do not sort as positions do.
func (p Position) String() string {
	if p == End(p.Sequence) {
		return strconv.FormatUint(p.Sequence, 10)
	}
	return fmt.Sprintf("%d.%d.%d", p.Sequence, p.Index, p.Ordinal)
}

var errPosition = errors.New("a position is text that an earlier answer or event gave; it cannot be made up")

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, ".")
	var n [3]uint64
	if len(parts) != 1 && len(parts) != 3 {
		return Position{}, errPosition
	}
	for i, part := range parts {
		bits := 32
		if i == 0 {
			bits = 64
		}
		var err error
		if n[i], err = strconv.ParseUint(part, 10, bits); err != nil || part != strconv.FormatUint(n[i], 10) {
			return Position{}, errPosition
		}
	}
	if len(parts) == 1 {
		return End(n[0]), nil
	}
	if p := (Position{n[0], uint32(n[1]), uint32(n[2])}); p != End(n[0]) {
		return p, nil
	}
	return Position{}, errPosition
}

// need is the first message that has anything behind p.
func (p Position) need() uint64 {
	if p.Index == math.MaxUint32 {
		return p.Sequence + 1
	}
	return max(p.Sequence, 1)
}

// wholeRecord is p moved behind all facts of its record.
func (p Position) wholeRecord() Position {
	if p.IsZero() {
		return p
	}
	p.Ordinal = math.MaxUint32
	return p
}
