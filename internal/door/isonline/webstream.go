package isonline

import (
	"context"
	"io"
	"time"

	"connectrpc.com/connect"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// outgoing is a message of the events stream on the HTTP port, as the stream
// made it: a *frame or a protobuf message.
type outgoing struct{ message any }

// webStream carries an events stream in the answer to a request.
//
// Flushers write to it, not the goroutine that serves the request; and once that
// one has returned, net/http takes the answer's memory back. So it ends in two
// steps: finish waits until nobody writes and lets nobody in, then the handler
// writes the status. (The lock is a channel, not a mutex: who waits for it may
// wait for the network, and a fake clock must go on then.)
type webStream struct {
	ctx context.Context
	out *connect.ServerStream[outgoing]
	x   *exchange

	turn  chan struct{} // holds one while something is written; guards all below
	ended bool
	lent  outgoing // so that no send allocates
}

var (
	_ transport = (*webStream)(nil)
	_ gatherer  = (*webStream)(nil)
)

// connectWeb is ConnectToIsOnlineSession on the HTTP port.
func (d *Door) connectWeb(ctx context.Context, req *connect.Request[isonlinev1.ConnectToIsOnlineSessionRequest], out *connect.ServerStream[outgoing]) (err error) {
	const procedure = isonlinev1.IsOnlineService_ConnectToIsOnlineSession_FullMethodName
	defer func() { err = d.webError(ctx, procedure, err) }()
	defer func() { d.called(procedure, err, noTime) }()
	defer d.recovered(ctx, procedure, &err)
	w := &webStream{ctx: ctx, out: out, x: exchangeOf(ctx), turn: make(chan struct{}, 1)}
	// nginx would keep small messages to itself otherwise.
	out.ResponseHeader().Set("X-Accel-Buffering", "no")
	defer w.finish()
	return d.stay(req.Msg, w)
}

// Context is the request's.
func (w *webStream) Context() context.Context { return w.ctx }

// SendMsg writes one message into the answer's buffer; push sends it.
func (w *webStream) SendMsg(m any) error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.ended {
		return io.ErrClosedPipe
	}
	w.lent.message = m
	defer func() { w.lent.message = nil }()
	return w.out.Send(&w.lent)
}

// push sends what was written.
func (w *webStream) push() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.ended {
		return io.ErrClosedPipe
	}
	return w.x.control.Flush()
}

// finish ends writing. Who writes now, and the status afterwards, have a little
// time; then the peer is cut off.
func (w *webStream) finish() {
	w.x.control.SetWriteDeadline(time.Now().Add(farewell))
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	w.ended = true
}
