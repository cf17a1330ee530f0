package roster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// freezes is how often a veil is stored again because its user was seen leaving
// while it was on its way to the disk.
const freezes = 3

// online says that the user was there when he went out of sight.
func (v veil) online() bool { return v.seen != 0 && v.seen == v.since }

// book is whom one user blocks. It never changes; all are in memory.
type book struct {
	entries  []veiled // in the order of the blocks
	revision uint64   // of the stored value
	again    bool     // read it again: what is stored is not known
}

func (b book) find(id presence.UserID) int {
	return slices.IndexFunc(b.entries, func(v veiled) bool { return v.id == id })
}

// Block hides user from other: from now on other sees him as offline, with the
// last seen of this moment, whatever lists say; not the other way round. changed
// is false when that was so before. It fails with FieldInvalid, with
// LimitFriends when user blocks as many as a list may have, with what Config.Takes
// says, and with FriendsUnavailable when it could not be stored, or is not known to be.
func (r *Roster) Block(ctx context.Context, user presence.User, other presence.UserID) (changed bool, err error) {
	return r.write(ctx, user, other, func(b book) (bool, error) {
		if b.find(other) >= 0 {
			return false, nil
		}
		if most := r.app(user.App).MaxFriends; len(b.entries) >= most {
			return false, fault.New(fault.LimitFriends, "the user blocks %d others; at most %d are allowed", len(b.entries), most)
		}
		return true, r.block(ctx, user, other, b)
	})
}

// Unblock ends a block: other sees user as he is. Otherwise it is like Block.
func (r *Roster) Unblock(ctx context.Context, user presence.User, other presence.UserID) (changed bool, err error) {
	return r.write(ctx, user, other, func(b book) (bool, error) {
		i := b.find(other)
		if i < 0 {
			return false, nil
		}
		return true, r.rewrite(ctx, user, b, slices.Concat(b.entries[:i], b.entries[i+1:]))
	})
}

// Blocks returns whom user blocks, in the order of the blocks.
func (r *Roster) Blocks(ctx context.Context, user presence.User) ([]presence.UserID, error) {
	pass, err := r.pens.take(ctx, user)
	if err != nil {
		return nil, err
	}
	defer pass()
	b, err := r.book(ctx, user)
	if err != nil {
		return nil, r.refine(ctx, err, user.App)
	}
	ids := make([]presence.UserID, len(b.entries))
	for i, v := range b.entries {
		ids[i] = v.id
	}
	return ids, nil
}

// write calls f with user's book and pen, again if somebody else wrote it.
func (r *Roster) write(ctx context.Context, user presence.User, other presence.UserID, f func(book) (bool, error)) (changed bool, err error) {
	if err := checkIDs(user, "user", other); err != nil {
		return false, err
	}
	pass, err := r.pens.take(ctx, user)
	if err != nil {
		return false, err
	}
	defer pass()
	for range moves {
		var b book
		if b, err = r.book(ctx, user); err == nil {
			err = r.cfg.Takes()
		}
		if err == nil {
			changed, err = f(b)
		}
		if !errors.Is(err, store.ErrMoved) {
			break
		}
	}
	if err != nil {
		return false, r.refine(ctx, err, user.App)
	}
	return changed, nil
}

// book returns user's book, read again if it is in doubt. His pen is held.
func (r *Roster) book(ctx context.Context, user presence.User) (book, error) {
	r.mu.RLock()
	b := r.books[user]
	r.mu.RUnlock()
	if !b.again {
		return b, nil
	}
	v, err := r.cfg.Store.LoadRoster(ctx, store.RosterBlocks, user)
	if err != nil {
		return book{}, err
	}
	next := book{revision: v.Revision}
	if v.Value != nil {
		if next.entries, err = parseBlocks(v.Value); err != nil {
			return book{}, err
		}
	}
	return next, r.publishBook(ctx, user, next)
}

// block stores a book with one more entry and tells of it.
func (r *Roster) block(ctx context.Context, user presence.User, other presence.UserID, b book) error {
	p, err := r.open(ctx, presence.User{App: user.App, ID: other})
	if err != nil {
		return err
	}
	defer r.close(p)
	if r.app(user.App).Visibility == Friends {
		// What he may know depends on his list; a source that is down is no reason
		// to refuse a block.
		if err := r.fromStore(ctx, p, false); err != nil {
			return err
		}
	}
	v := r.freeze(p.user, user.ID, presence.At(time.Now()))
	next := book{entries: append(slices.Clip(b.entries), veiled{other, v})}
	for i := range freezes {
		if next.revision, err = r.saveBook(ctx, user, next, b.revision); err != nil {
			if i > 0 {
				r.doubt(user) // refused or not: what went before is stored
			}
			return err
		}
		// Meanwhile others may have seen the user leave, or come: a last seen never
		// goes back.
		later := r.freeze(p.user, user.ID, presence.At(time.Now()))
		if i == freezes-1 || later.seen <= v.seen || v.online() && later.online() {
			break
		}
		b.revision, v = next.revision, later
		next.entries = append(slices.Clip(b.entries), veiled{other, v})
	}
	r.mu.Lock()
	r.books[user] = next
	r.setVeil(p.user, user.ID, &next.entries[len(next.entries)-1].veil)
	r.mu.Unlock()
	r.listener.SightChanged(p.user, []presence.UserID{user.ID})
	return nil
}

// rewrite stores other entries of user's book and tells of them.
func (r *Roster) rewrite(ctx context.Context, user presence.User, b book, entries []veiled) error {
	next := book{entries: entries}
	var err error
	if next.revision, err = r.saveBook(ctx, user, next, b.revision); err != nil {
		return err
	}
	return r.publishBook(ctx, user, next)
}

func (r *Roster) saveBook(ctx context.Context, user presence.User, next book, revision uint64) (uint64, error) {
	var value []byte
	if len(next.entries) > 0 {
		value = appendBlocks(nil, next.entries)
		if _, err := parseBlocks(value); err != nil {
			return 0, fmt.Errorf("not stored, since it could not be read back: %w", err)
		}
	}
	if len(value) > store.MaxRosterValue {
		return 0, fault.New(fault.LimitFriends, "the blocks would take %d bytes; at most %d are allowed", len(value), store.MaxRosterValue)
	}
	revision, err := r.cfg.Store.SaveRoster(ctx, store.RosterBlocks, store.Roster{User: user, Value: value, Revision: revision})
	if err != nil && (!errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrMoved)) {
		r.doubt(user)
	}
	return revision, err
}

// publishBook makes a book readable that is stored, and tells each user whose
// veil it changes, with his turn. The pen is held. When ctx ends before all are
// told, the book is in doubt, and the rest is told when it is read again.
func (r *Roster) publishBook(ctx context.Context, user presence.User, next book) error {
	r.mu.RLock()
	old := r.books[user]
	r.mu.RUnlock()
	veils := make(map[presence.UserID]*veil, len(next.entries))
	for i := range next.entries {
		veils[next.entries[i].id] = &next.entries[i].veil
	}
	touched := make(map[presence.UserID]struct{}, len(veils))
	for _, b := range []book{old, next} {
		for _, v := range b.entries {
			touched[v.id] = struct{}{}
		}
	}
	for id := range touched {
		if err := r.turnVeil(ctx, presence.User{App: user.App, ID: id}, user.ID, veils[id]); err != nil {
			r.doubt(user)
			return err
		}
	}
	r.mu.Lock()
	r.books[user] = next
	r.mu.Unlock()
	return nil
}

// turnVeil lets a veil between watcher and target fall or lift (nil), unless it
// is so, and tells.
func (r *Roster) turnVeil(ctx context.Context, watcher presence.User, target presence.UserID, v *veil) error {
	p, err := r.open(ctx, watcher)
	if err != nil {
		return err
	}
	defer r.close(p)
	r.mu.Lock()
	changed := r.setVeil(watcher, target, v)
	r.mu.Unlock()
	if changed {
		r.listener.SightChanged(watcher, []presence.UserID{target})
	}
	return nil
}

// setVeil is turnVeil without the telling; mu and the watcher's turn are held.
func (r *Roster) setVeil(watcher presence.User, target presence.UserID, v *veil) (changed bool) {
	s := sight{own: watcher.ID}
	if old := r.veils[watcher]; old != nil {
		s = *old
	}
	had, ok := s.blocked[target]
	if !ok && v == nil || ok && v != nil && had == *v {
		return false
	}
	s.blocked = maps.Clone(s.blocked)
	if v == nil {
		delete(s.blocked, target)
	} else {
		if s.blocked == nil {
			s.blocked = map[presence.UserID]veil{}
		}
		s.blocked[target] = *v
	}
	r.putVeils(watcher, &s)
	return true
}

// putVeils replaces the veils of who blocks a watcher; mu is held.
func (r *Roster) putVeils(watcher presence.User, s *sight) {
	if len(s.blocked) == 0 {
		delete(r.veils, watcher)
	} else {
		r.veils[watcher] = s
	}
	r.limited.Store(int64(len(r.veils)))
	if p := r.pages[watcher]; p != nil && p.sight != nil {
		next := *p.sight
		next.blocked = s.blocked
		p.sight = &next
	}
}

// addBook is for the start, when nobody reads veils yet.
func (r *Roster) addBook(user presence.User, b book) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.books[user] = b
	for _, v := range b.entries {
		watcher := presence.User{App: user.App, ID: v.id}
		s := r.veils[watcher]
		if s == nil {
			s = &sight{own: watcher.ID, blocked: map[presence.UserID]veil{}}
		}
		s.blocked[user.ID] = v.veil
		r.putVeils(watcher, s)
	}
}

// doubt says that what is stored of user's book is not known: it is read again
// before its next use, and behind.
func (r *Roster) doubt(user presence.User) {
	r.suspect(user)
	r.mend(user, 1) // the store may need a moment
}

func (r *Roster) suspect(user presence.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.books[user]
	b.again = true
	r.books[user] = b
}

// mend reads a book in doubt again, until that succeeds.
func (r *Roster) mend(user presence.User, failures int) {
	r.chores.after(wait(failures), func(ctx context.Context) {
		pass, err := r.pens.take(ctx, user)
		if err != nil {
			return // stopping
		}
		_, err = r.book(ctx, user)
		pass()
		if err != nil {
			r.mend(user, failures+1)
		}
	})
}
