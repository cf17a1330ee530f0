package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// nullWake bounds each wait, so that the end of the context is noticed.
	nullWake = 100 * time.Millisecond
	// nullBacklog is how many connections may wait to be accepted.
	nullBacklog = 1024
)

// LiveNullEpoll is LiveNullServer without a goroutine, buffer or timer for a
// connection: one epoll set for each core, and what a round of a set wrote for
// one connection leaves in one write. It is the least that any server can do
// for this traffic, and tells how far from that one is.
func LiveNullEpoll(ctx context.Context, listenAddr string, ready func(addr string) error) error {
	addr, err := loopback(listenAddr)
	if err != nil {
		return err
	}
	n := &epollNull{liveNull: &liveNull{nullTable: newNullTable(newLiveFrames)}, listener: -1}
	defer n.close()
	bound, err := n.listen(addr)
	if err != nil {
		return fmt.Errorf("bench: null server: %w", err)
	}
	if err := ready(bound.String()); err != nil {
		return err
	}
	failed := make([]error, len(n.loops))
	var work sync.WaitGroup
	for i, l := range n.loops {
		work.Go(func() { failed[i] = l.run(ctx) })
	}
	work.Wait()
	return errors.Join(failed...)
}

// epollNull is the server with its sets.
type epollNull struct {
	*liveNull
	listener int
	loops    []*nullLoop
	buffers  sync.Pool // of *[]byte, for what waits to be written

	mu    sync.Mutex   // guards dirty
	dirty []*epollSink // those with something to write
}

// nullLoop is one set and its connections.
type nullLoop struct {
	server *epollNull
	epoll  int
	first  bool // it accepts

	mu    sync.Mutex // guards conns: the first loop adds to all
	conns map[int32]*epollSink
}

// listen makes the sets and the listener, and returns where that listens.
func (n *epollNull) listen(addr netip.AddrPort) (netip.AddrPort, error) {
	for range runtime.GOMAXPROCS(0) {
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return addr, err
		}
		n.loops = append(n.loops, &nullLoop{server: n, epoll: ep, first: len(n.loops) == 0, conns: make(map[int32]*epollSink)})
	}
	family, sa := socketAddr(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return addr, err
	}
	n.listener = fd
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := errors.Join(unix.Bind(fd, sa), unix.Listen(fd, nullBacklog), unix.EpollCtl(n.loops[0].epoll, unix.EPOLL_CTL_ADD, fd, &ev)); err != nil {
		return addr, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return addr, err
	}
	switch sa := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	}
	return addr, errors.New("the listener has no address")
}

// close closes everything; the loops have ended.
func (n *epollNull) close() {
	for _, l := range n.loops {
		for _, c := range l.conns {
			_ = unix.Close(c.fd)
		}
		_ = unix.Close(l.epoll)
	}
	if n.listener >= 0 {
		_ = unix.Close(n.listener)
	}
}

// run serves the set until ctx ends.
func (l *nullLoop) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ready, buf := make([]unix.EpollEvent, 256), make([]byte, maxPayload)
	for ctx.Err() == nil {
		got, err := unix.EpollWait(l.epoll, ready, int(nullWake/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("bench: null server: epoll: %w", err)
		}
		for i := range max(got, 0) {
			if l.first && ready[i].Fd == int32(l.server.listener) {
				if err := l.server.accept(); err != nil {
					return fmt.Errorf("bench: null server: %w", err)
				}
				continue
			}
			l.serve(ready[i].Fd, ready[i].Events, buf)
		}
		l.server.flush()
	}
	return nil
}

// accept takes all who wait, each into the next set.
func (n *epollNull) accept() error {
	for {
		fd, _, err := unix.Accept4(n.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR):
			return nil
		case err != nil:
			return err
		}
		l := n.loops[fd%len(n.loops)]
		c := &epollSink{server: n, loop: l, fd: fd}
		c.peer = livePeer{server: n.liveNull, sink: c}
		l.mu.Lock()
		l.conns[int32(fd)] = c
		l.mu.Unlock()
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev)); err != nil {
			return err
		}
	}
}

// serve reads once from a connection, or goes on writing to it.
func (l *nullLoop) serve(fd int32, events uint32, buf []byte) {
	l.mu.Lock()
	c := l.conns[fd]
	l.mu.Unlock()
	if c == nil {
		return
	}
	if events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if events&^uint32(unix.EPOLLOUT) == 0 {
		return
	}
	have := copy(buf, c.rest)
	got, err := unix.Read(c.fd, buf[have:])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	rest := buf[:0]
	if err == nil && got > 0 {
		rest, err = c.peer.feed(buf[:have+got])
	}
	if err != nil || got <= 0 || len(rest) == len(buf) {
		l.drop(c)
		return
	}
	c.rest = append(c.rest[:0], rest...)
}

// drop ends a connection.
func (l *nullLoop) drop(c *epollSink) {
	c.peer.end()
	l.mu.Lock()
	delete(l.conns, int32(c.fd))
	l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	_ = unix.Close(c.fd)
}

// flush writes to all who have something to be written.
func (n *epollNull) flush() {
	for {
		n.mu.Lock()
		dirty := n.dirty
		n.dirty = nil
		n.mu.Unlock()
		if len(dirty) == 0 {
			return
		}
		for _, c := range dirty {
			c.flush()
		}
	}
}

// epollSink is one connection.
type epollSink struct {
	server *epollNull
	loop   *nullLoop
	fd     int
	peer   livePeer
	rest   []byte // begin of a frame not yet complete

	mu      sync.Mutex // guards all below
	pending *[]byte    // to be written; nil when nothing is
	marked  bool       // in dirty
	blocked bool       // waits until it may write
	closed  bool
}

// send puts a message in line.
func (c *epollSink) send(msg any) {
	b, _ := msg.([]byte)
	c.mu.Lock()
	if c.pending == nil {
		c.pending, _ = c.server.buffers.Get().(*[]byte)
		if c.pending == nil {
			c.pending = new([]byte)
		}
	}
	*c.pending = append(*c.pending, b...)
	mark := !c.marked && !c.blocked
	c.marked = c.marked || mark
	c.mu.Unlock()
	if mark {
		c.server.mu.Lock()
		c.server.dirty = append(c.server.dirty, c)
		c.server.mu.Unlock()
	}
}

// flush writes what waits. A connection that fails is found out by its reads.
func (c *epollSink) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marked = false
	if c.pending == nil || c.closed {
		return
	}
	n, err := unix.Write(c.fd, *c.pending)
	left := copy(*c.pending, (*c.pending)[max(n, 0):])
	*c.pending = (*c.pending)[:left]
	blocked := left > 0 && (err == nil || errors.Is(err, unix.EAGAIN))
	if blocked != c.blocked {
		c.blocked = blocked
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}
		if blocked {
			ev.Events |= unix.EPOLLOUT
		}
		_ = unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, c.fd, &ev)
	}
	if !blocked {
		*c.pending = (*c.pending)[:0]
		c.server.buffers.Put(c.pending)
		c.pending = nil
	}
}
