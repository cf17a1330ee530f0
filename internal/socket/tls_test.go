package socket

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// secure is a TLS listener on a counted one, as the HTTP server makes it.
func secure(t *testing.T, inner net.Listener) (l net.Listener, client *tls.Config) {
	t.Helper()
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{pair}}), &tls.Config{InsecureSkipVerify: true}
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Over TLS a goroutine reads; signs of life are counted beneath, and the end
// of the protocol is the same.
func TestTLS(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	conns := make(chan *Conn, 1)
	l, cfg := secure(t, loopback(t))
	s := serve(t, Config{}, l, Options{}, func(c *Conn) Door {
		conns <- c
		return &echo{ended: ended}
	})
	s.dial = func() (net.Conn, error) { return tls.Dial("tcp", s.addr, cfg) }
	p := s.join(t, frame(aText, "early")...)
	p.expect(aText, "early")
	if c := <-conns; c.poll != nil {
		t.Error("the connection is in epoll mode, beneath its encryption")
	}
	long := strings.Repeat("x", 60_000)
	p.send(frame(aText, long)...)
	p.expect(aText, long)
	p.send([]byte{aText, 0}...)
	p.expectClose(CodeProtocol)
	p.expectEnd()
	p.Close()
	if why, ok := (<-ended).(*CloseError); !ok || why.Code != CodeProtocol {
		t.Errorf("why it ended: got %v, want our close", why)
	}
}

// A peer over TLS that never reads takes neither a thread nor the sweep, and is
// cut like others.
func TestStuckTLS(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	l, cfg := secure(t, loopback(t))
	first := true
	s := serve(t, Config{WriteLimit: 300 * time.Millisecond}, l, Options{}, func(c *Conn) Door {
		if !first {
			return &echo{}
		}
		first = false
		c.Wake()
		return &talker{echo{ended}, strings.Repeat("never read", 1000)}
	})
	s.dial = func() (net.Conn, error) { return tls.Dial("tcp", s.addr, cfg) }
	s.join(t)
	began := time.Now()
	if why := <-ended; why != ErrSlow {
		t.Errorf("why it ended: got %v, want ErrSlow", why)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("cut after %v", took)
	}
	p := s.join(t)
	p.send(frame(aText, "x")...)
	p.expect(aText, "x")
}

// Behind a proxy that speaks the PROXY protocol a connection is in epoll mode,
// and the address is the client's.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	var trusted listen.Proxies
	trusted.Set([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	conns := make(chan *Conn, 1)
	inner := listen.New(loopback(t), listen.Config{
		Now: func() time.Duration { return 0 }, ProxyProtocol: true, Proxies: &trusted,
	})
	s := serve(t, Config{}, inner, Options{}, func(c *Conn) Door {
		conns <- c
		return &echo{}
	})
	s.dial = func() (net.Conn, error) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			io.WriteString(c, "PROXY TCP4 203.0.113.7 192.0.2.1 51234 7400\r\n")
		}
		return c, err
	}
	p := s.join(t)
	p.send(frame(aText, "x")...)
	p.expect(aText, "x")
	c := <-conns
	if got := c.RemoteAddr().String(); got != "203.0.113.7:51234" {
		t.Errorf("address: got %s, want the client's", got)
	}
	if runtime.GOOS == "linux" && c.poll == nil {
		t.Error("the connection is not in epoll mode")
	}
}

// Descriptors are used again at once: what the kernel says late of a
// connection that is gone must not hit its successor. Half of the
// connections are closed by the server while bytes for them arrive.
func TestDescriptorsUsedAgain(t *testing.T) {
	t.Parallel()
	var wrong atomic.Int64
	s := serve(t, Config{}, nil, Options{}, func(c *Conn) Door { return &named{wrong: &wrong} })
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	for i := range rounds {
		p := s.join(t)
		name := itoa(int64(i))
		p.send(frame(aText, name)...)
		if i%2 == 0 {
			p.send(frame(aText, name)...)
			p.expect(aText, name)
			p.expect(aText, name)
			p.Close()
			continue
		}
		p.send(frame(aText, "close "+name)...)
		for { // the server closes in the middle of this
			if _, err := p.Write(frame(aText, name)); err != nil {
				break
			}
			if _, _, err := p.read(); err != nil {
				break
			}
		}
		p.Close()
	}
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d messages came to the wrong connection", n)
	}
}

// named is a door that knows its peer by its first word.
type named struct {
	echo
	name  string
	wrong *atomic.Int64
}

func (n *named) Message(c *Conn, kind Kind, b []byte) {
	word, closing := strings.CutPrefix(string(b), "close ")
	switch {
	case n.name == "":
		n.name = word
	case n.name != word:
		n.wrong.Add(1)
	}
	if closing {
		c.cut(io.ErrClosedPipe)
		return
	}
	n.echo.Message(c, kind, b)
}
