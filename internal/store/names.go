package store

import "context"

// NameKind says what a named value is about.
type NameKind uint8

// The kinds. They are stored: never renumber them.
const (
	NamePublisher NameKind = 1 // a publisher, by its id
	NameGrant     NameKind = 2 // whose uid it is
	NameQueue     NameKind = 3 // how far a publisher was told, by its id
	NameKeys      NameKind = 4 // keys that all nodes share, by their purpose
	NameRevoking  NameKind = 5 // whose revocation may not be finished, by a random name
)

// Bounds of a named value.
const (
	MaxName      = 64        // bytes of a name, which is a valid user id too
	MaxNameValue = 256 << 10 // bytes of its value
)

// Named is one stored value.
type Named struct {
	Name string
	// Value is what was saved; nil when there is none.
	Value []byte
	// Revision is what the next SaveName must name; 0 when there never was a
	// value.
	Revision uint64
}

// Names keeps one small value for each name and kind: what is looked up by an id
// of its own and not by a user. A name belongs to no app; the value says to which.
type Names interface {
	// LoadName returns the value of that kind and name. A name without one is no
	// error. Errors are those of Rosters.LoadRoster.
	LoadName(ctx context.Context, kind NameKind, name string) (Named, error)

	// SaveName replaces the value if its revision is still n.Revision, and returns
	// the new revision after it is on disk. An empty value takes it away. Errors
	// are those of Rosters.SaveRoster.
	SaveName(ctx context.Context, kind NameKind, n Named) (revision uint64, err error)

	// ScanNames calls f with the values of that kind, in no order and holding few
	// of them at a time; what is saved meanwhile is given as by Rosters.ScanRosters.
	ScanNames(ctx context.Context, kind NameKind, f func(Named) error) error
}
