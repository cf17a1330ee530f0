package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// step is how far a device has come.
type step uint8

const (
	stepMake      step = iota // waits for its session token
	stepSubscribe             // waits for the answer to its subscriptions
	stepSnapshot              // stream open, waits for the snapshot of its friends
	stepReady                 // logged in
	stepLeft                  // said good-bye
)

func (s step) String() string {
	return [...]string{"make a session", "subscribe", "connect", "logged in", "left"}[s]
}

// device is one user of the load: his connection, his session, how far he is.
type device struct {
	user    int32
	target  *target
	fd      int   // -1 when closed
	slot    int32 // number in the epoll set
	blocked bool  // waits until it may write
	link    *link
	rest    []byte // begin of a frame not yet complete

	step      step
	session   []byte // field 1 of every request: the session token, encoded
	call      uint32 // stream of the unary call under way, 0 when none
	events    uint32 // stream of the events
	snapshots int    // users whose snapshot is complete
	sentAt    int64  // when the last change was sent
}

var _ listener = (*device)(nil)

func (d *device) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bench: %s, user %s (%s): %w", d.target.name, userName(int(d.user)), d.step, err)
}

func (d *device) close() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd) // only read from and given up: nothing to lose
		d.fd = -1
	}
}

// unary starts a unary call; the answer arrives at message and ended.
func (d *device) unary(path string, parts ...[]byte) (err error) {
	if d.call != 0 {
		return fmt.Errorf("a second call before the first was answered")
	}
	d.call, err = d.link.call(path, parts...)
	return err
}

// start makes the session.
func (d *device) start() error {
	req, err := proto.Marshal(&isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{
		Platform: "linux", Product: "bench", Locale: "en-US", DeviceId: userName(int(d.user)), ClientVersion: "1",
	}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return d.unary(isonlinev1.IsOnlineService_MakeIsOnlineSession_FullMethodName, req)
}

// message handles one message of the server.
func (d *device) message(stream uint32, msg []byte) error {
	switch {
	case stream == d.events:
		return d.event(msg)
	case stream == d.call && d.step == stepMake:
		var made isonlinev1.MakeIsOnlineSessionResponse
		if err := proto.Unmarshal(msg, &made); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		d.session = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), made.GetSessionToken())
	case stream == d.call && d.step == stepSubscribe:
		var done isonlinev1.SubscribeToUsersIsOnlineResponse
		if err := proto.Unmarshal(msg, &done); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		if n := len(done.GetRejected()); n > 0 {
			return fmt.Errorf("the server refused %d of the %d subscriptions", n, len(d.target.graph[d.user]))
		}
	}
	return nil
}

// ended handles the end of a call or of the stream of events.
func (d *device) ended(stream uint32, code codes.Code, detail string) error {
	switch {
	case d.step == stepLeft:
		d.call = 0
		if stream != d.events {
			d.target.left++
		}
		return nil
	case code != codes.OK:
		return fmt.Errorf("%s: %s", code, detail)
	case stream == d.events:
		return fmt.Errorf("the server ended the stream of events")
	case stream != d.call:
		return nil
	}
	d.call = 0
	switch d.step {
	case stepMake:
		d.step = stepSubscribe
		req := append([]byte(nil), d.session...)
		for _, friend := range d.target.graph[d.user] {
			req = protowire.AppendString(protowire.AppendTag(req, 2, protowire.BytesType), userName(int(friend)))
		}
		return d.unary(isonlinev1.IsOnlineService_SubscribeToUsersIsOnline_FullMethodName, req)
	case stepSubscribe:
		d.step = stepSnapshot
		var err error
		d.events, err = d.link.call(isonlinev1.IsOnlineService_ConnectToIsOnlineSession_FullMethodName, d.session, d.target.initial)
		return err
	default:
		d.target.answered++
		return nil
	}
}

// event handles one message of the stream of events.
func (d *device) event(msg []byte) error {
	kind, body, err := eventOf(msg)
	if err != nil {
		return err
	}
	t := d.target
	switch kind {
	case eventNotification:
		t.notifications++
		if at, ok := sentAt(body); ok {
			t.delivered(t.readAt - at)
		}
	case eventSnapshotDone:
		if d.step != stepSnapshot {
			return nil
		}
		var done isonlinev1.SnapshotDone
		if err := proto.Unmarshal(body, &done); err != nil {
			return fmt.Errorf("decode the end of a snapshot: %w", err)
		}
		if d.snapshots += max(int(done.GetUsers()), 1); d.snapshots >= len(t.graph[d.user]) || done.GetAll() {
			d.step = stepReady
			t.ready++
		}
	case eventClosing:
		if d.step == stepLeft {
			return nil
		}
		var c isonlinev1.Closing
		if err := proto.Unmarshal(body, &c); err != nil {
			return fmt.Errorf("decode the closing: %w", err)
		}
		return fmt.Errorf("the server closes the stream: %s", c.GetReason())
	}
	return nil
}

// update sends one change with the time stamp now.
func (d *device) update(c *change, now int64) error {
	d.sentAt = now
	return d.unary(isonlinev1.IsOnlineService_UpdateIsOnlineSession_FullMethodName, d.session, c.at(now))
}

// leave closes the session politely.
func (d *device) leave() error {
	d.step = stepLeft
	mode := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(isonlinev1.CloseMode_CLOSE_MODE_LEAVE))
	return d.unary(isonlinev1.IsOnlineService_CloseIsOnlineSession_FullMethodName, d.session, mode)
}
