package isonline

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// farewell is how long a stream that ends may take to send what is queued and
// its closing message before it ends without.
const farewell = time.Second

// friendsWait is how long a device that comes back after a restart waits for
// its friend list before it is connected without.
const friendsWait = time.Second

// ConnectToIsOnlineSession opens the events stream of a session and makes it
// visible, or takes up one that was (document, "Incepting an IsOnline Session",
// step 3). The stream never ends with OK but after the session's own close.
func (d *Door) ConnectToIsOnlineSession(req *isonlinev1.ConnectToIsOnlineSessionRequest, ss grpc.ServerStreamingServer[isonlinev1.ConnectToIsOnlineSessionResponse]) error {
	return d.stay(req, ss)
}

// stay holds an events stream on whatever carries it, to its end.
func (d *Door) stay(req *isonlinev1.ConnectToIsOnlineSessionRequest, out transport) error {
	s, err := d.openAside(req, out)
	if err != nil {
		return err
	}
	defer s.leave()
	select {
	case <-out.Context().Done():
		return out.Context().Err()
	case end := <-s.ended:
		return s.end(end)
	}
}

// openAside runs open on a goroutine of its own. The stream's goroutine lives as
// long as the stream; checks and the store go deep, and a stack that has grown
// for them hardly ever shrinks: 4 KB for each idle device.
func (d *Door) openAside(req *isonlinev1.ConnectToIsOnlineSessionRequest, out transport) (s *stream, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer d.recovered(out.Context(), isonlinev1.IsOnlineService_ConnectToIsOnlineSession_FullMethodName, &err)
		s, err = d.open(req, out)
	}()
	<-done
	return s, err
}

// open checks the call, makes the session visible and attaches its stream.
func (d *Door) open(req *isonlinev1.ConnectToIsOnlineSessionRequest, out transport) (*stream, error) {
	ctx := out.Context()
	ref, err := d.session(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	var initial *presence.Status
	if req.GetInitial() != nil {
		if initial, err = statusOf("initial", req.GetInitial()); err != nil {
			return nil, err
		}
	}
	device, err := d.cfg.Tracker.CheckResume(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Roster.Hold(ctx, ref.User, ref.Session); err != nil {
		// Being online does not depend on a list; whom one sees waits for it.
		d.cfg.Roster.Rejoin(ref.User, ref.Session, nil)
	}
	w, err := d.join(ref, device.Locale)
	if err != nil {
		return nil, err
	}
	if err := w.CanResume(req.ResumeAfter); err != nil {
		return nil, err
	}
	link, addr := d.caller(ctx)
	if link == nil {
		return nil, errors.New("isonline: the call has no counted connection")
	}
	s := &stream{door: d, ref: ref, platform: device.Platform, watcher: w, conn: link, out: out, ended: make(chan tracker.End, 1)}
	s.state.Store(busy) // nothing is drained before the connected message
	link.carry(ref.User)
	attached := false
	defer func() { // a panic must not leave the link with the session either
		if !attached {
			s.leave()
		}
	}()
	c, err := d.cfg.Tracker.Connect(ctx, ref, tracker.ConnectParams{Link: s, Initial: initial, Addr: addr})
	if err != nil {
		return nil, err
	}
	if err := s.attach(c, req.ResumeAfter); err != nil {
		return nil, err
	}
	attached = true
	return s, nil
}

// attach takes up the session's stream, says connected and lets it flow.
func (s *stream) attach(c tracker.Connected, after *uint64) error {
	if err := s.restore(c, after != nil); err != nil {
		return err
	}
	if !c.Resumed {
		after = nil
	}
	a, err := s.watcher.Attach(s.wake, after)
	if err != nil {
		return err
	}
	s.attachment = a.Stream
	if err := s.send(s.watcher.Next(s.attachment), &isonlinev1.ConnectToIsOnlineSessionResponse{
		Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{Connected: &isonlinev1.Connected{
			SessionId: c.Public.String(), ServerTime: stamp(presence.At(s.door.now())),
			Resumed: c.Resumed, Resync: a.Resync || c.Unclean,
		}},
	}); err != nil {
		return err
	}
	s.watch()
	s.state.Store(waiting)
	s.door.flushers.add(s)
	return nil
}

// restore takes up what the session watched before its node started anew.
func (s *stream) restore(c tracker.Connected, numbered bool) error {
	if len(c.Restored) == 0 && !c.RestoredFriends {
		return nil
	}
	// With a number to go on from, Attach marks the end of the full snapshot.
	scope := hub.ScopeAll
	if numbered || len(c.Restored) == 0 {
		scope = hub.ScopeNone
	}
	if err := s.watcher.Restore(c.Restored, scope); err != nil {
		return err
	}
	if c.RestoredFriends {
		s.watcher.WatchFriendsLater() // the subscription stands, with or without a list
		s.rejoin()
	}
	s.door.cfg.Tracker.WatchesChanged(s.ref)
	return nil
}

// rejoin makes the session follow its friends again: at once, or if the list
// cannot be read now, when it can be. The device is told of them then.
func (s *stream) rejoin() {
	follow := func(friends []presence.UserID) error {
		if !s.watcher.OwesFriends() {
			return nil // the device has subscribed or unsubscribed itself meanwhile
		}
		_, err := s.watcher.WatchFriends(friends)
		return err
	}
	ctx, cancel := context.WithTimeout(s.out.Context(), friendsWait)
	defer cancel()
	if s.door.cfg.Roster.Follow(ctx, s.ref.User, follow) != nil {
		s.door.cfg.Roster.Rejoin(s.ref.User, s.ref.Session, follow)
		if !s.door.cfg.Tracker.Alive(s.ref) {
			s.door.cfg.Roster.Gone(s.ref.Session) // it ended just before: nobody else would take this back
		}
	}
}

// leave gives up what the stream holds: its watcher, its session's link, its
// place on the connection. What another stream has taken over stays with it.
func (s *stream) leave() {
	s.detach()
	s.door.cfg.Tracker.LinkLost(s.ref, s)
	s.conn.release()
}

// end says goodbye and returns what the stream ends with (protocol note A4).
func (s *stream) end(e tracker.End) error {
	closing := &isonlinev1.Closing{}
	var err error
	switch e.Cause {
	case tracker.CauseReplaced:
		closing.Reason, closing.SessionKept = isonlinev1.ClosingReason_CLOSING_REASON_REPLACED_STREAM, true
		err = fault.New(fault.ReplacedStream, "another stream of this session took over")
	case tracker.CauseDraining:
		closing.Reason, closing.SessionKept = isonlinev1.ClosingReason_CLOSING_REASON_DRAINING, true
		closing.RetryAfter = durationOf(e.RetryAfter)
		err = fault.Retry(fault.Draining, e.RetryAfter, "this node is stopping; connect again with the same session token")
	case causeSlow:
		closing.Reason, closing.SessionKept = isonlinev1.ClosingReason_CLOSING_REASON_SLOW, true
		closing.RetryAfter = durationOf(time.Second)
		err = fault.New(fault.SlowConsumer, "nothing was read from the stream for %v; connect again with resume_after", WriteLimit)
	case tracker.CauseClosed:
		closing.Reason = isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED
		closing.SessionCloseReason = closeReason(e.Reason)
		if e.Reason != presence.ReasonLogout && e.Reason != presence.ReasonLeft {
			err = fault.New(fault.SessionGone, "the session was closed: %s", e.Reason)
		}
		if e.Reason == presence.ReasonTimedOut && s.silent() {
			// The peer is half open, most likely: do not keep its connection.
			defer s.closeConn()
		}
	}
	s.sayGoodbye(closing)
	return err
}

// silent reports that nothing was read on the connection for as long as a
// session lives without a sign of life. One that is bound to Heartbeat times out
// on a connection that may be well, and its closing message must get through.
func (s *stream) silent() bool {
	if w, ok := s.out.(*webStream); ok && !w.x.http2 {
		return false // nobody pings there
	}
	return s.door.cfg.Wheel.Now()-s.conn.LastRead() >= s.timeout()
}

// closeConn closes the connection if it carries no other session.
func (s *stream) closeConn() {
	if s.conn.alone() {
		s.conn.Close()
	}
}
