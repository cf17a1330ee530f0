package admit

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Watch subscribes a session to users, all or none, and returns those that it
// watched before. The mark of the scope follows the last snapshot.
func (g *Gate) Watch(ctx context.Context, ref tracker.Ref, users []presence.UserID, scope hub.Scope) ([]presence.UserID, error) {
	w, err := g.watcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	already, err := w.Watch(users, scope)
	if err == nil && len(already) < len(users) {
		g.cfg.Tracker.WatchesChanged(ref)
	}
	if err == nil {
		err = g.cfg.Tracker.Keeps(ctx, ref)
	}
	return already, err
}

// Unwatch ends the subscription to a user. was says whether there was one, still
// whether he stays watched as a friend.
func (g *Gate) Unwatch(ctx context.Context, ref tracker.Ref, user presence.UserID) (was, still bool, err error) {
	w, err := g.standing(ctx, ref)
	if err != nil || w == nil {
		return false, false, err
	}
	was, still = w.Unwatch(user)
	if was {
		g.cfg.Tracker.WatchesChanged(ref)
	}
	return was, still, g.cfg.Tracker.Keeps(ctx, ref)
}

// WatchFriends subscribes a session to everybody on its user's friend list, all
// or none, and follows the list from then on. friends is how many there are.
func (g *Gate) WatchFriends(ctx context.Context, ref tracker.Ref) (friends int, already bool, err error) {
	w, err := g.watcher(ctx, ref)
	if err != nil {
		return 0, false, err
	}
	err = g.cfg.Roster.Follow(ctx, ref.User, func(list []presence.UserID) (err error) {
		friends = len(list)
		already, err = w.WatchFriends(list)
		return err
	})
	if err == nil && !already {
		g.cfg.Tracker.WatchesChanged(ref)
	}
	if err == nil {
		err = g.cfg.Tracker.Keeps(ctx, ref)
	}
	return friends, already, err
}

// UnwatchFriends ends that, and says whether it was.
func (g *Gate) UnwatchFriends(ctx context.Context, ref tracker.Ref) (was bool, err error) {
	w, err := g.standing(ctx, ref)
	if err != nil || w == nil {
		return false, err
	}
	if was = w.UnwatchFriends(); was {
		g.cfg.Tracker.WatchesChanged(ref)
	}
	return was, g.cfg.Tracker.Keeps(ctx, ref)
}

// watcher returns the hub's end of a session that is not closed. It fails with
// FriendsUnavailable where only friends see each other and the session's user
// has no list yet: whoever watched then would be told that nobody is there.
func (g *Gate) watcher(ctx context.Context, ref tracker.Ref) (*hub.Watcher, error) {
	device, err := g.cfg.Tracker.Check(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := g.cfg.Roster.Hold(ctx, ref.User, ref.Session); err != nil {
		return nil, err
	}
	return g.join(ref, device.Locale)
}

// standing returns the watcher of a session that is not closed, if it ever
// watched or connected: what it ends depends on nothing else.
func (g *Gate) standing(ctx context.Context, ref tracker.Ref) (*hub.Watcher, error) {
	if _, err := g.cfg.Tracker.Check(ctx, ref); err != nil {
		return nil, err
	}
	return g.cfg.Hub.Watcher(ref.Session), nil
}

// join makes the session's watcher, or finds it. A session that ended between
// the check and the join must leave nothing behind.
func (g *Gate) join(ref tracker.Ref, locale string) (*hub.Watcher, error) {
	w := g.cfg.Hub.Join(ref.Session, hub.Params{User: ref.User, Locale: locale, Limit: g.Limits(ref.User.App).Watches})
	if !g.cfg.Tracker.Alive(ref) {
		g.cfg.Hub.Gone(ref.Session)
		g.cfg.Roster.Gone(ref.Session)
		return nil, fault.New(fault.SessionGone, "the session is closed or unknown; make a new one")
	}
	return w, nil
}
