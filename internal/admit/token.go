package admit

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Access checks a raw access token: it must be good, of an app that is served,
// and not revoked. It may wait while the keys of an issuer are fetched.
func (g *Gate) Access(ctx context.Context, raw string) (token.Access, error) {
	a, err := g.verifier.Load().Verify(ctx, raw)
	if err != nil {
		return token.Access{}, err
	}
	return a, g.stands(a)
}

// Still checks an access token again that was good before, without its text: it
// may have expired, or been revoked, or its app may be served no more.
func (g *Gate) Still(a token.Access, now time.Time) error {
	if !now.Before(a.Expires) {
		return fault.New(fault.JWTExpired, "the access token has expired; get a new one from its issuer")
	}
	return g.stands(a)
}

func (g *Gate) stands(a token.Access) error {
	if g.cfg.Tracker.Policy(a.App) == nil {
		return fault.New(fault.JWTInvalid, "the token's app is not served here")
	}
	if r := g.cfg.Revocations; r != nil {
		return r.Check(presence.User{App: a.App, ID: a.User}, a.IssuedAt)
	}
	return nil
}

// Session opens a session token and checks that it belongs to the user of the
// access token. maker is the incarnation of the node that made the session.
func (g *Gate) Session(a token.Access, sealed string) (ref tracker.Ref, maker uint64, err error) {
	s, err := g.ring.Load().Open(sealed)
	if err != nil {
		return tracker.Ref{}, 0, err
	}
	if err := s.Check(a); err != nil {
		return tracker.Ref{}, 0, err
	}
	return tracker.Ref{User: presence.User{App: a.App, ID: a.User}, Session: s.Session}, s.Epoch.Incarnation, nil
}

// Seal makes the session token of a session.
func (g *Gate) Seal(ref tracker.Ref, epoch presence.Epoch) string {
	return g.ring.Load().Seal(token.Session{
		App: ref.User.App, Session: ref.Session, User: ref.User.ID, Epoch: epoch, Issued: presence.At(time.Now()),
	})
}

// SealNote and OpenNote are those of the node's ring; see [token.Ring].
func (g *Gate) SealNote(purpose string, content []byte) string {
	return g.ring.Load().SealNote(purpose, content)
}

// OpenNote returns what SealNote sealed for the same purpose, here or at a node
// with the same keys.
func (g *Gate) OpenNote(purpose, note string) ([]byte, bool) {
	return g.ring.Load().OpenNote(purpose, note)
}
