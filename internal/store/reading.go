package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Reading is the side of the log that readers stand on: whoever folds it for
// webhooks, snapshots and histories.
type Reading interface {
	// Replay is Log's.
	Replay(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) (next uint64, err error)

	// Follow is Replay that goes on: at the end of the log it waits, and f gets
	// each further message as soon as it is stored. It returns f's first error,
	// ErrGap as Replay does, ErrClosed when the store was stopped, and ctx's when
	// that ends. A slow f holds nobody but itself up; one that is so slow that the
	// log was cut behind its back gets ErrGap then.
	Follow(ctx context.Context, from uint64, f func(sequence uint64, records []presence.Record) error) error

	// Ends returns the oldest sequence that the log holds and the one that the
	// next message will get; they are equal when it holds none.
	Ends(ctx context.Context) (first, next uint64, err error)

	// SequenceAt returns the sequence of the oldest message stored at t or later,
	// or what the next message will get when there is none.
	SequenceAt(ctx context.Context, t time.Time) (uint64, error)

	// ReplayUser is Replay of the messages before the sequence `to` that may speak
	// of one user: it may leave out those that do not, which makes it quick.
	ReplayUser(ctx context.Context, user presence.User, from, to uint64, f func(sequence uint64, records []presence.Record) error) error
}

// Erasure is where in the log a user was erased, and what that voids.
type Erasure struct {
	User     uint64        // UserMark of who was erased; his name is not kept
	Sequence uint64        // of the message with the erased record
	Time     presence.Time // what was claimed of him until then is void
}

// Erasures know who was erased, so that a reader far behind in the log obeys
// what it has not read yet.
type Erasures interface {
	// Erasures calls f with every erasure that the log holds the record of, and
	// perhaps with older ones, and returns how many there were since the store
	// was opened. With that as `since` the next call gives only later ones; 0
	// gives all. An erasure that Append acknowledged is there.
	Erasures(ctx context.Context, since uint64, f func(Erasure) error) (count uint64, err error)

	// Erased is the count that Erasures would return: it tells quickly whether
	// there are later ones.
	Erased() uint64
}

// UserMark is a number that stands for a user, stable over starts and versions: of
// ten million users two share one with a chance of 1 in 300,000, which would void
// one's past with the other's. Its hash is one for which nobody finds the id that
// shares the mark of a given user: who may erase users of one app must not void
// what is told of another's.
func UserMark(user presence.User) uint64 {
	b := make([]byte, 0, 160)
	b = presence.AppendText(presence.AppendText(b, string(user.App)), string(user.ID))
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
