//go:build unix

package isonline

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"google.golang.org/grpc/mem"
)

// rawReader reads from a socket when it is readable, into a buffer taken only
// then.
type rawReader struct {
	once sync.Once
	raw  syscall.RawConn // nil: the connection has no socket
	try  func(fd uintptr) bool

	// One read at a time: its parameters and results. They are fields so that
	// no read allocates.
	pool mem.BufferPool
	size int
	buf  *[]byte
	n    int
	err  error
}

// ReadOnReady is how grpc reads without a buffer per idle connection: it waits
// for bytes, then takes a buffer of size from pool and reads once. It notes the
// sign of life as Read does. Only grpc's one reader of the connection calls it.
func (c *conn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	r := &c.raw
	r.once.Do(func() { r.open(c) })
	if r.raw == nil {
		buf := pool.Get(size)
		n, err := c.Read(*buf)
		return buf, n, err
	}
	r.pool, r.size, r.buf, r.n, r.err = pool, size, nil, 0, nil
	err := r.raw.Read(r.try)
	buf, n := r.buf, r.n
	r.pool, r.buf = nil, nil
	if err == nil {
		err = r.err
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		if buf != nil {
			pool.Put(buf)
		}
		return nil, 0, err
	}
	c.Note()
	return buf, n, nil
}

func (r *rawReader) open(c *conn) {
	sys, ok := c.Conn.Conn.(syscall.Conn) // the socket beneath the counting
	if !ok {
		return
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return
	}
	r.raw, r.try = raw, r.read
}

// read tries once; false means that the socket has nothing yet.
func (r *rawReader) read(fd uintptr) bool {
	if r.buf == nil {
		r.buf = r.pool.Get(r.size)
	}
	for {
		n, err := syscall.Read(int(fd), *r.buf)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			// A buffer that waits with the connection is what this avoids.
			r.pool.Put(r.buf)
			r.buf = nil
			return false
		case err != nil:
			r.err = err
		default:
			r.n = n
		}
		return true
	}
}
