package client

import (
	"context"
	"time"
)

// door is a way to speak to the server. It gives values of this package and
// takes them; nothing above it knows the transport. session is what make gave:
// text that means something to the door alone.
type door interface {
	// make begins a session with a status. The same key on a second try gives
	// the same session.
	make(ctx context.Context, dev Device, key string, status Status) (made, error)
	// connect opens the session's stream and waits for the first frame. It lives
	// until ctx ends. after is the number of the last frame had, 0 for none.
	connect(ctx context.Context, session string, status Status, after uint64) (stream, frame, error)
	// forget is told of a session that is over, or lost to the server.
	forget(session string)

	// watch subscribes to at most chunk users and returns those refused.
	watch(ctx context.Context, session string, users []string) (refused []string, err error)
	// unwatch ends watching a user by name; friend says that he is told of all
	// the same, as a friend.
	unwatch(ctx context.Context, session, user string) (friend bool, err error)
	watchFriends(ctx context.Context, session string) error
	unwatchFriends(ctx context.Context, session string) error
	// set replaces the session's status, patch alters it.
	set(ctx context.Context, session string, status Status) error
	patch(ctx context.Context, session string, p Patch) error
	// end closes the session: as a logout, or as a device that leaves.
	end(ctx context.Context, session string, logout bool) error
	// heartbeat returns within what time the next one is due, and whether the
	// server still holds a stream of the session.
	heartbeat(ctx context.Context, session string) (next time.Duration, attached bool, err error)
	// query asks for at most chunk users.
	query(ctx context.Context, users []string) ([]Presence, error)

	// close ends the door and everything on it, for good.
	close() error
}

// stream is one connection of a session.
type stream interface {
	// next waits for a frame. An end without an error is an *Error like any other.
	next() (frame, error)
	// refuseToken makes the next call fetch a new access token.
	refuseToken()
	// leave says that the node at the other end goes.
	leave()
}
