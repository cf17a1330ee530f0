package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// nullToken comes before the user's name in the null server's session tokens,
// to make them as long as sealed ones.
var nullToken = strings.Repeat("null-session-token.", 8)

func newNullFrames(name string) (nullFrames, error) {
	now := timestamppb.New(time.Now())
	props := loadUpdate(marker).GetProperties()
	encode := func(kind isonlinev1.SessionEventKind, mark string) []byte {
		n := &isonlinev1.IsOnlineNotification{UserId: name, UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE, EventTime: now}
		n.Session = &isonlinev1.SessionNotification{
			SessionId: "Zk3vN8pQx1LwT5rYb7HcDe", Kind: kind, Platform: "linux", Product: "bench",
			Status:   isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY,
			RichText: loadUpdate(mark).GetRichText().GetLiteral(), Properties: props,
			Revision: 2, ConnectedAt: now, UpdatedAt: now,
		}
		return notification(n)
	}
	f := nullFrames{
		current: encode(isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT, silentMarker),
		opened:  encode(isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED, silentMarker),
		changed: encode(isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED, marker),
		offline: notification(&isonlinev1.IsOnlineNotification{
			UserId: name, UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE, EventTime: now,
		}),
	}
	if stampOf(f.changed) == nil || f.current == nil || f.opened == nil || f.offline == nil {
		return f, errors.New("bench: null server: frames cannot be encoded")
	}
	return f, nil
}

// encoded is one message of the stream of events, nil when it cannot be
// encoded. All have the same number: nobody here counts.
func encoded(msg *isonlinev1.ConnectToIsOnlineSessionResponse) []byte {
	msg.Sequence = 1000
	b, err := proto.Marshal(msg)
	if err != nil {
		return nil
	}
	return b
}

func notification(n *isonlinev1.IsOnlineNotification) []byte {
	return encoded(&isonlinev1.ConnectToIsOnlineSessionResponse{
		Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: n},
	})
}

func (n *null) make(_ context.Context, req []byte) ([]byte, error) {
	var in isonlinev1.MakeIsOnlineSessionRequest
	if err := proto.Unmarshal(req, &in); err != nil {
		return nil, status.Error(codes.InvalidArgument, "not a request")
	}
	name := in.GetClient().GetDeviceId()
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := n.user(name); err != nil {
		return nil, err
	}
	return proto.Marshal(&isonlinev1.MakeIsOnlineSessionResponse{SessionId: name, SessionToken: nullToken + name})
}

func (n *null) subscribe(_ context.Context, req []byte) ([]byte, error) {
	me, err := n.known(req)
	if err != nil {
		return nil, err
	}
	var in isonlinev1.SubscribeToUsersIsOnlineRequest
	if err := proto.Unmarshal(req, &in); err != nil {
		return nil, status.Error(codes.InvalidArgument, "not a request")
	}
	return nil, n.watch(me, in.GetUserIds())
}

// connect sends the snapshot, tells the watchers, and holds the stream.
func (n *null) connect(stream grpc.ServerStream) error {
	var req []byte
	if err := stream.RecvMsg(&req); err != nil {
		return err
	}
	me, err := n.known(req)
	if err != nil {
		return err
	}
	friends, watchers := n.around(me)
	me.connected(nullStream{stream})
	defer me.connected(nil)
	me.send(encoded(&isonlinev1.ConnectToIsOnlineSessionResponse{
		Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{Connected: &isonlinev1.Connected{SessionId: me.name}},
	}))
	for _, f := range friends {
		if f.online() {
			me.send(f.frames.current)
		} else {
			me.send(f.frames.offline)
		}
	}
	me.send(encoded(&isonlinev1.ConnectToIsOnlineSessionResponse{
		Event: &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{SnapshotDone: &isonlinev1.SnapshotDone{
			Scope: &isonlinev1.SnapshotDone_All{All: true}, Users: uint32(len(friends)),
		}},
	}))
	for _, w := range watchers {
		w.send(me.frames.opened)
	}
	<-stream.Context().Done()
	return nil
}

// update sends the change to all watchers: one frame, copied once, with the
// request's time stamp in it.
func (n *null) update(_ context.Context, req []byte) ([]byte, error) {
	me, err := n.known(req)
	if err != nil {
		return nil, err
	}
	sent := stampOf(req)
	if sent == nil {
		return nil, status.Error(codes.InvalidArgument, "not a change of the standard load")
	}
	frame := bytes.Clone(me.frames.changed)
	copy(stampOf(frame), sent)
	_, watchers := n.around(me)
	msg, err := prepared(watchers, frame)
	if err != nil {
		return nil, err
	}
	for _, w := range watchers {
		w.send(msg)
	}
	return nullUpdated, nil
}

// nullUpdated answers every update: revision 1.
var nullUpdated = []byte{0x08, 0x01}

// prepared frames a message once for all streams. Which stream lends it the
// codec does not matter: all have the same.
func prepared(watchers []*nullUser, frame []byte) (any, error) {
	for _, w := range watchers {
		w.mu.Lock()
		stream, ok := w.sink.(nullStream)
		w.mu.Unlock()
		if !ok {
			continue
		}
		msg := new(grpc.PreparedMsg)
		if err := msg.Encode(stream, frame); err != nil {
			return nil, fmt.Errorf("bench: null server: %w", err)
		}
		return msg, nil
	}
	return frame, nil // nobody is there to get it
}

func (n *null) close(_ context.Context, req []byte) ([]byte, error) {
	if _, err := n.known(req); err != nil {
		return nil, err
	}
	return nil, nil
}
