package isonline

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// access reads the JWT of a call: metadata "authorization: Bearer <JWT>", the
// header that the document speaks of (protocol note A2).
func (d *Door) access(ctx context.Context) (token.Access, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return token.Access{}, fault.New(fault.JWTInvalid, "send one metadata entry authorization: Bearer <JWT>")
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return token.Access{}, fault.New(fault.JWTInvalid, "the authorization metadata must be of the form Bearer <JWT>")
	}
	return d.cfg.Gate.Access(ctx, strings.TrimSpace(raw))
}

// session reads the JWT and the session token of a call, and checks that they
// belong to the same user.
func (d *Door) session(ctx context.Context, sealed string) (tracker.Ref, error) {
	ref, _, err := d.sessionOf(ctx, sealed)
	return ref, err
}

// sessionOf is session, and names the node that made it.
func (d *Door) sessionOf(ctx context.Context, sealed string) (ref tracker.Ref, maker uint64, err error) {
	a, err := d.access(ctx)
	if err != nil {
		return tracker.Ref{}, 0, err
	}
	return d.cfg.Gate.Session(a, sealed)
}
