package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// retryAfter is what callers are told when a list cannot be read or written.
const retryAfter = 2 * time.Second

// current makes p.list known and as new as the app wants it; p's turn is held.
// What changed is told. Its errors are faults, or ctx's.
func (r *Roster) current(ctx context.Context, p *page) error {
	app := r.app(p.user.App)
	if app.Source == nil || p.list == nil {
		return r.fresh(ctx, p)
	}
	age := time.Since(p.readAt)
	if age >= app.MaxAge && age < 2*app.MaxAge && !r.isDown(p.user.App) && !r.mustRead(p) {
		r.mu.Lock()
		p.renew = true
		r.mu.Unlock()
		r.later(p, 0)
		return nil
	}
	return r.fresh(ctx, p)
}

// fresh is current without using a list that is older than it should be.
func (r *Roster) fresh(ctx context.Context, p *page) (err error) {
	again := r.readAgain(p, false)
	app := r.app(p.user.App)
	if app.Source == nil || app.Visibility == Friends {
		err = r.fromStore(ctx, p, again)
	}
	if err == nil && app.Source != nil && (again || p.list == nil || p.readAt.IsZero() || time.Since(p.readAt) >= app.MaxAge) {
		err = r.fromSource(ctx, p, app)
	}
	if err == nil && (again || !r.sees(p)) {
		r.show(p, app)
	}
	// Also after an error: what was known of the list will do for seeing, and
	// where nothing was, the user sees only himself.
	if again || r.sees(p) && p.blind.Swap(false) {
		r.listener.SightChanged(p.user, nil)
	}
	if err != nil {
		p.failures++
		if again {
			r.readAgain(p, true)
		}
		return r.refine(ctx, err, p.user.App)
	}
	p.failures = 0
	return nil
}

// readAgain says from now on whether what is known of a page may not be used,
// and returns what was said before.
func (r *Roster) readAgain(p *page, again bool) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, p.again = p.again, again
	return before
}

// mustRead says whether what is known of a page may not be used.
func (r *Roster) mustRead(p *page) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return p.again
}

// sees says whether it is known whom a page's user sees, if only friends.
func (r *Roster) sees(p *page) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return p.sight != nil
}

// show makes the page's sight of its list.
func (r *Roster) show(p *page, app AppConfig) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.sight = nil
	if app.Visibility == Friends {
		p.sight = look(p.user, p.list, r.veils[p.user])
	}
}

// fromStore reads the stored value if it was not, or must be read again. Where
// a source has the lists, the stored one is what it said last, and old; if it
// never said anything that was kept, the list stays unknown.
func (r *Roster) fromStore(ctx context.Context, p *page, again bool) error {
	sourced := r.app(p.user.App).Source != nil
	if p.stored && !again && (p.list != nil || sourced) {
		return nil
	}
	v, err := r.cfg.Store.LoadRoster(ctx, store.RosterList, p.user)
	if err != nil {
		return err
	}
	next := &friendList{}
	if v.Value != nil {
		if next.friends, next.former, err = parseList(v.Value); err != nil {
			return err
		}
	}
	p.revision = v.Revision
	if v.Value == nil && sourced && p.list != nil && !p.stored {
		// The list is of a time when a source's were not stored: it stays, and
		// fromSource stores it.
		r.show(p, r.app(p.user.App))
		return nil
	}
	p.stored = true
	if v.Value != nil || !sourced || p.list != nil {
		r.publish(p, next)
	}
	return nil
}

// fromSource asks the source, and tells and stores what changed.
func (r *Roster) fromSource(ctx context.Context, p *page, app AppConfig) error {
	asked := time.Now()
	friends, err := app.Source.Friends(ctx, p.user)
	if err == nil {
		friends, err = checkSourced(friends, p.user, app)
	}
	if ctx.Err() == nil {
		r.report(p.user.App, err)
	}
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case err != nil:
		return sourceError{err}
	}
	unsaved := app.Visibility == Friends && !p.stored
	if p.list == nil || unsaved || !slices.Equal(p.list.friends, friends) {
		if err := r.save(ctx, p, r.with(p, app, friends)); err != nil {
			return err
		}
	}
	p.readAt = asked
	return nil
}

// checkSourced makes a set of what a source gave, and refuses what is none.
func checkSourced(friends []presence.UserID, user presence.User, app AppConfig) ([]presence.UserID, error) {
	for i, id := range friends {
		if !presence.ValidUserID(string(id)) {
			return nil, fmt.Errorf("friend %d is no user id (1 to %d bytes of UTF-8 without control characters)", i, presence.MaxUserID)
		}
	}
	friends = distinct(friends, user.ID)
	if len(friends) > app.MaxFriends {
		return nil, fault.New(fault.LimitFriends, "the friend list has %d users; at most %d are allowed", len(friends), app.MaxFriends)
	}
	return friends, nil
}

// with returns the page's list with other friends. Where only friends see each
// other, it freezes what may be known of those who went. Nobody is a friend and
// a former one.
func (r *Roster) with(p *page, app AppConfig, friends []presence.UserID) *friendList {
	next := &friendList{friends: friends}
	if p.list == nil || app.Visibility != Friends && len(p.list.former) == 0 {
		return next
	}
	added, removed := difference(p.list.friends, friends)
	next.former = lift(p.list.former, slices.Concat(added, removed))
	if app.Visibility != Friends {
		return next
	}
	now := presence.At(time.Now())
	for _, id := range removed {
		next.former = append(next.former, veiled{id, r.freeze(p.user, id, now)})
	}
	if over := len(next.former) - app.MaxFriends; over > 0 {
		next.former = next.former[over:] // of the oldest nothing is known any more
	}
	return next
}

// lift returns veils without those of ids, in memory of their own.
func lift(veils []veiled, ids []presence.UserID) []veiled {
	in := make(map[presence.UserID]struct{}, len(ids))
	for _, id := range ids {
		in[id] = struct{}{}
	}
	return slices.DeleteFunc(slices.Clone(veils), func(v veiled) bool { _, ok := in[v.id]; return ok })
}

// save stores a page's next list and publishes it. Lists that a source has are
// stored only where only friends see each other: who was a friend must be known
// after a restart.
func (r *Roster) save(ctx context.Context, p *page, next *friendList) error {
	app := r.app(p.user.App)
	if app.Source != nil && app.Visibility != Friends {
		r.publish(p, next)
		return nil
	}
	return r.store(ctx, p, next)
}

// store is save, wherever the lists come from.
func (r *Roster) store(ctx context.Context, p *page, next *friendList) error {
	value := next.encode()
	if value != nil {
		// A list that nobody can read would stay so.
		if _, _, err := parseList(value); err != nil {
			return fmt.Errorf("not stored, since it could not be read back: %w", err)
		}
	}
	if len(value) > store.MaxRosterValue {
		return fault.New(fault.LimitFriends, "the list would take %d bytes; at most %d are allowed", len(value), store.MaxRosterValue)
	}
	revision, err := r.cfg.Store.SaveRoster(ctx, store.RosterList, store.Roster{User: p.user, Value: value, Revision: p.revision})
	if err != nil {
		if !errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrMoved) {
			// It may be stored, or another list is: what is there is told when it is
			// read again.
			r.readAgain(p, true)
		}
		return err
	}
	p.revision, p.stored = revision, true
	r.publish(p, next)
	return nil
}

// publish makes a list readable and tells what it changes.
func (r *Roster) publish(p *page, next *friendList) {
	app := r.app(p.user.App)
	old := p.list
	next.size = next.bytes()
	r.mu.Lock()
	p.list = next
	r.mu.Unlock()
	r.show(p, app)
	if old == nil {
		return // nobody follows what was never read
	}
	added, removed := difference(old.friends, next.friends)
	// Of a former friend too old to be remembered, or erased, less is known now.
	gone := slices.Concat(removed, without(ids(old.former), slices.Concat(ids(next.former), added)))
	if app.Visibility == Friends && len(added) > 0 {
		r.listener.SightChanged(p.user, added)
	}
	if len(added)+len(removed) > 0 {
		r.listener.FriendsChanged(p.user, added, removed)
	}
	if app.Visibility == Friends && len(gone) > 0 {
		r.listener.SightChanged(p.user, gone)
	}
}

func ids(veils []veiled) []presence.UserID {
	all := make([]presence.UserID, len(veils))
	for i, v := range veils {
		all[i] = v.id
	}
	return all
}

// sourceError is what a source failed with; report has logged it.
type sourceError struct{ error }

// refine makes a fault of what went wrong with a list.
func (r *Roster) refine(ctx context.Context, err error, app presence.AppID) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if !errors.As(err, new(sourceError)) {
		r.log.Warn("a friend list or a block cannot be read or stored", "app", app, "error", err)
	}
	return fault.Retry(fault.FriendsUnavailable, retryAfter, "the friend list cannot be had at the moment, and nothing was changed or subscribed; try again")
}
