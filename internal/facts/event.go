package facts

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Event is one fact at its place in the log. It is shared between readers:
// nobody may change it or what it points at.
type Event struct {
	Position Position
	presence.Fact
}

// ID names the fact: the same for whoever reads it, whenever and from wherever,
// and for no other fact. It is a UUID of version 7 whose time is the fact's.
func (e *Event) ID() string {
	b := make([]byte, 0, 160)
	b = presence.AppendText(b, string(e.User.App))
	b = presence.AppendText(b, string(e.User.ID))
	b = append(append(b, e.Session.ID[:]...), byte(e.Kind))
	for _, n := range []uint64{e.Position.Sequence, uint64(e.Position.Index), uint64(e.Position.Ordinal), e.Seq, uint64(e.Time)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sum := sha256.Sum256(b)
	id := sum[:16]
	for i := range 6 {
		id[i] = byte(e.Time >> (40 - 8*i))
	}
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// GapError says that the log no longer reaches back to a position: what
// happened between From and To cannot be told any more.
type GapError struct {
	From Position // that was wanted
	To   Position // where one can go on: Follow behind it, or take a snapshot there
}

// Error says from where to where the gap is.
func (e *GapError) Error() string {
	return fmt.Sprintf("the history from position %s to %s is gone: go on after %s, and take a snapshot there for what was missed", e.From, e.To, e.To)
}

// BeyondError says that a position lies behind the end of the log: it is of
// another data directory, or the log lost its end.
type BeyondError struct {
	Position Position
	End      Position // of the log
}

// Error says how far the log is.
func (e *BeyondError) Error() string {
	return fmt.Sprintf("position %s lies behind the end of the log at %s: it was given by another server, or before the data directory was replaced", e.Position, e.End)
}
