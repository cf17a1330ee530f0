package socket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// modes are the two modes, over loopback.
var modes = []struct {
	name       string
	goroutines bool
}{{"epoll", false}, {"goroutine", true}}

// eachMode runs a test in both.
func eachMode(t *testing.T, test func(t *testing.T, cfg Config)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			test(t, Config{Goroutines: m.goroutines})
		})
	}
}

// server is a loop behind an HTTP server.
type server struct {
	*Loop
	addr  string
	wheel *wheel.Wheel
	ports *listen.Listener
	dial  func() (net.Conn, error)

	refused chan error // hears of handshakes that failed; nil: nobody asks
}

// serve starts one on inner, which is loopback when nil; accept makes the doors.
func serve(t testing.TB, cfg Config, inner net.Listener, o Options, accept func(c *Conn) Door) *server {
	t.Helper()
	w := wheel.New(nil)
	w.Start()
	cfg.Wheel = w
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s := &server{Loop: New(cfg), wheel: w}
	if inner == nil {
		var err error
		if inner, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.dial = func() (net.Conn, error) { return net.Dial("tcp", s.addr) }
	}
	if p, ok := inner.(*pipes); ok {
		s.dial = p.dial
	}
	s.addr = inner.Addr().String()
	s.ports = listen.New(inner, listen.Config{Now: w.Now})
	s.Start(t.Context())
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.Upgrade(w, r, o, accept); err != nil && s.refused != nil {
			s.refused <- err
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		web.Serve(s.ports)
	}()
	t.Cleanup(func() {
		web.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		w.Stop()
		if n := s.Open(); n != 0 {
			t.Errorf("%d connections are left after Stop", n)
		}
	})
	return s
}

// pipes is an in-memory network.
type pipes struct {
	accepts chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{accepts: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepts:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepts <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// echo is a door that sends back what it gets.
type echo struct {
	ended chan error // nil: nobody asks
}

func (e *echo) Message(c *Conn, kind Kind, b []byte) {
	if kind == Binary {
		c.SendBinary(b)
	} else {
		c.Send(b)
	}
}

func (*echo) Fill(*Conn, *Out) bool { return false }

func (e *echo) Closed(_ *Conn, why error) {
	if e.ended != nil {
		e.ended <- why
	}
}

// peer is a client that speaks bytes.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

const handshake = "GET / HTTP/1.1\r\nHost: porch\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// join makes a connection; extra follows the handshake in the same write.
func (s *server) join(t testing.TB, extra ...byte) *peer {
	t.Helper()
	raw, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	p := &peer{raw, t, bufio.NewReader(raw)}
	p.limit(time.Minute)
	if _, err := io.WriteString(raw, handshake+string(extra)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: got %s, want 101", answer.Status)
	}
	return p
}

func (p *peer) limit(d time.Duration) { p.SetDeadline(time.Now().Add(d)) }

// frame is a client's frame: first is FIN, reserved bits and opcode.
func frame(first byte, payload string) []byte {
	return claim(first, len(payload), payload)
}

// claim is a frame whose header says n bytes.
func claim(first byte, n int, payload string) []byte {
	var b []byte
	switch {
	case n < 126:
		b = []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		b = []byte{first, 0x80 | 126, byte(n >> 8), byte(n)}
	default:
		b = []byte{first, 0x80 | 127, byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func (p *peer) send(b ...byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// read returns the server's next frame.
func (p *peer) read() (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	if n > 127 {
		return 0, "", errors.New("the server's frame is masked")
	}
	if size := map[int]int{126: 2, 127: 8}[n]; size > 0 {
		var more [8]byte
		if _, err := io.ReadFull(p.r, more[:size]); err != nil {
			return 0, "", err
		}
		n = 0
		for _, b := range more[:size] {
			n = n<<8 | int(b)
		}
	}
	b := make([]byte, n)
	_, err = io.ReadFull(p.r, b)
	return head[0], string(b), err
}

// expect reads one frame and wants it so.
func (p *peer) expect(first byte, payload string) {
	p.t.Helper()
	f, got, err := p.read()
	if err != nil || f != first || got != payload {
		p.t.Fatalf("got frame %#x %s, %v; want %#x %s", f, short(got), err, first, short(payload))
	}
}

func short(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// expectClose reads up to a close frame with the code, then the end.
func (p *peer) expectClose(code int) (reason string) {
	p.t.Helper()
	for {
		f, b, err := p.read()
		if err != nil {
			p.t.Fatalf("got %v, want a close frame with code %d", err, code)
		}
		if f != 0x88 {
			continue
		}
		got := CodeNone
		if len(b) >= 2 {
			got, reason = int(b[0])<<8|int(b[1]), b[2:]
		}
		if got != code {
			p.t.Fatalf("got close code %d %q, want %d", got, reason, code)
		}
		return reason
	}
}

// expectEnd wants the connection to end without another byte.
func (p *peer) expectEnd() {
	p.t.Helper()
	if f, b, err := p.read(); err == nil {
		p.t.Fatalf("got frame %#x %s, want the end", f, short(b))
	} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		p.t.Fatalf("the connection is open still, want it to end")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
