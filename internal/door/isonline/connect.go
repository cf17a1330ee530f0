package isonline

import (
	"errors"
	"time"

	"google.golang.org/grpc"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// farewell is how long a stream that ends may take to send what is queued and
// its closing message before it ends without.
const farewell = time.Second

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
	ref, maker, err := d.sessionOf(ctx, req.GetSessionToken())
	if err != nil {
		return nil, err
	}
	var initial *presence.Status
	if req.GetInitial() != nil {
		if initial, err = statusOf("initial", req.GetInitial()); err != nil {
			return nil, err
		}
	}
	entry, err := d.cfg.Gate.Prepare(ctx, ref, maker, req.ResumeAfter)
	if err != nil {
		return nil, err
	}
	link, addr := d.caller(ctx)
	if link == nil {
		return nil, errors.New("isonline: the call has no counted connection")
	}
	s := &stream{door: d, ref: ref, platform: entry.Device.Platform, watcher: entry.Watcher, conn: link, out: out, ended: make(chan tracker.End, 1)}
	s.state.Store(busy) // nothing is drained before the connected message
	link.carry(ref.User)
	attached := false
	defer func() { // a panic must not leave the link with the session either
		if !attached {
			s.leave()
		}
	}()
	e, err := entry.Enter(ctx, tracker.ConnectParams{Link: s, Initial: initial, Addr: addr, Door: Name, Maker: maker}, admit.Reader{Encoder: d.enc, Wake: s.wake})
	if err != nil {
		return nil, err
	}
	if err := s.attach(&e); err != nil {
		return nil, err
	}
	attached = true
	return s, nil
}

// attach says connected and lets the stream flow.
func (s *stream) attach(e *admit.Entered) error {
	s.attachment = e.Attachment
	if err := s.send(s.watcher.Next(s.attachment), &isonlinev1.ConnectToIsOnlineSessionResponse{
		Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{Connected: &isonlinev1.Connected{
			SessionId: e.Public.String(), ServerTime: stamp(presence.At(s.door.now())), Resumed: e.Resumed, Resync: e.Resync,
		}},
	}); err != nil {
		return err
	}
	s.watch()
	s.state.Store(waiting)
	s.door.flushers.add(s)
	return nil
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
