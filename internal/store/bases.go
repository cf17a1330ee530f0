package store

import (
	"context"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ErrNoCheckpoint: there is nothing yet that a base could be made of.
var ErrNoCheckpoint = errors.New("store: no checkpoint yet")

// Base is a whole copy of the checkpoint's shards that is kept, so that readers
// can begin at an older position than the checkpoint's.
type Base struct {
	// Position is the log sequence from which on a reader may tell what it
	// concludes: no shard holds anything of a later message.
	Position uint64
	// From is the log sequence that folding the base forward begins at: at most
	// Position+1. Of each shard, messages up to its own through are in it already.
	From uint64
	At   presence.Time // when it was made
	// Bytes it takes on the disk.
	Bytes int64
}

// Bases keep copies of the checkpoint. Which of them to keep is the caller's
// affair, but for those that the log no longer reaches back to: they go by
// themselves, and so does the oldest when they take more than their share of
// the disk.
type Bases interface {
	// SaveBase copies all shards as they are stored now. Writers of shards need
	// not stop meanwhile. A base is there whole or not at all. When no record
	// came since the last one, that is returned, unless the log no longer reaches
	// back to it. It returns ErrNoCheckpoint before the first Advance, or an
	// error that wraps ErrRefused when the disk has no room.
	SaveBase(ctx context.Context) (Base, error)

	// Bases returns those that are there, oldest first.
	Bases(ctx context.Context) ([]Base, error)

	// ReadBase calls f with each shard of the base at that position whose number
	// is first to last, in order. Shards that were never written are left out.
	// through is the log sequence up to which messages are in the state; some
	// that follow may be as well. A base that is not there, or no longer, is
	// ErrGap. The state is f's to keep.
	ReadBase(ctx context.Context, position uint64, first, last int, f func(n int, through uint64, state []byte) error) error

	// DropBase forgets the base at that position; one that is not there is no error.
	DropBase(ctx context.Context, position uint64) error
}
