package porchlighttest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// port is where a server listens, over its restarts.
type port interface {
	// open gives the listener for one run of the server.
	open() net.Listener
	dial(ctx context.Context) (net.Conn, error)
	addr() string
	// close ends the port for good.
	close()
}

// loopback is a TCP port that stays ours while the server is down, so that nobody
// takes it meanwhile.
type loopback struct{ l *net.TCPListener }

func newLoopback() (port, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &loopback{l}, nil
}

func (p *loopback) open() net.Listener {
	p.l.SetDeadline(time.Time{})
	return &shift{TCPListener: p.l}
}

func (p *loopback) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", p.addr())
}

func (p *loopback) addr() string { return p.l.Addr().String() }
func (p *loopback) close()       { p.l.Close() }

// shift is a loopback's listener for one run.
type shift struct {
	*net.TCPListener
	over atomic.Bool
}

// Accept fails with net.ErrClosed once the shift is over.
func (s *shift) Accept() (net.Conn, error) {
	c, err := s.TCPListener.Accept()
	switch {
	case !s.over.Load():
		return c, err
	case err == nil:
		c.Close()
	}
	return nil, net.ErrClosed
}

// Close ends the shift and leaves the port open.
func (s *shift) Close() error {
	s.over.Store(true)
	return s.TCPListener.SetDeadline(time.Unix(1, 0)) // wakes Accept
}

// memory is a network of pipes.
type memory struct {
	name string     // a host and port that nobody has
	mu   sync.Mutex // guards run
	run  *pipes     // nil: the server never ran
}

func (p *memory) open() net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return p.run
}

func (p *memory) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	run := p.run
	p.mu.Unlock()
	near, far := net.Pipe()
	select {
	case run.conns <- far:
		return near, nil
	case <-run.closed:
		return nil, &net.OpError{Op: "dial", Net: inMemory, Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *memory) addr() string { return p.name }
func (p *memory) close()       {}

// inMemory is the network's name.
const inMemory = "memory"

// pipes listens for one run.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept waits for the next dial.
func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses dials from now on.
func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr names the network alone.
func (l *pipes) Addr() net.Addr { return noAddr{} }

type noAddr struct{}

// Network is not "tcp": the listener is nobody's to reach.
func (noAddr) Network() string { return inMemory }
func (noAddr) String() string  { return inMemory }
