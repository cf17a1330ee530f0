package isonline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/listen"
)

// The same service on the HTTP port, for browsers and curl: Connect, gRPC-Web
// and gRPC over net/http, by the same methods. What differs is how messages are
// written (webstream.go, webcodec.go) and who may call from where (cors.go).

// bodyLimit is how long a peer may take to send a request's body.
const bodyLimit = 10 * time.Second

// compressFrom is the size of an answer from which it is compressed for who
// takes that: most are far below.
const compressFrom = 1 << 10

// linkKey is where ConnContext keeps a connection.
type linkKey struct{}

// ConnContext is http.Server.ConnContext of the HTTP port: without it no stream
// can be opened there. The port must be a listen.Listener.
func (d *Door) ConnContext(ctx context.Context, c net.Conn) context.Context {
	if counted := listen.Of(c); counted != nil {
		return context.WithValue(ctx, linkKey{}, &conn{Conn: counted})
	}
	return ctx
}

// HTTP2 is http.Server.HTTP2 of the HTTP port: the server pings an idle
// connection, so that a browser's tab gives signs of life without a word.
func (d *Door) HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		SendPingTimeout: d.pingEvery(),
		// The timing wheel ends sessions, the transport never does.
		PingTimeout: d.cfg.LongestTimeout + time.Minute,
		// Nothing at all can be written: no stream of the connection is served.
		WriteByteTimeout: 2 * WriteLimit,
	}
}

// Web is the service on the HTTP port, below /isonline.v1.IsOnlineService/.
func (d *Door) Web() http.Handler {
	mux := http.NewServeMux()
	unary(d, mux, isonlinev1.IsOnlineService_MakeIsOnlineSession_FullMethodName, d.MakeIsOnlineSession)
	unary(d, mux, isonlinev1.IsOnlineService_UpdateIsOnlineSession_FullMethodName, d.UpdateIsOnlineSession)
	unary(d, mux, isonlinev1.IsOnlineService_PartialUpdateIsOnlineSession_FullMethodName, d.PartialUpdateIsOnlineSession)
	unary(d, mux, isonlinev1.IsOnlineService_CloseIsOnlineSession_FullMethodName, d.CloseIsOnlineSession)
	unary(d, mux, isonlinev1.IsOnlineService_HeartbeatIsOnlineSession_FullMethodName, d.HeartbeatIsOnlineSession)
	unary(d, mux, isonlinev1.IsOnlineService_SubscribeToUserIsOnline_FullMethodName, d.SubscribeToUserIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_SubscribeToUsersIsOnline_FullMethodName, d.SubscribeToUsersIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_UnsubscribeFromUserIsOnline_FullMethodName, d.UnsubscribeFromUserIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_SubscribeToFriendsIsOnline_FullMethodName, d.SubscribeToFriendsIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_UnsubscribeFromFriendsIsOnline_FullMethodName, d.UnsubscribeFromFriendsIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_GetUserIsOnline_FullMethodName, d.GetUserIsOnline)
	unary(d, mux, isonlinev1.IsOnlineService_BatchGetUserIsOnline_FullMethodName, d.BatchGetUserIsOnline)
	const stream = isonlinev1.IsOnlineService_ConnectToIsOnlineSession_FullMethodName
	mux.Handle(stream, connect.NewServerStreamHandler(stream, d.connectWeb, webOptions()...))
	return d.crossOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, control: http.NewResponseController(w), addr: r.RemoteAddr, http2: r.ProtoMajor > 1}
		x.link, _ = r.Context().Value(linkKey{}).(*conn)
		r.Body = arriving{http.MaxBytesReader(w, r.Body, maxMessage+compressFrom)}
		// The whole server has no limits on reading and writing: they would end
		// streams. This one on reading ends with the body: net/http takes it back.
		x.control.SetReadDeadline(time.Now().Add(bodyLimit))
		if x.stream = r.URL.Path == stream; !x.stream {
			x.control.SetWriteDeadline(time.Now().Add(WriteLimit))
		}
		mux.ServeHTTP(x, r.WithContext(x.context(r)))
	}))
}

// arriving is a request's body that has bodyLimit to arrive.
type arriving struct{ io.ReadCloser }

// Read says in our words that the time is over: the network's have addresses in
// them.
func (a arriving) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the request's body did not arrive within %v", bodyLimit))
	}
	return n, err
}

// unary mounts one call.
func unary[Req, Resp any](d *Door, mux *http.ServeMux, procedure string, call func(context.Context, *Req) (*Resp, error)) {
	serve := func(ctx context.Context, req *connect.Request[Req]) (resp *connect.Response[Resp], err error) {
		began := time.Now()
		defer func() { err = d.webError(ctx, procedure, err) }()
		defer func() { d.called(procedure, err, time.Since(began)) }()
		defer d.recovered(ctx, procedure, &err)
		answer, there, err := d.forward(ctx, procedure, req.Msg)
		if there {
			if err != nil {
				return nil, err
			}
			resp, _ := answer.(*Resp)
			return connect.NewResponse(resp), nil
		}
		m, err := call(ctx, req.Msg)
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(m), nil
	}
	mux.Handle(procedure, connect.NewUnaryHandler(procedure, serve, webOptions()...))
}

func webOptions() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithCodec(webBinary{}), connect.WithCodec(webJSON{"json"}), connect.WithCodec(webJSON{"json; charset=utf-8"}),
		connect.WithReadMaxBytes(maxMessage), connect.WithCompressMinBytes(compressFrom),
	}
}

// webError turns an error into Connect's, which the handlers write in the
// dialect of the call: code, text and details are those of gRPC.
func (d *Door) webError(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(d.wireError(ctx, procedure, err))
	e := connect.NewError(connect.Code(st.Code()), errors.New(st.Message()))
	for _, packed := range st.Proto().GetDetails() {
		if detail, err := connect.NewErrorDetail(packed); err == nil {
			e.AddDetail(detail)
		}
	}
	return e
}

// exchange is one request on the HTTP port and its answer.
type exchange struct {
	http.ResponseWriter
	control *http.ResponseController
	link    *conn  // nil: the port does not count
	addr    string // of the client
	stream  bool
	http2   bool
}

type exchangeKey struct{}

// exchangeOf is the exchange of a call, or nil when it came on the gRPC port.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// context is the call's, with the headers where the gRPC port has them.
func (x *exchange) context(r *http.Request) context.Context {
	md := metadata.MD{}
	for _, name := range [...]string{"Authorization", "Accept-Language"} {
		if values := r.Header.Values(name); len(values) > 0 {
			md.Set(name, values...)
		}
	}
	return context.WithValue(metadata.NewIncomingContext(r.Context(), md), exchangeKey{}, x)
}

// Flush sends what was written. A stream does it by push, once for all that
// waits, and not after each message, as the handlers would.
func (x *exchange) Flush() {
	if !x.stream {
		x.control.Flush()
	}
}

var _ http.Flusher = (*exchange)(nil)

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
