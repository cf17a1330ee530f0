package roster

import (
	"context"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Erase forgets a user: his list and blocks, and he leaves the lists and blocks
// of all others, whose watchers are told. It reads every stored list of the app.
// After an error something is left; repeat it. Lists that a source has are the
// source's affair, save what is stored of them here.
func (r *Roster) Erase(ctx context.Context, user presence.User) error {
	for _, step := range []func(context.Context, presence.User) error{
		r.eraseBlocks, r.eraseList, r.leaveLists,
	} {
		if err := step(ctx, user); err != nil {
			return r.refine(ctx, err, user.App)
		}
	}
	return nil
}

// eraseBlocks ends every block by the user and of the user.
func (r *Roster) eraseBlocks(ctx context.Context, user presence.User) error {
	pass, err := r.pens.take(ctx, user)
	if err != nil {
		return err
	}
	b, err := r.book(ctx, user)
	if err == nil && len(b.entries) > 0 {
		err = r.rewrite(ctx, user, b, nil)
	}
	pass()
	if err != nil {
		return err
	}
	r.mu.RLock()
	var blockers []presence.UserID
	if s := r.veils[user]; s != nil {
		for id := range s.blocked {
			blockers = append(blockers, id)
		}
	}
	r.mu.RUnlock()
	for _, id := range blockers {
		if _, err := r.Unblock(ctx, presence.User{App: user.App, ID: id}, user.ID); err != nil {
			return err
		}
	}
	return nil
}

// eraseList takes the user's own list away, and with it what was frozen.
func (r *Roster) eraseList(ctx context.Context, user presence.User) error {
	return r.forget(ctx, user, func(*friendList) *friendList { return &friendList{} })
}

// leaveLists takes the user off every stored list of his app.
func (r *Roster) leaveLists(ctx context.Context, user presence.User) error {
	return r.cfg.Store.ScanRosters(ctx, store.RosterList, user.App, func(v store.Roster) error {
		friends, former, err := parseList(v.Value)
		if err != nil {
			return err
		}
		if !slices.Contains(friends, user.ID) && !slices.ContainsFunc(former, func(v veiled) bool { return v.id == user.ID }) {
			return nil
		}
		gone := []presence.UserID{user.ID}
		return r.forget(ctx, v.User, func(l *friendList) *friendList {
			return &friendList{friends: without(l.friends, gone), former: lift(l.former, gone)}
		})
	})
}

// forget rewrites a user's stored list without freezing anything.
func (r *Roster) forget(ctx context.Context, user presence.User, f func(*friendList) *friendList) error {
	p, err := r.open(ctx, user)
	if err != nil {
		return err
	}
	defer r.close(p)
	if app := r.app(user.App); app.Source != nil && app.Visibility != Friends {
		return r.forgetOld(ctx, user, f)
	}
	if err := r.fromStore(ctx, p, r.mustRead(p)); err != nil {
		return err
	}
	if p.list == nil || len(p.list.friends)+len(p.list.former) == 0 {
		return nil
	}
	return r.store(ctx, p, f(p.list))
}

// forgetOld rewrites what is stored of the time before a source had the lists.
// The page has nothing to do with it.
func (r *Roster) forgetOld(ctx context.Context, user presence.User, f func(*friendList) *friendList) error {
	v, err := r.cfg.Store.LoadRoster(ctx, store.RosterList, user)
	if err != nil || v.Value == nil {
		return err
	}
	l := &friendList{}
	if l.friends, l.former, err = parseList(v.Value); err != nil {
		return err
	}
	v.Value = f(l).encode()
	_, err = r.cfg.Store.SaveRoster(ctx, store.RosterList, v)
	return err
}
