package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// moves is how often a change is tried when somebody else changes the same list.
const moves = 5

// edit is a change of one page's friends: it returns the next ones, or the same.
type edit struct {
	page *page
	next func(friends []presence.UserID) []presence.UserID
}

// Add puts friend on user's list, and user on friend's list if both. changed is
// false when that was so before. It fails with FieldInvalid (a bad id, the user
// himself, or lists that a source has), with LimitFriends when one of the lists
// is full, which is checked of both before any is changed, with what Config.Takes says,
// and with FriendsUnavailable. A crash or an error may leave the one list changed without
// the other; a repeat mends that.
func (r *Roster) Add(ctx context.Context, user presence.User, friend presence.UserID, both bool) (changed bool, err error) {
	return r.pair(ctx, user, friend, both, func(other presence.UserID) func([]presence.UserID) []presence.UserID {
		return func(friends []presence.UserID) []presence.UserID {
			if slices.Contains(friends, other) {
				return friends
			}
			return append(slices.Clip(friends), other)
		}
	})
}

// Remove takes friend off user's list, and user off friend's list if both;
// otherwise it is like Add.
func (r *Roster) Remove(ctx context.Context, user presence.User, friend presence.UserID, both bool) (changed bool, err error) {
	return r.pair(ctx, user, friend, both, func(other presence.UserID) func([]presence.UserID) []presence.UserID {
		return func(friends []presence.UserID) []presence.UserID {
			i := slices.Index(friends, other)
			if i < 0 {
				return friends
			}
			return slices.Concat(friends[:i], friends[i+1:])
		}
	})
}

func (r *Roster) pair(ctx context.Context, user presence.User, friend presence.UserID, both bool,
	how func(other presence.UserID) func([]presence.UserID) []presence.UserID) (changed bool, err error) {
	if err := r.writable(user, "friend", friend); err != nil {
		return false, err
	}
	if !both {
		p, err := r.open(ctx, user)
		if err != nil {
			return false, err
		}
		defer r.close(p)
		return r.change(ctx, edit{p, how(friend)})
	}
	p, q, err := r.openBoth(ctx, user, presence.User{App: user.App, ID: friend})
	if err != nil {
		return false, err
	}
	defer r.close(p)
	defer r.close(q)
	return r.change(ctx, edit{p, how(friend)}, edit{q, how(user.ID)})
}

// Replace makes friends user's whole list, in that order; an id that stands
// there twice counts once. It fails as Add does, and then the list is as it was.
func (r *Roster) Replace(ctx context.Context, user presence.User, friends []presence.UserID) (added, removed int, err error) {
	if err := r.writable(user, "friends", friends...); err != nil {
		return 0, 0, err
	}
	p, err := r.open(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	defer r.close(p)
	friends = distinct(friends, user.ID)
	_, err = r.change(ctx, edit{p, func(before []presence.UserID) []presence.UserID {
		in, out := difference(before, friends)
		added, removed = len(in), len(out)
		return friends
	}})
	if err != nil {
		return 0, 0, err
	}
	return added, removed, nil
}

// writable refuses lists that are not ours, and ids that cannot be on a list.
func (r *Roster) writable(user presence.User, field string, ids ...presence.UserID) error {
	if r.app(user.App).Source != nil {
		return fault.Invalid("friends.source", "this app's friend lists are kept by its own backend: change them there and push what changed")
	}
	return checkIDs(user, field, ids...)
}

func checkIDs(user presence.User, field string, ids ...presence.UserID) error {
	if !presence.ValidUserID(string(user.ID)) {
		return fault.Invalid("user", "must be 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
	}
	for i, id := range ids {
		which := "" // the only one there is
		if len(ids) > 1 {
			which = fmt.Sprintf("entry %d ", i)
		}
		if !presence.ValidUserID(string(id)) {
			return fault.Invalid(field, "%smust be 1 to %d bytes of UTF-8 without control characters", which, presence.MaxUserID)
		}
		if id == user.ID {
			return fault.Invalid(field, "%sis the user himself, who always sees himself", which)
		}
	}
	return nil
}

// change makes the edits, all checked before the first is stored. The pages'
// turns are held.
func (r *Roster) change(ctx context.Context, edits ...edit) (changed bool, err error) {
	for range moves {
		done, err := r.changeOnce(ctx, edits)
		changed = changed || done
		if err == nil {
			return changed, nil
		}
		if !errors.Is(err, store.ErrMoved) {
			return false, r.refine(ctx, err, edits[0].page.user.App)
		}
	}
	return false, fault.Retry(fault.FriendsUnavailable, retryAfter, "others change this list all the time; try again")
}

func (r *Roster) changeOnce(ctx context.Context, edits []edit) (changed bool, err error) {
	next := make([]*friendList, len(edits))
	for i, e := range edits {
		app := r.app(e.page.user.App)
		if err := r.current(ctx, e.page); err != nil {
			return false, err
		}
		before := e.page.list.friends
		after := e.next(before)
		if slices.Equal(before, after) {
			continue
		}
		if len(after) > app.MaxFriends && len(after) > len(before) {
			return false, fault.New(fault.LimitFriends, "the list of %q would have %d users; at most %d are allowed", e.page.user.ID, len(after), app.MaxFriends)
		}
		next[i] = r.with(e.page, app, after)
	}
	// After the lists were read: what is said at another node from here on makes the
	// store refuse this, and it is asked again.
	if err := r.cfg.Takes(); err != nil {
		return false, err
	}
	for i, e := range edits {
		if next[i] == nil {
			continue
		}
		if err := r.save(ctx, e.page, next[i]); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// Push takes what a source says has changed on user's list: it holds at once for
// who follows, and until the list is asked for again. Of a list that is not
// known nothing is kept: it will be asked for when somebody needs it. It fails
// with FieldInvalid where the lists are ours, with LimitFriends, and with what
// Config.Takes says.
func (r *Roster) Push(ctx context.Context, user presence.User, added, removed []presence.UserID) error {
	app := r.app(user.App)
	if app.Source == nil {
		return fault.Invalid("friends.source", "this app's friend lists are kept here: change them instead of pushing")
	}
	if err := errors.Join(checkIDs(user, "added", added...), checkIDs(user, "removed", removed...)); err != nil {
		return err
	}
	p, err := r.open(ctx, user)
	if err != nil {
		return err
	}
	defer r.close(p)
	if app.Visibility == Friends {
		if err := r.fromStore(ctx, p, false); err != nil {
			return r.refine(ctx, err, user.App)
		}
	}
	if err := r.cfg.Takes(); err != nil {
		return err
	}
	defer r.cfg.Pushed(user)
	if p.list == nil {
		return nil
	}
	friends := distinct(slices.Concat(without(p.list.friends, removed), added), user.ID)
	if len(friends) > app.MaxFriends {
		return fault.New(fault.LimitFriends, "the list would have %d users; at most %d are allowed", len(friends), app.MaxFriends)
	}
	if slices.Equal(friends, p.list.friends) {
		return nil
	}
	if err := r.save(ctx, p, r.with(p, app, friends)); err != nil {
		return r.refine(ctx, err, user.App)
	}
	return nil
}

// Invalidate says that a source's list of user changed in a way that is not
// known: it is asked for again, at once if a session needs it, and what changed
// is told. Where the lists are ours it does nothing.
func (r *Roster) Invalidate(user presence.User) {
	if r.app(user.App).Source == nil {
		return
	}
	r.Reread(user)
	r.cfg.Pushed(user)
}
