package isonline

import (
	"context"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// SubscribeToUserIsOnline sets the subscription up and answers; the current
// sessions of the user follow on the stream, at once or when it is opened
// (document, "Subscribing to Notifications", cases 1 and 2).
func (d *Door) SubscribeToUserIsOnline(ctx context.Context, req *isonlinev1.SubscribeToUserIsOnlineRequest) (*isonlinev1.SubscribeToUserIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	id, err := admit.User("user_id", req.GetUserId())
	if err != nil {
		return nil, err
	}
	already, err := d.cfg.Gate.Watch(ctx, ref, []presence.UserID{id}, hub.ScopeUser)
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
	most := d.cfg.Gate.Limits(ref.User.App).Watches
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
	already, err := d.cfg.Gate.Watch(ctx, ref, users, hub.ScopeAll)
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
	id, err := admit.User("user_id", req.GetUserId())
	if err != nil {
		return nil, err
	}
	was, still, err := d.cfg.Gate.Unwatch(ctx, ref, id)
	if err != nil {
		return nil, err
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
	friends, already, err := d.cfg.Gate.WatchFriends(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &isonlinev1.SubscribeToFriendsIsOnlineResponse{Friends: uint32(friends), AlreadySubscribed: already}, nil
}

// UnsubscribeFromFriendsIsOnline ends that; who is also subscribed to by name
// stays watched. A SubscriptionEnded follows for each of the others.
func (d *Door) UnsubscribeFromFriendsIsOnline(ctx context.Context, req *isonlinev1.UnsubscribeFromFriendsIsOnlineRequest) (*isonlinev1.UnsubscribeFromFriendsIsOnlineResponse, error) {
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	was, err := d.cfg.Gate.UnwatchFriends(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &isonlinev1.UnsubscribeFromFriendsIsOnlineResponse{WasSubscribed: was}, nil
}
