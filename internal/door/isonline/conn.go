package isonline

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// conn is a peer's connection that counts signs of life: any byte read on it is
// one for the session it carries, HTTP/2 pings and their answers included
// (design §4).
type conn struct {
	net.Conn
	wheel *wheel.Wheel
	last  atomic.Int64 // wheel time of the last read
	raw   rawReader

	mu       sync.Mutex // guards all below
	user     presence.User
	sessions int  // that it carries now
	shared   bool // it ever carried sessions of two users
}

// Read reads and notes when.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.noteRead()
	}
	return n, err
}

func (c *conn) noteRead() { c.last.Store(int64(c.wheel.Now())) }

func (c *conn) lastRead() time.Duration { return time.Duration(c.last.Load()) }

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
	counted := &conn{Conn: raw, wheel: c.door.cfg.Wheel}
	counted.last.Store(int64(counted.wheel.Now()))
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

// connOf returns the connection and the peer's address of a call.
func connOf(ctx context.Context) (*conn, string) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, ""
	}
	info, _ := p.AuthInfo.(connInfo)
	return info.conn, p.Addr.String()
}
