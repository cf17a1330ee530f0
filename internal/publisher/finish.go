package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A revocation takes several writes: the grant is dead with one, then the
// publisher's queue gets it and its uid leads nowhere. That it was begun is noted
// before, so that a start knows whom a crash left in between.

// promised is how long a revocation that was begun and is not found in its user's
// folder may still come there: another node may be at it.
const promised = time.Minute

// mostUnfinished bounds what one Finish reads.
const mostUnfinished = 10_000

// errEnough ends a scan.
var errEnough = errors.New("enough")

// begin notes that revocations of a user begin; finished takes the note away.
func (r *Registry) begin(ctx context.Context, user presence.User) (name string, err error) {
	name = random(UIDLength)
	p := promise{App: user.App, User: user.ID, At: presence.At(time.Now())}
	if _, err := r.cfg.Store.SaveName(ctx, store.NameRevoking, store.Named{Name: name, Value: encode(p)}); err != nil {
		return "", r.unavailable(ctx, err)
	}
	return name, nil
}

// finished takes a note away; one that stays does no harm.
func (r *Registry) finished(ctx context.Context, name string) {
	if err := r.unname(ctx, store.NameRevoking, name); err != nil {
		r.log.WarnContext(ctx, "a note of a revocation that is finished stays until the next start", "error", err)
	}
}

// Finish does what is left of revocations that a crash broke off, so that their
// publishers hear of them though nobody reads the users' grants. Call it at start,
// after Listen. done counts revocations; after an error something is left, as it is
// of more than 10,000: repeat it.
func (r *Registry) Finish(ctx context.Context) (done int, err error) {
	type note struct {
		name string
		promise
	}
	var notes []note
	err = r.cfg.Store.ScanNames(ctx, store.NameRevoking, func(n store.Named) error {
		one := note{name: n.Name}
		if err := decode(n.Value, &one.promise); err != nil {
			return fmt.Errorf("revocation %s: %w", n.Name, err)
		}
		if notes = append(notes, one); len(notes) >= mostUnfinished {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, r.unavailable(ctx, err)
	}
	now := presence.At(time.Now())
	for _, n := range notes {
		_, left, err := r.settled(ctx, presence.User{App: n.App, ID: n.User})
		if err != nil {
			return done, err
		}
		if done += left; left > 0 || now.Sub(n.At) > promised {
			r.finished(ctx, n.name)
		}
	}
	return done, nil
}
