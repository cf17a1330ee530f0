// Package store is the durable contract: the log of records, checkpoints of
// its fold and bases of older ones, the node's counter, users' rosters and
// mailboxes, values by name, and what webhooks must not forget. It speaks presence
// words and knows no engine; natsstore keeps it on NATS JetStream, and storetest
// proves whoever keeps it. What is live and soft (statuses on their way, fan-out) is not here.
package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Position is where a record stands in the log: the message's sequence and
// the record's index in it. Outside the process it is opaque text.
type Position struct {
	Sequence uint64
	Index    uint32
}

// Before reports whether p stands before o in the log.
func (p Position) Before(o Position) bool {
	return p.Sequence < o.Sequence || p.Sequence == o.Sequence && p.Index < o.Index
}

// String writes the position as its opaque text.
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Sequence, p.Index) }

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	seq, idx, ok := strings.Cut(s, ".")
	n, err1 := strconv.ParseUint(seq, 10, 64)
	i, err2 := strconv.ParseUint(idx, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return Position{}, errors.New("a position is text that an earlier answer gave; it cannot be made up")
	}
	return Position{n, uint32(i)}, nil
}

// Errors of a store.
var (
	// ErrUnknown: no answer came in time; the message may or may not be stored.
	// Append it again with the same id until the result is known.
	ErrUnknown = errors.New("store: result unknown")
	// ErrRefused: the store said no and the message is not stored (disk full,
	// over its limit, read-only).
	ErrRefused = errors.New("store: refused")
	// ErrClosed: the store was stopped.
	ErrClosed = errors.New("store: stopped")
	// ErrAlarm: records are still taken, but not for long unless somebody acts.
	ErrAlarm = errors.New("store: alarm")
	// ErrBehind: the checkpoint, or a shard of it, is stored as of a later position already.
	ErrBehind = errors.New("store: stored as of a later position")
	// ErrGap: the log no longer reaches back to the wanted position.
	ErrGap = errors.New("store: older than the log")
	// ErrAnew: what all nodes share was deleted and made anew while this node ran, which
	// knows what is not there any more.
	ErrAnew = errors.New("store: the data was deleted and made anew")
	// ErrReplaced: another node has started under this node's name.
	ErrReplaced = errors.New("store: another node has this name")
)

// MaxRecords is the most records of one message (design §2, group commit).
const MaxRecords = 256

// Log is the append-only stream of records: the truth about which sessions are
// open and who was last seen when (design §2).
type Log interface {
	// Append stores up to MaxRecords records as one message and returns after
	// they are on disk, with the position of the first (the others follow it in
	// the same message). id names the message: a second append of the same id
	// within ten minutes stores nothing and returns the first's position.
	// Errors wrap ErrUnknown, ErrRefused or ErrClosed. One caller at a time
	// keeps order; several may call at once.
	Append(ctx context.Context, id string, records []presence.Record) (Position, error)

	// Replay calls f with each message from the sequence `from` on, in order,
	// until the end of the log at the time of the call, and returns the sequence
	// after the last it gave. The records are f's to keep. It returns ErrGap,
	// before any call of f, when the log no longer holds `from` although it once
	// did; a `from` of 0 means the oldest there is. An f so slow that the log was cut
	// behind its back gets ErrGap then, or what the log held before, and no hole.
	Replay(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) (next uint64, err error)
}

// Checkpoints keep the fold of the log and what goes with it, so that a start
// need not read the whole log. What is in a shard or a note is the writer's
// affair: the store keeps bytes.
type Checkpoints interface {
	// SaveShard stores the state of shard n as of the log position `through`
	// (the sequence of the last message in it), replacing its last state.
	// `through` must not go back: ErrBehind says that it does, and nothing is changed.
	SaveShard(ctx context.Context, n int, through uint64, data []byte) error

	// SaveNote appends a small addition to the checkpoint: what changed since
	// the shards were written and is not in the log (statuses, watches, the time
	// the node was last alive). Notes come back in order after the shards.
	SaveNote(ctx context.Context, data []byte) (note uint64, err error)

	// Advance says that every shard is good through the given log sequence and
	// that notes before `note` are no longer needed. The log may forget
	// nothing after `through` (retention never passes the newest checkpoint), which
	// must not go back: ErrBehind says that it does, and nothing is changed.
	Advance(ctx context.Context, through, note uint64) error

	// Load calls shard for each stored shard and then note for each stored
	// note, in order. through is what Advance last said. They may keep data. A
	// shard that another node saves meanwhile may come twice, the newer later; none
	// is left out.
	Load(ctx context.Context, shard func(n int, through uint64, data []byte) error, note func(data []byte) error) (through uint64, err error)
}

// Counter is a durable number that only grows.
type Counter interface {
	// Next adds one to the named counter and returns it after it is on disk; the
	// first is 1. No two calls ever get the same number.
	Next(ctx context.Context, name string) (uint64, error)
}

// Store is all of it.
type Store interface {
	Log
	Checkpoints
	Counter
	Rosters
	Names
	Reading
	Erasures
	Bases
	CursorKeeper
	Letters
	Mailboxes
	Liveness
	NodeNotes
	// Health returns nil, or why the store cannot take records; an error that
	// wraps ErrAlarm when it still can (disk nearly full). Shown on /readyz.
	Health() error
}
