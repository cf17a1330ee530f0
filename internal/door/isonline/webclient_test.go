package isonline

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// dialect is one way to speak with the HTTP port.
type dialect struct {
	name  string
	http2 bool
	json  bool
	rpc   []connect.ClientOption
}

// dialects are what browsers and programs use.
var dialects = []dialect{
	{"connect", false, false, nil},
	{"connect JSON", false, true, nil},
	{"connect on HTTP 2", true, false, nil},
	{"connect JSON on HTTP 2", true, true, nil},
	{"gRPC-Web", false, false, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"gRPC-Web JSON on HTTP 2", true, true, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"gRPC on the HTTP port", true, false, []connect.ClientOption{connect.WithGRPC()}},
}

// onHTTP2 are those whose connection gives signs of life.
func onHTTP2() (list []dialect) {
	for _, d := range dialects {
		if d.http2 {
			list = append(list, d)
		}
	}
	return list
}

// bubble is inBubble, for devices that speak one of the dialects.
type bubble func(t *testing.T, policy tracker.Policy, limits admit.Limits, f func(t *testing.T, n *node))

// overDialects runs a test of calls and streams on the gRPC port and in some of
// the dialects of the HTTP port: what is promised does not depend on them.
func overDialects(t *testing.T, list []dialect, f func(t *testing.T, in bubble)) {
	t.Helper()
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		f(t, inBubble)
	})
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, func(t *testing.T, policy tracker.Policy, limits admit.Limits, g func(*testing.T, *node)) {
				t.Helper()
				inBubble(t, policy, limits, func(t *testing.T, n *node) {
					n.speaks = &d
					g(t, n)
				})
			})
		})
	}
}

// pipes is a network in memory without buffers, whose deadlines are exact
// (those of bufconn may strike once more after they were taken back).
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
	wrap  func(net.Conn) net.Conn // the server's ends, when not nil
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), over: make(chan struct{})} }

// Accept waits for a Dial.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// Dial connects.
func (p *pipes) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	if p.wrap != nil {
		near = p.wrap(near)
	}
	select {
	case p.conns <- near:
		return far, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// Close ends the network for newcomers.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

// Addr is of no use.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7400} }

// webPort is the HTTP port of a node, in memory.
type webPort struct {
	listener *pipes
	server   *http.Server
}

// web opens the HTTP port, once.
func (n *node) web() *webPort {
	if n.port != nil {
		return n.port
	}
	n.port = &webPort{listener: newPipes()}
	n.port.server = &http.Server{
		Handler: n.door.Web(), ConnContext: n.door.ConnContext, HTTP2: n.door.HTTP2(), Protocols: &http.Protocols{},
		ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeaders,
	}
	n.port.server.Protocols.SetHTTP1(true)
	n.port.server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error, 1)
	go func() { done <- n.port.server.Serve(listen.New(n.port.listener, listen.Config{Now: n.wheel.Now})) }()
	n.t.Cleanup(func() {
		n.port.server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			n.t.Errorf("serve: %v", err)
		}
		<-time.After(time.Second) // net/http lingers on connections that it cuts
	})
	return n.port
}

// client is a program's connections to the HTTP port.
func (p *webPort) client(t *testing.T, http2 bool) *http.Client {
	tr := &http.Transport{DialContext: p.listener.Dial, Protocols: &http.Protocols{}, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: window}}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// webConn speaks a dialect with the means of connect-go, and looks like a
// connection of grpc to who uses it: so the tests of the gRPC port hold for it.
type webConn struct {
	client  *http.Client
	options []connect.ClientOption
}

var _ grpc.ClientConnInterface = (*webConn)(nil)

func (n *node) dialWeb(d *dialect) *webConn {
	codec := anyCodec{"proto"}
	if d.json {
		codec.name = "json"
	}
	return &webConn{n.web().client(n.t, d.http2), append([]connect.ClientOption{connect.WithCodec(codec)}, d.rpc...)}
}

// anything holds a message of any kind.
type anything struct{ proto.Message }

// anyCodec reads and writes the message inside.
type anyCodec struct{ name string }

// Name is the content type's.
func (c anyCodec) Name() string { return c.name }

// Marshal writes it.
func (c anyCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if a, is := v.(*anything); is {
		m, ok = a.Message, true
	}
	if !ok {
		return nil, errors.New("no message")
	}
	if c.name == "json" {
		return protojson.Marshal(m)
	}
	return proto.Marshal(m)
}

// Unmarshal reads it.
func (c anyCodec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if a, is := v.(*anything); is {
		m, ok = a.Message, true
	}
	if !ok {
		return errors.New("no message")
	}
	if c.name == "json" {
		return protojson.Unmarshal(b, m)
	}
	return proto.Unmarshal(b, m)
}

func (w *webConn) call(ctx context.Context, method string, in any, into func() proto.Message) (*connect.Client[anything, anything], *connect.Request[anything]) {
	options := append([]connect.ClientOption{connect.WithResponseInitializer(func(_ connect.Spec, m any) error {
		m.(*anything).Message = into()
		return nil
	})}, w.options...)
	req := connect.NewRequest(&anything{in.(proto.Message)})
	md, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range md {
		for _, v := range values {
			req.Header().Add(name, v)
		}
	}
	return connect.NewClient[anything, anything](w.client, "http://porchlight"+method, options...), req
}

// Invoke makes a unary call.
func (w *webConn) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	c, req := w.call(ctx, method, in, func() proto.Message { return out.(proto.Message) })
	_, err := c.CallUnary(ctx, req)
	return grpcError(err)
}

// NewStream opens a stream of the server.
func (w *webConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &webReader{conn: w, ctx: ctx, method: method}, nil
}

// webReader is a stream as its device reads it.
type webReader struct {
	grpc.ClientStream
	conn   *webConn
	ctx    context.Context
	method string
	stream *connect.ServerStreamForClient[anything]
}

// SendMsg opens the stream: there is one request.
func (r *webReader) SendMsg(in any) (err error) {
	c, req := r.conn.call(r.ctx, r.method, in, func() proto.Message { return &message{} })
	r.stream, err = c.CallServerStream(r.ctx, req)
	return grpcError(err)
}

// CloseSend is done with it.
func (r *webReader) CloseSend() error { return nil }

// Context is the call's.
func (r *webReader) Context() context.Context { return r.ctx }

// RecvMsg reads one message.
func (r *webReader) RecvMsg(out any) error {
	if r.stream.Receive() {
		proto.Merge(out.(proto.Message), r.stream.Msg().Message)
		return nil
	}
	defer r.stream.Close()
	if err := r.stream.Err(); err != nil {
		return grpcError(err)
	}
	return io.EOF
}

// grpcError is the error as the gRPC port would have given it.
func grpcError(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	st := &spb.Status{Code: int32(e.Code()), Message: e.Message()}
	for _, d := range e.Details() {
		st.Details = append(st.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + d.Type(), Value: d.Bytes()})
	}
	if e.Code() == connect.CodeUnavailable && len(e.Details()) == 0 {
		// connect-go says so of connections that broke; the gRPC client too.
		return status.Error(codes.Unavailable, e.Message())
	}
	return status.ErrorProto(st)
}

// post is a request as curl sends it.
func (p *webPort) post(t *testing.T, procedure, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://porchlight/isonline.v1.IsOnlineService/"+procedure, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
