package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// liveFake is a live door that says what a test tells it, on the clock of the
// test's bubble. Each connection has the next script, the last one all later.
type liveFake struct {
	listener *pipes
	began    time.Time
	ctx      context.Context // of the bubble: a hijacked connection's own never ends
	scripts  []func(*livePeer)
	notify   func(LiveNotification)
	topic    func(TopicMessage)
	tokens   []string // what Config.Token gives, the last one for ever
	more     []string // Config.More
	dialed   []string // by the dialer, one after the other

	mu    sync.Mutex // guards all below
	dials []time.Duration
	heard []string
}

// pipes is a network of net.Pipe, whose deadlines are exact: net/http needs that
// to give a connection away.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// livePeer is one connection of a liveFake.
type livePeer struct {
	fake *liveFake
	conn *websocket.Conn
	ctx  context.Context
}

func (f *liveFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{liveProtocol}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	f.mu.Lock()
	script := f.scripts[min(len(f.dials), len(f.scripts)-1)]
	f.dials = append(f.dials, time.Since(f.began))
	f.mu.Unlock()
	script(&livePeer{f, conn, f.ctx})
}

// says sends messages. A failure shows in what the client then does not know.
func (p *livePeer) says(messages ...string) {
	for _, m := range messages {
		_ = p.conn.Write(p.ctx, websocket.MessageText, []byte(m))
	}
}

// hears notes the next message; "" at the end.
func (p *livePeer) hears() (liveRequest, string) {
	_, b, err := p.conn.Read(p.ctx)
	if err != nil {
		return liveRequest{}, ""
	}
	p.fake.mu.Lock()
	defer p.fake.mu.Unlock()
	p.fake.heard = append(p.fake.heard, string(b))
	var r liveRequest
	_ = json.Unmarshal(b, &r) // what is no request shows in heard
	return r, string(b)
}

// serves answers every call with ok until the connection ends.
func (p *livePeer) serves() {
	for {
		r, text := p.hears()
		switch {
		case text == "":
			return
		case r.T == "bye":
			p.says(`{"t":"bye","reason":"SESSION_CLOSED","kept":false,"why":"CLIENT"}`)
			_ = p.conn.Close(websocket.StatusNormalClosure, "SESSION_CLOSED")
			return
		case r.T == "ping":
			p.says(fmt.Sprintf(`{"t":"pong","id":%d}`, r.ID))
		default:
			p.says(fmt.Sprintf(`{"t":"ok","id":%d,"rev":2}`, r.ID))
		}
	}
}

// welcome answers the hello.
func (p *livePeer) welcome(more string) {
	p.hears()
	p.says(`{"t":"welcome","session":"mine","heartbeat":10000,"limits":{"batch":200},` + more + `}`)
}

// liveBubble runs a test with a liveFake and a Client on a clock of its own.
func liveBubble(t *testing.T, f *liveFake, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f.ctx, f.began, f.listener = ctx, time.Now(), newPipes()
		srv := &http.Server{Handler: f, ErrorLog: log.New(io.Discard, "", 0)}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(f.listener) }()
		tokens := f.tokens
		c, err := New(Config{
			Addr: "ws://localhost:7400", More: f.more,
			Token: func(context.Context) (string, error) {
				if len(tokens) == 0 {
					return "t0", nil
				}
				next := tokens[0]
				if len(tokens) > 1 {
					tokens = tokens[1:]
				}
				return next, nil
			},
			Device: Device{Platform: "web", ID: "d1"}, OnNotification: f.notify, OnTopic: f.topic,
			Dialer: func(ctx context.Context, addr string) (net.Conn, error) {
				f.dialed = append(f.dialed, addr)
				if addr != "localhost:7400" && f.more == nil {
					t.Errorf("the dialer gets %q", addr)
				}
				return f.listener.dial(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(c.Close(), srv.Close()); err != nil {
				t.Errorf("close: %v", err)
			}
			cancel()
			<-served
			synctest.Wait()
		}()
		test(t, c)
	})
}

// connected is when connections were made.
func (f *liveFake) connected() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dials)
}

// expect compares what the server heard.
func (f *liveFake) expect(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.heard, want) {
		t.Errorf("the server heard\n%s\nwant\n%s", strings.Join(f.heard, "\n"), strings.Join(want, "\n"))
	}
}

// liveNews is an n about one session of a user.
func liveNews(q int, user, kind, id, text string, rev int) string {
	return fmt.Sprintf(`{"t":"n","q":%d,"n":[{"u":%q,"k":%q,"on":%v,"at":1772366400000,"s":{"id":%q,"platform":"web","show":"busy","text":%q,"rev":%d,"since":1772366400000,"at":1772366400000,"why":"CLIENT"}}]}`,
		q, user, kind, kind != "closed", id, text, rev)
}

const (
	helloAs   = `{"t":"hello","token":"t0","device":{"platform":"web","id":"d1"},"status":{"invisible":false}}`
	watchBob  = `{"t":"watch","id":1,"users":["bob"]}`
	bobIsHere = `{"k":"done","user":"bob","users":1}`
)
