package listen

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counter is a clock that moves with each look.
type counter struct{ n atomic.Int64 }

func (c *counter) now() time.Duration { return time.Duration(c.n.Add(1)) }

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write keeps b.
func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// port listens on loopback and accepts one connection that begins with sent.
func port(t *testing.T, cfg Config, sent string) (*Conn, net.Conn) {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = (&counter{}).now
	}
	inner, err := Open("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, cfg)
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(far, sent)
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near.(*Conn), far
}

// Bytes are a sign of life, and nothing else is.
func TestConnCounts(t *testing.T) {
	t.Parallel()
	c, far := port(t, Config{}, "x")
	born := c.LastRead()
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil || c.LastRead() <= born {
		t.Errorf("got %d, %v, last read %v; want 1 byte that counts", n, err, c.LastRead())
	}
	last := c.LastRead()
	far.Close()
	if _, err := c.Read(make([]byte, 8)); !errors.Is(err, io.EOF) || c.LastRead() != last {
		t.Errorf("after the end: %v, last read %v; want EOF that does not count", err, c.LastRead())
	}
	if again := Count(c, (&counter{}).now); again != c {
		t.Error("a counted connection was wrapped once more")
	}
}

// A trusted proxy says who the client is; what follows reaches the reader.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	trusted := proxies(t, "127.0.0.0/8")
	c, far := port(t, Config{ProxyProtocol: true, Proxies: trusted}, v2(1, 0x11, four...)+"hello")
	if got := c.RemoteAddr().String(); got != far.LocalAddr().String() {
		t.Errorf("before the header: got %s, want the peer %s", got, far.LocalAddr())
	}
	b := make([]byte, 8)
	if n, err := c.Read(b); string(b[:n]) != "hello" || err != nil {
		t.Errorf("got %q, %v; want what follows the header", b[:n], err)
	}
	if got := c.RemoteAddr().String(); got != "203.0.113.7:51234" {
		t.Errorf("got %s, want the client's address", got)
	}
}

// A proxy that speaks for itself is the client.
func TestProxyForItself(t *testing.T) {
	t.Parallel()
	c, far := port(t, Config{ProxyProtocol: true, Proxies: proxies(t, "127.0.0.0/8")}, v2(0, 0))
	if err := c.Begin(); err != nil || c.RemoteAddr().String() != far.LocalAddr().String() {
		t.Errorf("got %v, %v; want the peer %v", c.RemoteAddr(), err, far.LocalAddr())
	}
}

// A trusted proxy that sends no header is refused, with one line in the log for
// all that it tries.
func TestProxyWithoutHeader(t *testing.T) {
	t.Parallel()
	var log logBook
	cfg := Config{
		Now: (&counter{}).now, ProxyProtocol: true, Proxies: proxies(t, "127.0.0.1/32"), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	inner, err := Open("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, cfg)
	defer l.Close()
	for range 3 {
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(far, "GET / HTTP/1.1\r\n\r\n")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n, err := c.Read(make([]byte, 8)); n != 0 || !errors.Is(err, errNoHeader) {
				t.Errorf("got %d bytes, %v; want a refusal", n, err)
			}
		}
		c.Close()
		far.Close()
	}
	if n := strings.Count(log.String(), "refused the connection"); n != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", n, &log)
	}
}

// A stranger's header is no header: its bytes are the protocol's to refuse, and
// the address stays his own.
func TestStrangersHeaderIsNotRead(t *testing.T) {
	t.Parallel()
	sent := "PROXY TCP4 203.0.113.7 192.0.2.1 51234 7401\r\n"
	for _, on := range []bool{true, false} {
		c, far := port(t, Config{ProxyProtocol: on, Proxies: proxies(t, "10.0.0.0/8")}, sent)
		b := make([]byte, 100)
		n, err := c.Read(b)
		if string(b[:n]) != sent || err != nil || c.RemoteAddr().String() != far.LocalAddr().String() {
			t.Errorf("PROXY protocol %v: got %q, %v of %s; want the bytes as they are", on, b[:n], err, c.RemoteAddr())
		}
	}
}

// A proxy that never finishes its header holds nothing for longer than the
// reader's deadline.
func TestHeaderObeysTheDeadline(t *testing.T) {
	t.Parallel()
	c, _ := port(t, Config{
		ProxyProtocol: true, Proxies: proxies(t, "127.0.0.1/32"), Logger: slog.New(slog.DiscardHandler),
	}, "PROXY TCP4 203")
	c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	var timeout net.Error
	if _, err := c.Read(make([]byte, 8)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a time-out", err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	if _, err := Open("grpc", "127.0.0.1:not-a-port"); err == nil || !strings.HasPrefix(err.Error(), "grpc port: ") {
		t.Errorf("got %v, want an error that names the port", err)
	}
}
