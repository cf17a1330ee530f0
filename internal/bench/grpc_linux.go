package bench

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// grpcDialect is the gRPC door's: what all devices of a target share.
type grpcDialect struct {
	authority string
	initial   []byte // field 2 of the Connect request: the status at login
	change    *change
}

func newGRPCDialect(authority string) (*grpcDialect, error) {
	c, err := newChange()
	if err != nil {
		return nil, err
	}
	first, err := proto.Marshal(loadUpdate(silentMarker))
	if err != nil {
		return nil, fmt.Errorf("bench: encode the first status: %w", err)
	}
	first = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), first)
	return &grpcDialect{authority: authority, initial: first, change: c}, nil
}

func (g *grpcDialect) speaker(d *device, token string) speaker {
	return &grpcSpeaker{device: d, dialect: g, link: newLink(g.authority, "Bearer "+token)}
}

// grpcSpeaker is one device at the gRPC door.
type grpcSpeaker struct {
	device  *device
	dialect *grpcDialect
	link    *link

	session []byte // field 1 of every request: the session token, encoded
	call    uint32 // stream of the unary call under way
	events  uint32 // stream of the events
}

var (
	_ listener = (*grpcSpeaker)(nil)
	_ speaker  = (*grpcSpeaker)(nil)
)

func (g *grpcSpeaker) out() *[]byte { return &g.link.out }

func (g *grpcSpeaker) feed(b []byte) ([]byte, error) { return g.link.feed(b, g) }

// unary starts a unary call; the answer arrives at message and ended.
func (g *grpcSpeaker) unary(path string, parts ...[]byte) (err error) {
	if g.device.busy {
		return fmt.Errorf("a second call before the first was answered")
	}
	g.device.busy = true
	g.call, err = g.link.call(path, parts...)
	return err
}

// start makes the session.
func (g *grpcSpeaker) start() error {
	req, err := proto.Marshal(&isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{
		Platform: "linux", Product: "bench", Locale: "en-US", DeviceId: userName(int(g.device.user)), ClientVersion: "1",
	}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return g.unary(isonlinev1.IsOnlineService_MakeIsOnlineSession_FullMethodName, req)
}

// message handles one message of the server.
func (g *grpcSpeaker) message(stream uint32, msg []byte) error {
	switch {
	case stream == g.events:
		return g.event(msg)
	case stream == g.call && g.device.step == stepMake:
		var made isonlinev1.MakeIsOnlineSessionResponse
		if err := proto.Unmarshal(msg, &made); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		g.session = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), made.GetSessionToken())
	case stream == g.call && g.device.step == stepSubscribe:
		var done isonlinev1.SubscribeToUsersIsOnlineResponse
		if err := proto.Unmarshal(msg, &done); err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
		if n := len(done.GetRejected()); n > 0 {
			return fmt.Errorf("the server refused %d of the %d subscriptions", n, len(g.device.friends))
		}
	}
	return nil
}

// ended handles the end of a call or of the stream of events.
func (g *grpcSpeaker) ended(stream uint32, code codes.Code, detail string) error {
	switch {
	case g.device.step == stepLeft:
		if stream != g.events {
			g.device.gone()
		}
		return nil
	case code != codes.OK:
		return fmt.Errorf("%s: %s", code, detail)
	case stream == g.events:
		return fmt.Errorf("the server ended the stream of events")
	case stream != g.call:
		return nil
	}
	g.call, g.device.busy = 0, false
	switch g.device.step {
	case stepMake:
		g.device.step = stepSubscribe
		req := append([]byte(nil), g.session...)
		for _, friend := range g.device.friends {
			req = protowire.AppendString(protowire.AppendTag(req, 2, protowire.BytesType), userName(int(friend)))
		}
		return g.unary(isonlinev1.IsOnlineService_SubscribeToUsersIsOnline_FullMethodName, req)
	case stepSubscribe:
		g.device.step = stepSnapshot
		var err error
		g.events, err = g.link.call(isonlinev1.IsOnlineService_ConnectToIsOnlineSession_FullMethodName, g.session, g.dialect.initial)
		return err
	default:
		g.device.target.answered++
		return nil
	}
}

// event handles one message of the stream of events.
func (g *grpcSpeaker) event(msg []byte) error {
	kind, body, err := eventOf(msg)
	if err != nil {
		return err
	}
	t := g.device.target
	switch kind {
	case eventNotification:
		t.notifications++
		if at, ok := sentAt(body); ok {
			t.delivered(t.readAt - at)
		}
	case eventSnapshotDone:
		if g.device.step != stepSnapshot {
			return nil
		}
		var done isonlinev1.SnapshotDone
		if err := proto.Unmarshal(body, &done); err != nil {
			return fmt.Errorf("decode the end of a snapshot: %w", err)
		}
		g.device.snapshot(int(done.GetUsers()), done.GetAll())
	case eventClosing:
		if g.device.step == stepLeft {
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
func (g *grpcSpeaker) update(now int64) error {
	return g.unary(isonlinev1.IsOnlineService_UpdateIsOnlineSession_FullMethodName, g.session, g.dialect.change.at(now))
}

// leave closes the session politely.
func (g *grpcSpeaker) leave() error {
	mode := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(isonlinev1.CloseMode_CLOSE_MODE_LEAVE))
	return g.unary(isonlinev1.IsOnlineService_CloseIsOnlineSession_FullMethodName, g.session, mode)
}
