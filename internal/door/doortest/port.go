package doortest

import (
	"net"
	"net/http"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/listen"
)

// Port is the HTTP port of a node with one door on it, and a network in memory. A
// request that has the header Test-From comes from that address.
type Port struct {
	calls  chan net.Conn
	over   chan struct{}
	once   sync.Once
	done   chan struct{}
	server *http.Server

	mu     sync.Mutex // guards dialed
	dialed []net.Conn
}

// NewPort serves a door on a core until Stop.
func NewPort(core *Core, door http.Handler) *Port { return NewPortOn(core, door, nil) }

// NewPortOn is NewPort on a listener; nil: the network is in memory.
func NewPortOn(core *Core, door http.Handler, l net.Listener) *Port {
	p := &Port{calls: make(chan net.Conn), over: make(chan struct{}), done: make(chan struct{})}
	if l == nil {
		l = p
	}
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.Header.Get("Test-From"); from != "" {
			r.RemoteAddr = from
		}
		door.ServeHTTP(w, r)
	})}
	go func() {
		defer close(p.done)
		p.server.Serve(listen.New(l, listen.Config{Now: core.Wheel.Now}))
	}()
	return p
}

// Dial makes a connection in memory.
func (p *Port) Dial() net.Conn {
	near, far := net.Pipe()
	p.calls <- far
	return p.Keep(near)
}

// Keep notes a connection that was made otherwise, to be closed by HangUp.
func (p *Port) Keep(c net.Conn) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialed = append(p.dialed, c)
	return c
}

// HangUp closes all connections of devices.
func (p *Port) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.dialed {
		c.Close()
	}
}

// Stop ends the port, and not what a door has taken over.
func (p *Port) Stop() {
	p.server.Close()
	<-p.done
}

// Accept implements net.Listener.
func (p *Port) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Port) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

// Addr implements net.Listener.
func (p *Port) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
