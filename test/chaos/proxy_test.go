package chaos

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy carries connections to the server until it is frozen: then it moves no
// more bytes and closes nothing, like a peer whose network went away.
type proxy struct {
	listener net.Listener
	target   string
	frozen   atomic.Bool
	last     atomic.Int64 // when bytes last went to the server, in Unix ns

	mu    sync.Mutex // guards conns
	conns []net.Conn
	work  sync.WaitGroup
}

// newProxy listens on loopback until the test ends.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.target)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, from, to)
		p.mu.Unlock()
		p.work.Go(func() { p.carry(to, from, true) })
		p.work.Go(func() { p.carry(from, to, false) })
	}
}

// carry moves bytes one way. What was read when the proxy froze is dropped.
func (p *proxy) carry(to, from net.Conn, up bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if p.frozen.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if up {
				p.last.Store(time.Now().UnixNano())
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// freeze stops all bytes and returns when the server last got some.
func (p *proxy) freeze() time.Time {
	p.frozen.Store(true)
	return time.Unix(0, p.last.Load())
}
