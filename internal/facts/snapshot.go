package facts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// snapshotBytes is about how much of the fold a snapshot holds at once. Apps
	// with more users are read in several passes over the log since the base.
	snapshotBytes = 32 << 20

	// fresh is how many messages the log may have behind a base before a
	// snapshot of now makes a new base, which is quicker than reading them.
	fresh = 2000
)

// SnapshotUser is one user of a snapshot: his open sessions and what else the
// log tells of him then. Truth and what others see are both in it.
type SnapshotUser struct {
	User presence.User
	*presence.Folded
}

// Snapshot is the fold of an app at one position.
type Snapshot struct {
	// Position is what it is as of: following behind it tells the rest.
	Position Position

	r    *Reader
	app  presence.AppID
	base store.Base
	most int // bytes held at once
}

// Snapshot chooses what a snapshot is made of: at a position, or as of now when
// that is nil. Each makes it. Errors are as Follow's.
func (r *Reader) Snapshot(ctx context.Context, app presence.AppID, at *Position) (*Snapshot, error) {
	s := &Snapshot{r: r, app: app, most: snapshotBytes}
	if at == nil {
		if err := r.freshen(ctx); err != nil {
			return nil, err
		}
		end, err := r.End(ctx)
		if err != nil {
			return nil, err
		}
		at = &end
	}
	s.Position = at.wholeRecord()
	var err error
	s.base, err = r.baseAt(ctx, s.Position)
	return s, err
}

// freshen makes a new base when the newest is so old that it is worth it; not more
// often than the keeper looks, which drops what is too many.
func (r *Reader) freshen(ctx context.Context) error {
	all, err := r.store.Bases(ctx)
	if err != nil {
		return err
	}
	_, next, err := r.store.Ends(ctx)
	if err != nil {
		return err
	}
	from := uint64(1)
	if len(all) > 0 {
		newest := &all[len(all)-1]
		if from = newest.From; time.Since(newest.At.Time()).Abs() < keeperLooks {
			return nil
		}
	}
	if next-from <= fresh {
		return nil
	}
	if _, err := r.store.SaveBase(ctx); err != nil && !errors.Is(err, store.ErrNoCheckpoint) {
		r.log.Warn("no new base for a snapshot, which takes longer so", "error", err)
	}
	return nil
}

// Each calls f with every user that the log knows of at the position, in no
// order, and returns f's first error. However many there are, it holds a bounded
// part of them at once, and none of the log while f runs. It may be called once
// more to begin anew. A log that is cut meanwhile behind what Each still needs
// ends it with store.ErrGap.
func (s *Snapshot) Each(ctx context.Context, f func(SnapshotUser) error) error {
	ctx, cancel := s.r.bound(ctx)
	defer cancel()
	if err := s.r.erased.refresh(ctx); err != nil {
		return err
	}
	width := store.Shards
	for first := 0; first < store.Shards; {
		fold, err := s.gather(ctx, first, min(first+width, store.Shards)-1)
		if errors.Is(err, errTooMuch) {
			width = (width + 1) / 2
			continue
		}
		if err == nil {
			err = s.give(fold, f)
		}
		if err != nil {
			return err
		}
		first += width
	}
	return nil
}

var errTooMuch = errors.New("facts: more than may be held at once")

// gather folds the users of some shards.
func (s *Snapshot) gather(ctx context.Context, first, last int) (*fold, error) {
	within := func(user presence.User) bool {
		n := store.Shard(user)
		return user.App == s.app && n >= first && n <= last
	}
	p := &pass{r: s.r, wants: within, tell: End(s.Position.Sequence), fold: newFold()}
	p.fold.names = map[key]presence.User{}
	enough := func() error {
		if p.fold.bytes > s.most && first < last {
			return errTooMuch
		}
		return nil
	}
	if err := p.load(ctx, s.base, enough); err != nil {
		return nil, err
	}
	if p.next > s.Position.Sequence {
		return p.fold, nil
	}
	_, err := s.r.store.Replay(ctx, p.next, func(sequence uint64, records []presence.Record) error {
		if sequence > s.Position.Sequence {
			return errEnough
		}
		if sequence == s.Position.Sequence && uint64(s.Position.Index) < uint64(len(records)) {
			records = records[:s.Position.Index+1]
		}
		if _, err := p.message(sequence, records); err != nil {
			return err
		}
		if err := enough(); err != nil || sequence < s.Position.Sequence {
			return err
		}
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return p.fold, nil
}

// give tells the users of a fold.
func (s *Snapshot) give(fold *fold, f func(SnapshotUser) error) error {
	for k, user := range fold.names {
		if s.r.erased.hides(user, s.Position.Sequence) {
			continue
		}
		u, err := fold.get(k)
		if err != nil {
			return err
		}
		u.Sessions = slices.DeleteFunc(u.Sessions, func(s presence.FoldedSession) bool { return s.Phase != presence.FoldOpen })
		if len(u.Sessions) == 0 && u.LastSeen == 0 {
			continue // erased, or claimed of and never there
		}
		if err := f(SnapshotUser{user, &u}); err != nil {
			return err
		}
	}
	return nil
}
