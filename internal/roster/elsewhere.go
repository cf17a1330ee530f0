package roster

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Stored says that a value was saved, by this node or by another, as a watch of
// the store tells it. What is known here that is older is read again, and what
// changed is told. It does not wait. Where nothing is known, and of other kinds
// than lists and blocks, it does nothing.
func (r *Roster) Stored(kind store.RosterKind, c store.RosterChange) {
	for _, user := range r.whose(kind, c) {
		switch kind {
		case store.RosterBlocks:
			r.mu.RLock()
			known := r.books[user].revision
			r.mu.RUnlock()
			if known < c.Revision {
				r.suspect(user)
				r.mend(user, 0)
			}
		case store.RosterList:
			r.mu.Lock()
			p := r.pages[user]
			unused := p == nil || r.drop(p) // it will be read when somebody needs it
			r.mu.Unlock()
			if !unused {
				r.catchUp(user, c.Revision)
			}
		}
	}
}

// whose names the user of a change. Of one who has no value any more only a mark
// is stored, so it is looked for among those who are known.
func (r *Roster) whose(kind store.RosterKind, c store.RosterChange) (users []presence.User) {
	if c.User.ID != "" {
		return []presence.User{c.User}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	look := func(user presence.User) {
		if user.App == c.App && store.UserMark(user) == c.Mark {
			users = append(users, user)
		}
	}
	switch kind {
	case store.RosterBlocks:
		for user := range r.books {
			look(user)
		}
	case store.RosterList:
		for user := range r.pages {
			look(user)
		}
	}
	return users
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
			r.Stored(store.RosterBlocks, store.RosterChange{App: v.User.App, Roster: v})
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
