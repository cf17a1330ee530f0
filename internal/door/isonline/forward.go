package isonline

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// A call on a session may arrive at any node (design §3). One on a session that
// another node has is given to it whole, with who calls, and answered with its
// answer; only streams are not: they take the session over.

// Nodes are the other nodes of a cluster.
type Nodes interface {
	// Elsewhere names the node that has a session, or made it, if it is another.
	Elsewhere(ref tracker.Ref, maker uint64) (node uint64, ok bool)
	// Forward gives a call to a node, whose door serves it by Forwarded, within
	// ctx. It fails with NodeUnavailable when the node does not answer.
	Forward(ctx context.Context, node uint64, b []byte) ([]byte, error)
}

// MaxForwarded is the most bytes of a call that is forwarded.
const MaxForwarded = maxMessage + maxHeaders

// forwardedHeaders go with a call.
var forwardedHeaders = [...]string{"authorization", "accept-language"}

// forwardedKey marks a call that another node gave: it goes no further.
type forwardedKey struct{}

// forward serves a call at the node that has its session; there is false when it
// is to be served here.
func (d *Door) forward(ctx context.Context, method string, req any) (resp any, there bool, err error) {
	r, ok := req.(interface{ GetSessionToken() string })
	if d.cfg.Nodes == nil || !ok || r.GetSessionToken() == "" || ctx.Value(forwardedKey{}) != nil {
		return nil, false, nil
	}
	ref, maker, err := d.sessionOf(ctx, r.GetSessionToken())
	if err != nil {
		return nil, false, nil // the call itself says what is wrong
	}
	node, ok := d.cfg.Nodes.Elsewhere(ref, maker)
	if !ok {
		return nil, false, nil
	}
	in, ok := req.(proto.Message)
	if !ok {
		return nil, false, nil
	}
	b := presence.AppendText(nil, method)
	for _, name := range forwardedHeaders {
		b = presence.AppendText(b, strings.Join(metadata.ValueFromIncomingContext(ctx, name), ","))
	}
	if b, err = (proto.MarshalOptions{}).MarshalAppend(b, in); err != nil {
		return nil, true, err
	}
	if b, err = d.cfg.Nodes.Forward(ctx, node, b); err != nil {
		return nil, true, err
	}
	out, err := answerOf(method)
	if err != nil {
		return nil, true, err
	}
	return out, true, proto.Unmarshal(b, out)
}

// answerOf is an empty answer of a call.
func answerOf(method string) (proto.Message, error) {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, m := range answers {
		if m.name == name {
			return m.empty(), nil
		}
	}
	return nil, fmt.Errorf("isonline: %s has no answer to forward", method)
}

// answers are those of the calls on a session.
var answers = []struct {
	name  string
	empty func() proto.Message
}{
	{"UpdateIsOnlineSession", func() proto.Message { return &isonlinev1.UpdateIsOnlineSessionResponse{} }},
	{"PartialUpdateIsOnlineSession", func() proto.Message { return &isonlinev1.PartialUpdateIsOnlineSessionResponse{} }},
	{"CloseIsOnlineSession", func() proto.Message { return &isonlinev1.CloseIsOnlineSessionResponse{} }},
	{"HeartbeatIsOnlineSession", func() proto.Message { return &isonlinev1.HeartbeatIsOnlineSessionResponse{} }},
	{"SubscribeToUserIsOnline", func() proto.Message { return &isonlinev1.SubscribeToUserIsOnlineResponse{} }},
	{"SubscribeToUsersIsOnline", func() proto.Message { return &isonlinev1.SubscribeToUsersIsOnlineResponse{} }},
	{"UnsubscribeFromUserIsOnline", func() proto.Message { return &isonlinev1.UnsubscribeFromUserIsOnlineResponse{} }},
	{"SubscribeToFriendsIsOnline", func() proto.Message { return &isonlinev1.SubscribeToFriendsIsOnlineResponse{} }},
	{"UnsubscribeFromFriendsIsOnline", func() proto.Message { return &isonlinev1.UnsubscribeFromFriendsIsOnlineResponse{} }},
}

// Forwarded serves a call that another node gave (Nodes.Forward). Faults are
// returned as they are: they travel.
func (d *Door) Forwarded(ctx context.Context, b []byte) (resp []byte, err error) {
	method, b, err := presence.ParseText(b)
	if err != nil {
		return nil, fmt.Errorf("isonline: a forwarded call cannot be read: %w", err)
	}
	md := metadata.MD{}
	for _, name := range forwardedHeaders {
		var value string
		if value, b, err = presence.ParseText(b); err != nil {
			return nil, fmt.Errorf("isonline: a forwarded call cannot be read: %w", err)
		}
		if value != "" {
			md.Set(name, value)
		}
	}
	defer d.recovered(ctx, method, &err)
	ctx = context.WithValue(metadata.NewIncomingContext(ctx, md), forwardedKey{}, true)
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, m := range isonlinev1.IsOnlineService_ServiceDesc.Methods {
		if m.MethodName != name {
			continue
		}
		out, err := m.Handler(d, ctx, func(in any) error {
			msg, ok := in.(proto.Message)
			if !ok {
				return fmt.Errorf("isonline: %T is no message", in)
			}
			return proto.Unmarshal(b, msg)
		}, nil)
		if err != nil {
			return nil, err
		}
		answer, ok := out.(proto.Message)
		if !ok {
			return nil, fmt.Errorf("isonline: %T is no message", out)
		}
		return proto.Marshal(answer)
	}
	return nil, fmt.Errorf("isonline: no call %.64q", method)
}
