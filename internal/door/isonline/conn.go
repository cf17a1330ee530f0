package isonline

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// conn is a peer's connection and what it carries: any byte read on it is a sign
// of life for the session it carries (listen.Conn, design §4).
type conn struct {
	*listen.Conn
	raw rawReader

	mu       sync.Mutex // guards all below
	user     presence.User
	sessions int  // that it carries now
	shared   bool // it ever carried sessions of two users
}

// carry notes that the connection carries one more session, of user u.
func (c *conn) carry(u presence.User) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions > 0 && c.user != u {
		c.shared = true
	}
	c.user = u
	c.sessions++
}

// release is the opposite.
func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions--
}

// alone reports that the connection carries one session only.
func (c *conn) alone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions <= 1
}

func (c *conn) isShared() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared
}

// counting is a transport security that counts on the raw connection, beneath
// whatever encryption it hands over to.
type counting struct {
	credentials.TransportCredentials
	door *Door
}

// connInfo is how a call finds its connection.
type connInfo struct {
	credentials.AuthInfo
	conn *conn
}

// ServerHandshake wraps raw and goes on with the inner security.
func (c *counting) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	counted := &conn{Conn: listen.Count(raw, c.door.cfg.Wheel.Now)}
	// grpc asks for the address before it reads, and then reads from the socket.
	if err := counted.Begin(); err != nil {
		return nil, nil, err
	}
	secured, info, err := c.TransportCredentials.ServerHandshake(counted)
	if err != nil {
		return nil, nil, err
	}
	return secured, connInfo{info, counted}, nil
}

// Clone returns an equal one.
func (c *counting) Clone() credentials.TransportCredentials {
	return &counting{c.TransportCredentials.Clone(), c.door}
}

// caller returns the connection of a call, and the address of who calls.
func (d *Door) caller(ctx context.Context) (*conn, string) {
	if x := exchangeOf(ctx); x != nil {
		return x.link, x.addr
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, ""
	}
	info, _ := p.AuthInfo.(connInfo)
	return info.conn, d.cfg.Proxies.Client(p.Addr.String(),
		metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"), metadata.ValueFromIncomingContext(ctx, "forwarded"))
}
