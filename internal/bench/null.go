package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// The transport settings of the null server. They are those of a well-tuned
// server for many quiet streams, and must be the same in the server that is
// compared with it.
const (
	nullReadBuffer  = 4 << 10 // requests are small; 32 KiB per connection would be most of its memory
	nullWriteBuffer = 8 << 10
	nullWindow      = 64 << 10 // a fixed window: no probing pings after each request
	nullPing        = 10 * time.Second
	nullPingTimeout = 95 * time.Second
	nullMinPing     = 5 * time.Second
)

// NullServer serves the standard load at listenAddr, a loopback address, as
// cheaply as grpc-go can: frames encoded in advance, one send for each
// delivery, no sessions, no checks, no store. It answers only what the load
// calls. When it accepts connections it calls ready with its address; an error
// of ready ends it.
//
// It returns nil when ctx ends, and the error of the network otherwise. All
// connections are closed and all calls ended by then.
func NullServer(ctx context.Context, listenAddr string, ready func(addr string) error) error {
	if _, err := loopback(listenAddr); err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listenAddr)
	if err != nil {
		return fmt.Errorf("bench: null server: %w", err)
	}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.ReadBufferSize(nullReadBuffer),
		grpc.WriteBufferSize(nullWriteBuffer),
		grpc.StaticStreamWindowSize(nullWindow),
		grpc.StaticConnWindowSize(nullWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: nullPing, Timeout: nullPingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: nullMinPing, PermitWithoutStream: true}),
	)
	n := &null{newNullTable(newNullFrames)}
	server.RegisterService(n.desc(), n)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := ready(ln.Addr().String()); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := server.Serve(ln); err != nil && ctx.Err() == nil {
		return fmt.Errorf("bench: null server: %w", err)
	}
	// Serve returns as soon as Stop closes the listener; a second Stop waits
	// until the first has ended all calls.
	server.Stop()
	return nil
}

// null is the gRPC null server.
type null struct{ nullTable }

// nullStream is the stream of a user; it takes one send at a time.
type nullStream struct{ grpc.ServerStream }

// send sends a prepared message. A stream that fails is found out by its own
// call.
func (s nullStream) send(msg any) { _ = s.SendMsg(msg) }

// known finds the user of a request by its session token, field 1 of all
// requests.
func (n *null) known(req []byte) (*nullUser, error) {
	num, typ, k := protowire.ConsumeTag(req)
	if k > 0 && num == 1 && typ == protowire.BytesType {
		if token, m := protowire.ConsumeBytes(req[k:]); m >= 0 && len(token) > len(nullToken) {
			n.mu.RLock()
			defer n.mu.RUnlock()
			if u := n.users[string(token[len(nullToken):])]; u != nil {
				return u, nil
			}
		}
	}
	return nil, status.Error(codes.NotFound, "no such session")
}

// desc describes the calls of the load. The generated description would decode
// each message; this one passes bytes.
func (n *null) desc() *grpc.ServiceDesc {
	unary := func(name string, f func(context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var req []byte
			if err := dec(&req); err != nil {
				return nil, err
			}
			return f(ctx, req)
		}}
	}
	return &grpc.ServiceDesc{
		ServiceName: isonlinev1.IsOnlineService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("MakeIsOnlineSession", n.make),
			unary("SubscribeToUsersIsOnline", n.subscribe),
			unary("UpdateIsOnlineSession", n.update),
			unary("CloseIsOnlineSession", n.close),
		},
		Streams: []grpc.StreamDesc{{
			StreamName:    "ConnectToIsOnlineSession",
			ServerStreams: true,
			Handler:       func(_ any, stream grpc.ServerStream) error { return n.connect(stream) },
		}},
	}
}

// rawCodec passes bytes through. On the wire it is no codec at all: the load
// sends and expects protobuf.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("bench: null server: cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(in mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("bench: null server: cannot receive a %T", v)
	}
	*b = in.Materialize()
	return nil
}
