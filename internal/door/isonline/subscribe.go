package isonline

import (
	"context"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// SubscribeToUserIsOnline sets the subscription up and answers; the current
// sessions of the user follow on the stream, at once or when it is opened
// (document, "Subscribing to Notifications", cases 1 and 2).
func (d *Door) SubscribeToUserIsOnline(ctx context.Context, req *isonlinev1.SubscribeToUserIsOnlineRequest) (*isonlinev1.SubscribeToUserIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	id, err := userOf("user_id", req.GetUserId())
	if err != nil {
		return nil, err
	}
	already, err := d.watch(ctx, ref, []presence.UserID{id}, hub.ScopeUser)
	if err != nil {
		return nil, err
	}
	return &isonlinev1.SubscribeToUserIsOnlineResponse{AlreadySubscribed: len(already) > 0}, nil
}

// SubscribeToUsersIsOnline is the same for many in one call, all or none: ids
// that cannot name a user come back as rejected and the others are watched.
// One SnapshotDone{all} follows the last snapshot.
func (d *Door) SubscribeToUsersIsOnline(ctx context.Context, req *isonlinev1.SubscribeToUsersIsOnlineRequest) (*isonlinev1.SubscribeToUsersIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	most := d.limits(ref.User.App).Watches
	if n := len(req.GetUserIds()); n > most {
		return nil, fault.New(fault.LimitSubscriptions, "%d users were asked for; a session may watch %d", n, most)
	}
	answer := &isonlinev1.SubscribeToUsersIsOnlineResponse{}
	users := make([]presence.UserID, 0, len(req.GetUserIds()))
	for _, s := range req.GetUserIds() {
		if presence.ValidUserID(s) {
			users = append(users, presence.UserID(s))
		} else {
			answer.Rejected = append(answer.Rejected, s)
		}
	}
	already, err := d.watch(ctx, ref, users, hub.ScopeAll)
	if err != nil {
		return nil, err
	}
	for _, u := range already {
		answer.AlreadySubscribed = append(answer.AlreadySubscribed, string(u))
	}
	return answer, nil
}

// UnsubscribeFromUserIsOnline ends a subscription; nothing about the user
// follows the SubscriptionEnded on the stream.
func (d *Door) UnsubscribeFromUserIsOnline(ctx context.Context, req *isonlinev1.UnsubscribeFromUserIsOnlineRequest) (*isonlinev1.UnsubscribeFromUserIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	id, err := userOf("user_id", req.GetUserId())
	if err != nil {
		return nil, err
	}
	w, err := d.standing(ctx, ref)
	if err != nil || w == nil {
		return &isonlinev1.UnsubscribeFromUserIsOnlineResponse{}, err
	}
	was, still := w.Unwatch(id)
	if was {
		d.cfg.Tracker.WatchesChanged(ref)
	}
	return &isonlinev1.UnsubscribeFromUserIsOnlineResponse{WasSubscribed: was, StillWatchedAsFriend: still}, nil
}

// SubscribeToFriendsIsOnline subscribes to everybody on the user's friend list,
// all or none, and follows the list from then on; at least one notification for
// each friend follows on the stream, then SnapshotDone{friends} (document,
// "Friend List Subscription").
func (d *Door) SubscribeToFriendsIsOnline(ctx context.Context, req *isonlinev1.SubscribeToFriendsIsOnlineRequest) (*isonlinev1.SubscribeToFriendsIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	w, err := d.watcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	answer := &isonlinev1.SubscribeToFriendsIsOnlineResponse{}
	err = d.cfg.Roster.Follow(ctx, ref.User, func(friends []presence.UserID) (err error) {
		answer.Friends = uint32(len(friends))
		answer.AlreadySubscribed, err = w.WatchFriends(friends)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !answer.AlreadySubscribed {
		d.cfg.Tracker.WatchesChanged(ref)
	}
	return answer, nil
}

// UnsubscribeFromFriendsIsOnline ends that; who is also subscribed to by name
// stays watched. A SubscriptionEnded follows for each of the others.
func (d *Door) UnsubscribeFromFriendsIsOnline(ctx context.Context, req *isonlinev1.UnsubscribeFromFriendsIsOnlineRequest) (*isonlinev1.UnsubscribeFromFriendsIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	w, err := d.standing(ctx, ref)
	if err != nil || w == nil {
		return &isonlinev1.UnsubscribeFromFriendsIsOnlineResponse{}, err
	}
	was := w.UnwatchFriends()
	if was {
		d.cfg.Tracker.WatchesChanged(ref)
	}
	return &isonlinev1.UnsubscribeFromFriendsIsOnlineResponse{WasSubscribed: was}, nil
}

func (d *Door) watch(ctx context.Context, ref tracker.Ref, users []presence.UserID, scope hub.Scope) ([]presence.UserID, error) {
	w, err := d.watcher(ctx, ref)
	if err != nil {
		return nil, err
	}
	already, err := w.Watch(users, scope)
	if err == nil && len(already) < len(users) {
		d.cfg.Tracker.WatchesChanged(ref)
	}
	return already, err
}

// watcher returns the hub's end of a session that is not closed. It fails with
// FriendsUnavailable where only friends see each other and the session's user
// has no list yet: whoever watched then would be told that nobody is there.
func (d *Door) watcher(ctx context.Context, ref tracker.Ref) (*hub.Watcher, error) {
	device, err := d.cfg.Tracker.Check(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Roster.Hold(ctx, ref.User, ref.Session); err != nil {
		return nil, err
	}
	return d.join(ref, device.Locale)
}

// standing returns the watcher of a session that is not closed, if it ever
// watched or connected: what it ends depends on nothing else.
func (d *Door) standing(ctx context.Context, ref tracker.Ref) (*hub.Watcher, error) {
	if _, err := d.cfg.Tracker.Check(ctx, ref); err != nil {
		return nil, err
	}
	return d.cfg.Hub.Watcher(ref.Session), nil
}

// join makes the session's watcher, or finds it. A session that ended between
// the check and the join must leave nothing behind.
func (d *Door) join(ref tracker.Ref, locale string) (*hub.Watcher, error) {
	w := d.cfg.Hub.Join(ref.Session, hub.Params{
		User: ref.User, Locale: locale, Encoder: d.enc, Limit: d.limits(ref.User.App).Watches,
	})
	if !d.cfg.Tracker.Alive(ref) {
		d.cfg.Hub.Gone(ref.Session)
		d.cfg.Roster.Gone(ref.Session)
		return nil, fault.New(fault.SessionGone, "the session is closed or unknown; make a new one")
	}
	return w, nil
}
