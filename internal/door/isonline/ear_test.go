package isonline

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// message is one of a stream.
type message = isonlinev1.ConnectToIsOnlineSessionResponse

// ear is a stream of a device, and what came on it.
type ear struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[message]
	cancel context.CancelFunc

	mu   sync.Mutex // guards all below
	got  []*message
	err  error // of the end
	over bool
}

// connect opens the stream and reads it until it ends.
func (d *device) connect(req *isonlinev1.ConnectToIsOnlineSessionRequest) *ear {
	d.n.t.Helper()
	l := d.connectDeaf(req)
	go l.read()
	synctest.Wait()
	return l
}

// connectDeaf opens the stream and does not read it.
func (d *device) connectDeaf(req *isonlinev1.ConnectToIsOnlineSessionRequest) *ear {
	d.n.t.Helper()
	if req == nil {
		req = &isonlinev1.ConnectToIsOnlineSessionRequest{}
	}
	if req.SessionToken == "" {
		req.SessionToken = d.tok
	}
	ctx, cancel := context.WithCancel(d.ctx())
	d.n.t.Cleanup(cancel)
	stream, err := d.api.ConnectToIsOnlineSession(ctx, req)
	if err != nil {
		d.n.t.Fatalf("connect of %s: %v", d.user, err)
	}
	return &ear{t: d.n.t, stream: stream, cancel: cancel}
}

func (l *ear) read() {
	for {
		m, err := l.stream.Recv()
		l.mu.Lock()
		if err != nil {
			l.err, l.over = err, true
			l.mu.Unlock()
			return
		}
		l.got = append(l.got, m)
		l.mu.Unlock()
	}
}

// take returns what came since the last take.
func (l *ear) take() []*message {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got
	l.got = nil
	return got
}

// end returns what the stream ended with; it fails while the stream stands.
func (l *ear) end() error {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Fatal("the stream stands, want its end")
	}
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}

// stands fails when the stream has ended.
func (l *ear) stands() {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		l.t.Fatalf("the stream ended: %v", l.err)
	}
}

// closings returns the closing messages among some.
func closings(list []*message) (found []*isonlinev1.Closing) {
	for _, m := range list {
		if c := m.GetClosing(); c != nil {
			found = append(found, c)
		}
	}
	return found
}

// notifications returns those among some messages.
func notifications(list []*message) (found []*isonlinev1.IsOnlineNotification) {
	for _, m := range list {
		if n := m.GetNotification(); n != nil {
			found = append(found, n)
		}
	}
	return found
}
