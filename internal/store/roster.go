package store

import (
	"context"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ErrMoved: the value was written by somebody else since it was read, and
// nothing was stored. Read it again and decide anew.
var ErrMoved = errors.New("store: written by another since")

// RosterKind says what a roster value is about; each user has at most one value
// of each kind.
type RosterKind uint8

// The kinds. They are stored: never renumber them.
const (
	RosterList   RosterKind = 1 // whom a user cares about
	RosterBlocks RosterKind = 2 // whom a user hides from
	// RosterRevoked is from when on a user's access tokens count.
	RosterRevoked RosterKind = 3
	// RosterAttributes is a user's attributes, his running calls, and where his
	// attributes are published.
	RosterAttributes RosterKind = 4
	// RosterGrants is which publishers a user lets know of him, and which he
	// registered.
	RosterGrants RosterKind = 5
)

// MaxRosterValue is the most bytes of one value: a list of 10,000 users with
// the longest ids is 1.3 MB.
const MaxRosterValue = 4 << 20

// Roster is one stored value.
type Roster struct {
	User presence.User
	// Value is what was saved; nil when there is none.
	Value []byte
	// Revision is what the next SaveRoster must name; 0 when there never was a
	// value.
	Revision uint64
}

// Rosters keeps one small value for each user and kind. What is in it is the
// writer's affair: the store keeps bytes.
type Rosters interface {
	// LoadRoster returns the user's value of that kind. A user without one is no
	// error. Errors wrap ErrUnknown or ErrClosed, or say that what is stored
	// cannot be read.
	LoadRoster(ctx context.Context, kind RosterKind, user presence.User) (Roster, error)

	// SaveRoster replaces the value if its revision is still r.Revision, and
	// returns the new revision after it is on disk. An empty value takes it away.
	// Errors wrap ErrMoved, ErrRefused (which ErrMoved wraps too), ErrUnknown (it
	// may be stored or not: load it again) or ErrClosed.
	SaveRoster(ctx context.Context, kind RosterKind, r Roster) (revision uint64, err error)

	// ScanRosters calls f with the values of that kind, of one app or of all
	// (""), in no order and holding few of them at a time. Every value that
	// is there for the whole call is given; one that is saved meanwhile may be
	// given twice, the newest last. f may save. The scan ends with f's first
	// error.
	ScanRosters(ctx context.Context, kind RosterKind, app presence.AppID, f func(Roster) error) error

	// WatchRosters calls f with every change of a value of that kind, whichever
	// node made it, this one included, so that what is kept of values in memory can
	// be dropped. f is called first with the zero RosterChange: what is saved from
	// then on comes. Of changes of one value in quick succession the last comes, the
	// others may; nothing comes twice. It goes on until ctx ends, f returns an error,
	// or the store is stopped (ErrClosed).
	WatchRosters(ctx context.Context, kind RosterKind, f func(RosterChange) error) error
}

// RosterChange is a value that was saved.
type RosterChange struct {
	App presence.AppID
	// Mark is UserMark of whose value it is. The id of a user whose value was taken
	// away is stored nowhere.
	Mark uint64
	// Roster is as LoadRoster would return it; without a user and value when the
	// value was taken away.
	Roster
}
