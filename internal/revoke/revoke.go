// Package revoke keeps from when on a user's access tokens count: a drop may say
// that those issued before it are void, although they have not expired (design
// §4, "a drop can set a not-before"). It keeps one time for each such user, on
// disk and in memory.
//
// It checks no token (package token does) and ends no session (the tracker
// does); the doors ask it after a token was found good.
package revoke

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// retryStore is what a caller is told to wait when the store said no.
const retryStore = 2 * time.Second

// attempts bounds how often a write that another one overtook is tried.
const attempts = 4

// valueVersion begins each stored value.
const valueVersion = 1

// Revocations are those of a node. Make it with New.
type Revocations struct {
	store store.Rosters
	log   *slog.Logger
	// count is how many there are: while it is 0 a call costs one load.
	count atomic.Int64

	mu    sync.RWMutex // guards users
	users map[presence.User]presence.Time
}

// New returns one that has read nothing yet.
func New(s store.Rosters, log *slog.Logger) *Revocations {
	return &Revocations{store: s, log: log, users: map[presence.User]presence.Time{}}
}

// Start reads all there are, before any other call.
func (r *Revocations) Start(ctx context.Context) error {
	err := r.store.ScanRosters(ctx, store.RosterRevoked, "", func(v store.Roster) error {
		at, err := parse(v.Value)
		if err != nil {
			return fmt.Errorf("of a user of app %s: %w", v.User.App, err)
		}
		r.set(v.User, at)
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke: cannot read whose access tokens are void: %w", err)
	}
	return nil
}

// Check refuses an access token of the user that was issued before a
// revocation, or does not say when, with JWTExpired: a fresh one helps. Times
// of issue are whole seconds, so one of the very second of the revocation is
// refused as well.
func (r *Revocations) Check(user presence.User, issued time.Time) error {
	if r.count.Load() == 0 {
		return nil
	}
	r.mu.RLock()
	at := r.users[user]
	r.mu.RUnlock()
	if at == 0 || !issued.IsZero() && presence.At(issued) >= at {
		return nil
	}
	return fault.New(fault.JWTExpired, "the user's access tokens of before %s are not taken any more; get a new one", at.Time().Format(time.RFC3339))
}

// Before is when the user's newest revocation was; what was issued before it is
// void. 0: there is none.
func (r *Revocations) Before(user presence.User) presence.Time {
	if r.count.Load() == 0 {
		return 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.users[user]
}

// Revoke makes void what was issued before now, and returns that time after it
// is on disk. It fails with LogUnavailable; whether it holds is known only when a
// repeat succeeds.
func (r *Revocations) Revoke(ctx context.Context, user presence.User) (presence.Time, error) {
	at := presence.At(time.Now())
	if err := r.save(ctx, user, binary.AppendUvarint([]byte{valueVersion}, uint64(at))); err != nil {
		return 0, err
	}
	r.set(user, at)
	return at, nil
}

// Forget takes a user's revocation away, if there is one.
func (r *Revocations) Forget(ctx context.Context, user presence.User) error {
	r.mu.RLock()
	_, known := r.users[user]
	r.mu.RUnlock()
	if !known {
		return nil
	}
	if err := r.save(ctx, user, nil); err != nil {
		return err
	}
	r.drop(user)
	return nil
}

func (r *Revocations) drop(user presence.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.users, user)
	r.count.Store(int64(len(r.users)))
}

// Stored says that a value of kind RosterRevoked was saved, by this node or by
// another, as a watch of the store tells it. What cannot be read changes nothing
// and is logged.
func (r *Revocations) Stored(c store.RosterChange) {
	if c.Value == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		// Of a user without a value only a mark is stored.
		maps.DeleteFunc(r.users, func(user presence.User, _ presence.Time) bool {
			return user.App == c.App && store.UserMark(user) == c.Mark
		})
		r.count.Store(int64(len(r.users)))
		return
	}
	at, err := parse(c.Value)
	if err != nil {
		r.log.Error("from when on a user's access tokens count cannot be read", "app", c.App, "error", err)
		return
	}
	r.set(c.User, at)
}

func (r *Revocations) set(user presence.User, at presence.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users[user] = max(r.users[user], at)
	r.count.Store(int64(len(r.users)))
}

// save writes a value over whatever is there: the newest revocation covers all
// older ones.
func (r *Revocations) save(ctx context.Context, user presence.User, value []byte) error {
	var err error
	for range attempts {
		var old store.Roster
		if old, err = r.store.LoadRoster(ctx, store.RosterRevoked, user); err != nil {
			break
		}
		if _, err = r.store.SaveRoster(ctx, store.RosterRevoked, store.Roster{User: user, Value: value, Revision: old.Revision}); !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	if err != nil {
		r.log.WarnContext(ctx, "from when on access tokens count cannot be stored", "app", user.App, "error", err)
		return fault.Retry(fault.LogUnavailable, retryStore, "whose access tokens are void could not be stored; try again")
	}
	return nil
}

func parse(b []byte) (presence.Time, error) {
	if len(b) == 0 || b[0] != valueVersion {
		return 0, errors.New("it has a form that this version does not know: restore the data directory, or start a newer version")
	}
	at, n := binary.Uvarint(b[1:])
	if n <= 0 || n != len(b)-1 || at == 0 || at > 1<<62 {
		return 0, errors.New("what is stored is damaged; restore the data directory from a backup")
	}
	return presence.Time(at), nil
}
