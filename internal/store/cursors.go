package store

import (
	"context"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ErrTerm: the endpoint is served under a higher term by now; nothing was
// stored, and who asked serves it no more.
var ErrTerm = errors.New("store: a later term serves the endpoint")

// Bounds of what is kept of an endpoint.
const (
	MaxEndpointName = 64
	MaxCursorState  = 4 << 10 // bytes of one lane's state
	MaxLanes        = 1024
)

// Endpoint names one webhook of an app.
type Endpoint struct {
	App  presence.AppID
	Name string // 1 to MaxEndpointName bytes
}

// Cursor is how far one lane of an endpoint has come.
type Cursor struct {
	Position string // opaque here; "" before the first
	State    []byte // small and opaque: what else the lane must remember
}

// Cursors are those of all lanes of one endpoint. They are kept together, so
// that one write moves as many lanes as moved since the last, and so that who
// takes the endpoint over takes all lanes in one step.
type Cursors struct {
	Endpoint Endpoint
	// Term of who serves the endpoint. A save with a lower one than is stored
	// is refused.
	Term uint64
	// Lanes by their number.
	Lanes []Cursor
	// Revision is what the next save must name; 0 when nothing was ever saved.
	Revision uint64
}

// CursorKeeper keeps how far webhooks have come.
type CursorKeeper interface {
	// LoadCursors returns the endpoint's cursors. An endpoint never heard of is
	// no error: it has no lanes.
	LoadCursors(ctx context.Context, e Endpoint) (Cursors, error)

	// SaveCursors replaces them if their revision is still c.Revision and c.Term
	// is not lower than the stored one, and returns the new revision after it is
	// on disk. Errors wrap ErrTerm, ErrMoved (with ErrRefused), ErrRefused,
	// ErrUnknown (load them again) or ErrClosed.
	SaveCursors(ctx context.Context, c Cursors) (revision uint64, err error)

	// ListCursors calls f with the cursors of every endpoint that has any, those
	// of endpoints that nobody serves any more included, in no order.
	ListCursors(ctx context.Context, f func(Cursors) error) error

	// DropCursors forgets an endpoint's cursors; one without any is no error.
	DropCursors(ctx context.Context, e Endpoint) error
}
