package listen

import (
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// complainEvery is how often refused connections of proxies are logged: one
// that is set up wrongly sends many.
const complainEvery = time.Minute

// Config is how a port treats its connections.
type Config struct {
	// Now is the clock of signs of life; required.
	Now func() time.Duration
	// ProxyProtocol says that connections of Proxies begin with a PROXY header.
	ProxyProtocol bool
	// Proxies are the peers whose word is taken; required with ProxyProtocol.
	Proxies *Proxies
	// Logger hears of connections that were refused; required with ProxyProtocol.
	Logger *slog.Logger
}

// Listener is a port whose connections are all *Conn.
type Listener struct {
	net.Listener
	cfg       Config
	complaint atomic.Int64 // when the last was logged, Unix time in nanoseconds
	open      atomic.Int64
}

// Open is how many connections of this port are not closed yet.
func (l *Listener) Open() int { return int(l.open.Load()) }

// New counts the connections of inner.
func New(inner net.Listener, cfg Config) *Listener {
	return &Listener{Listener: inner, cfg: cfg}
}

// Open listens on a TCP address. The error names the port as the operator
// knows it.
func Open(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s port: %w", name, err)
	}
	return l, nil
}

// Accept waits for a connection. It never waits for bytes on one.
func (l *Listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := Count(raw, l.cfg.Now)
	l.open.Add(1)
	c.port.Store(l)
	if l.cfg.ProxyProtocol && l.cfg.Proxies.trustsPeer(raw.RemoteAddr()) {
		c.header = &header{refuse: func(err error) { l.complain(raw.RemoteAddr(), err) }}
	}
	return c, nil
}

func (l *Listener) complain(peer net.Addr, err error) {
	now, last := time.Now().UnixNano(), l.complaint.Load()
	if now-last < int64(complainEvery) || !l.complaint.CompareAndSwap(last, now) {
		return
	}
	l.cfg.Logger.Warn("refused the connection of a trusted proxy; it must send a PROXY header on this port (or set listen.proxy_protocol to false)",
		"proxy", peer.String(), "error", err)
}
