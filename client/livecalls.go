package client

import (
	"context"
	"time"
)

// call makes a call on a session's connection. An access token that expired on
// it is replaced once.
func (d *liveDoor) call(ctx context.Context, session string, req liveRequest) (liveMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	link, err := d.current(session)
	if err != nil {
		return liveMessage{}, err
	}
	return d.callOn(ctx, link, req)
}

func (d *liveDoor) callOn(ctx context.Context, link *liveLink, req liveRequest) (liveMessage, error) {
	for first := true; ; first = false {
		answer, err := link.call(ctx, req)
		if reason := ReasonOf(err); !first || reason != ReasonJWTExpired && reason != ReasonJWTInvalid {
			return answer, err
		}
		d.tokens.refuse(link.accessToken())
		token, err := d.tokens.get(ctx)
		if err != nil {
			return liveMessage{}, err
		}
		if _, err := link.call(ctx, liveRequest{T: "token", Token: token}); err != nil {
			return liveMessage{}, err
		}
		link.freshened(token)
	}
}

func (d *liveDoor) watch(ctx context.Context, session string, users []string) (refused []string, err error) {
	answer, err := d.call(ctx, session, liveRequest{T: "watch", Users: users})
	return answer.Rejected, err
}

func (d *liveDoor) unwatch(ctx context.Context, session, user string) (friend bool, err error) {
	answer, err := d.call(ctx, session, liveRequest{T: "unwatch", Users: []string{user}})
	return len(answer.Still) > 0, err
}

func (d *liveDoor) watchFriends(ctx context.Context, session string) error {
	_, err := d.call(ctx, session, liveRequest{T: "watch", Friends: true})
	return err
}

func (d *liveDoor) unwatchFriends(ctx context.Context, session string) error {
	_, err := d.call(ctx, session, liveRequest{T: "unwatch", Friends: true})
	return err
}

func (d *liveDoor) set(ctx context.Context, session string, status Status) error {
	says := toLiveStatus(status)
	_, err := d.call(ctx, session, liveRequest{T: "set", Status: &says})
	return err
}

func (d *liveDoor) patch(ctx context.Context, session string, p Patch) error {
	_, err := d.call(ctx, session, toLivePatch(p))
	return err
}

// heartbeat: whatever is read on the connection is a sign of life, so a ping is
// as good as any.
func (d *liveDoor) heartbeat(ctx context.Context, session string) (next time.Duration, attached bool, err error) {
	link, err := d.current(session)
	if err != nil {
		return 0, false, err
	}
	_, err = d.call(ctx, session, liveRequest{T: "ping"})
	return ms(link.welcome.Heartbeat), true, err
}

// end says good-bye on the session's connection, or on one made for it.
func (d *liveDoor) end(ctx context.Context, session string, logout bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	bye := liveRequest{T: "bye", Mode: "leave"}
	if logout {
		bye.Mode = "logout"
	}
	s, err := d.find(session)
	if err != nil {
		return err
	}
	link := s.link
	if link.over() {
		if link, err = d.open(ctx, liveRequest{T: "hello", Resume: s.resume, Device: toLiveDevice(d.device)}); err != nil {
			return err
		}
		defer link.end(ErrClosed)
	}
	_, err = d.callOn(ctx, link, bye)
	return err
}

// query needs the connection of a session, which this door has and the gRPC one
// can do without.
func (d *liveDoor) query(ctx context.Context, users []string) ([]Presence, error) {
	d.mu.Lock()
	session, lost := "", len(d.sessions) > 0
	for name, s := range d.sessions {
		if !s.link.over() {
			session = name
		}
	}
	d.mu.Unlock()
	switch {
	case session == "" && lost:
		return nil, errLinkDown
	case session == "":
		return nil, &Error{Code: CodeFailedPrecondition, Reason: ReasonSessionNotConnected,
			Detail: "a query at the live door needs an open session: call Open first, or use the gRPC address"}
	}
	answer, err := d.call(ctx, session, liveRequest{T: "get", Users: users, Sessions: true, Locale: d.locale})
	if err != nil {
		return nil, err
	}
	return fromLiveUsers(answer.Users), nil
}
