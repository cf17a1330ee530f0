package listen

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that knows when bytes were last read on it. Any byte is a
// sign of life, HTTP/2 pings and their answers included (design §4), so it sits
// beneath whatever encryption there is.
type Conn struct {
	net.Conn
	now  func() time.Duration
	last atomic.Int64 // now at the last read

	port atomic.Pointer[Listener] // that counts it as open; nil: nobody does

	// What precedes the first byte for the reader; nil when nothing does.
	header *header
}

// header is a PROXY header that is awaited.
type header struct {
	once   sync.Once
	refuse func(error)
	source atomic.Pointer[net.TCPAddr] // as the proxy said it; nil: the peer's
	err    error                       // guarded by once
}

// Count returns a connection on raw that counts by the clock now; one that
// counts already comes back as it is.
func Count(raw net.Conn, now func() time.Duration) *Conn {
	if c, ok := raw.(*Conn); ok {
		return c
	}
	c := &Conn{Conn: raw, now: now}
	c.Note()
	return c
}

// Begin reads what a trusted proxy says before the first byte of the client.
// Read does it too; it is for those who read from the socket by themselves, or
// ask for the address before the first read. It waits as long as a Read would.
func (c *Conn) Begin() error {
	h := c.header
	if h == nil {
		return nil
	}
	h.once.Do(func() {
		var source *net.TCPAddr
		if source, h.err = readHeader(c.Conn); h.err != nil {
			h.refuse(h.err)
			return
		}
		h.source.Store(source)
	})
	return h.err
}

// Read reads and notes when.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.Begin(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.Note()
	}
	return n, err
}

// Close closes the connection.
func (c *Conn) Close() error {
	if port := c.port.Swap(nil); port != nil {
		port.open.Add(-1)
	}
	return c.Conn.Close()
}

// RemoteAddr is the client's address as a trusted proxy said it, else the
// peer's. Before Begin it is the peer's.
func (c *Conn) RemoteAddr() net.Addr {
	if h := c.header; h != nil {
		if a := h.source.Load(); a != nil {
			return a
		}
	}
	return c.Conn.RemoteAddr()
}

// Note takes a sign of life, for those who read from the socket by themselves.
func (c *Conn) Note() { c.last.Store(int64(c.now())) }

// LastRead is when the last sign of life came.
func (c *Conn) LastRead() time.Duration { return time.Duration(c.last.Load()) }

// Of finds the counted connection beneath c, through TLS; nil when there is
// none.
func Of(c net.Conn) *Conn {
	for c != nil {
		if counted, ok := c.(*Conn); ok {
			return counted
		}
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = outer.NetConn()
	}
	return nil
}

type contextKey struct{}

// NewContext returns a context of what happens on c (http.Server.ConnContext).
func NewContext(ctx context.Context, c net.Conn) context.Context {
	if counted := Of(c); counted != nil {
		return context.WithValue(ctx, contextKey{}, counted)
	}
	return ctx
}

// FromContext is the connection of that context, or nil.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}
