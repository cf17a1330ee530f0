package store

import (
	"context"
	"errors"
)

// ErrNoMail: there is no such entry, or no longer.
var ErrNoMail = errors.New("store: no such entry of the mailboxes")

// MaxMail is the most bytes of one entry.
const MaxMail = 4 << 20

// Mailboxes keep what users are to be told when they come: a stream of entries
// of its own. What is in an entry is the writer's affair (many messages of many
// users, for one sync of the disk costs as much for one as for a hundred): the
// store keeps bytes.
//
// Several may write, each only what it knows all of: an entry is stored only
// behind the one that its writer saw last. So whoever folds the entries in order
// has the same mailboxes as any other, and counts in them exactly.
type Mailboxes interface {
	// AppendMail stores one entry if the last that was ever stored is `after` (0:
	// none was), and returns its sequence, which is higher, after it is on disk.
	// Errors wrap ErrMoved (with ErrRefused: read what came since), ErrRefused,
	// ErrUnknown (it may be stored or not: read on behind `after`) or ErrClosed.
	AppendMail(ctx context.Context, after uint64, entry []byte) (sequence uint64, err error)

	// ReplayMail calls f with each entry from the sequence `from` on, in order,
	// until the end at the time of the call; 0 means the oldest there is. It
	// returns the sequence of the last that was ever stored. The entry is f's to
	// keep.
	ReplayMail(ctx context.Context, from uint64, f func(sequence uint64, entry []byte) error) (last uint64, err error)

	// ReadMail returns one entry, or ErrNoMail.
	ReadMail(ctx context.Context, sequence uint64) (entry []byte, err error)

	// CutMail forgets the entries before the sequence. The last one stays.
	CutMail(ctx context.Context, before uint64) error

	// MailLimit is how many bytes entries may take together; more are refused.
	MailLimit() int64
}
