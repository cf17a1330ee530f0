package roster

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Stored says that a value of the user stands in the store under a revision,
// written by this node or by another. What is known here that is older is read
// again, and what changed is told. It does not wait. Where nothing is known, and
// of other kinds than lists and blocks, it does nothing.
func (r *Roster) Stored(kind store.RosterKind, user presence.User, revision uint64) {
	switch kind {
	case store.RosterBlocks:
		r.mu.RLock()
		known := r.books[user].revision
		r.mu.RUnlock()
		if known < revision {
			r.suspect(user)
			r.mend(user, 0)
		}
	case store.RosterList:
		r.mu.Lock()
		p := r.pages[user]
		unused := p == nil || r.drop(p) // it will be read when somebody needs it
		r.mu.Unlock()
		if !unused {
			r.catchUp(user, revision)
		}
	}
}

// Reread is Invalidate for a word that came from another node.
func (r *Roster) Reread(user presence.User) {
	if r.app(user.App).Source == nil {
		return
	}
	r.mu.Lock()
	p := r.pages[user]
	if p == nil || r.drop(p) {
		r.mu.Unlock()
		return
	}
	p.again = true
	r.mu.Unlock()
	r.later(p, 0)
}

// Missed says that Stored may not have been called for every value: all that is
// known is read again.
func (r *Roster) Missed() {
	r.mu.Lock()
	var books, lists []presence.User
	for user := range r.books {
		books = append(books, user)
	}
	for user, p := range r.pages {
		if !r.drop(p) {
			lists = append(lists, user)
		}
	}
	r.mu.Unlock()
	for _, user := range books {
		r.suspect(user)
		r.mend(user, 0)
	}
	for _, user := range lists {
		r.catchUp(user, 0)
	}
	r.findBooks(0)
}

// catchUp reads a list again that another node wrote, unless it is known as it
// stands under the revision; 0: in any case. A source is not asked: what it says
// is stored by the node that asked.
func (r *Roster) catchUp(user presence.User, revision uint64) {
	r.chores.after(0, func(ctx context.Context) {
		p, err := r.open(ctx, user)
		if err != nil {
			return // stopping
		}
		defer r.close(p)                                            // plans the next try, if it is needed
		known := revision > 0 && p.stored && p.revision >= revision // our own, or read since
		if !known && p.list != nil && r.fromStore(ctx, p, true) != nil {
			r.readAgain(p, true)
		}
	})
}

// findBooks looks for blocks of users who had none that are known.
func (r *Roster) findBooks(failures int) {
	r.chores.after(wait(failures), func(ctx context.Context) {
		err := r.cfg.Store.ScanRosters(ctx, store.RosterBlocks, "", func(v store.Roster) error {
			r.Stored(store.RosterBlocks, v.User, v.Revision)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			r.log.Warn("who blocks whom cannot be read again; what other nodes changed may be missing until it can", "error", err)
			r.findBooks(failures + 1)
		}
	})
}

// wait is how long to wait before a try after so many failed ones.
func wait(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return backoff(failures - 1)
}
