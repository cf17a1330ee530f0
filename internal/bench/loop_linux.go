package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timerSlot stands for the timer among the epoll set's device numbers.
	timerSlot = -1
	// longestWait bounds each wait, so that a cancelled context is noticed.
	longestWait = 20 * time.Millisecond
	// connectTimeout bounds one connect to a listening loopback socket, which
	// takes microseconds unless the server's queue is full.
	connectTimeout = 5 * time.Second
	readBuffer     = 256 << 10
)

// loop is the one thread that plays all devices: an epoll set, a timer of
// microsecond precision, and one read buffer for all connections. It is for
// one goroutine.
type loop struct {
	ctx     context.Context
	epoll   int
	timer   int
	armed   int64 // when the timer rings, 0 when it does not
	began   time.Time
	ready   [256]unix.EpollEvent
	buf     []byte
	devices []*device
}

func newLoop(ctx context.Context) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bench: epoll: %w", err)
	}
	tm, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bench: timer: %w", err), unix.Close(ep))
	}
	l := &loop{ctx: ctx, epoll: ep, timer: tm, began: time.Now(), buf: make([]byte, readBuffer)}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: timerSlot}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, tm, &ev); err != nil {
		l.close()
		return nil, fmt.Errorf("bench: epoll: %w", err)
	}
	return l, nil
}

// now is the time since the start of the run in nanoseconds.
func (l *loop) now() int64 { return int64(time.Since(l.began)) }

// drop closes all connections.
func (l *loop) drop() {
	for _, d := range l.devices {
		d.close()
	}
}

// close closes everything.
func (l *loop) close() {
	l.drop()
	_ = unix.Close(l.timer) // nothing is written there that a close could lose
	_ = unix.Close(l.epoll)
}

// connect opens the connection of d and adds it to the set.
func (l *loop) connect(d *device, to netip.AddrPort) error {
	family, sa := socketAddr(to)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	d.fd, d.slot = fd, int32(len(l.devices))
	l.devices = append(l.devices, d)
	for _, f := range []func() error{
		func() error { return d.narrow() },
		func() error { return connected(fd, unix.Connect(fd, sa)) },
		func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) },
		func() error {
			ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: d.slot}
			return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev)
		},
	} {
		if err := f(); err != nil {
			return fmt.Errorf("connect to %s: %w", to, err)
		}
	}
	return nil
}

// socketAddr is an address as the kernel wants it.
func socketAddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// connected waits until the connect that returned begun is done. The socket does
// not block: a blocking connect would end early with each signal of the Go
// runtime, and its result would be unknown.
func connected(fd int, begun error) error {
	if !errors.Is(begun, unix.EINPROGRESS) && !errors.Is(begun, unix.EINTR) {
		return begun
	}
	for end := time.Now().Add(connectTimeout); ; {
		left := time.Until(end)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(left.Milliseconds())+1)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n > 0:
			code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code != 0 {
				err = unix.Errno(code)
			}
			return err
		}
	}
}

// wait handles what is ready, waiting for it at most until the given time. It
// returns after one batch, or early when nothing came for longestWait; the
// caller loops.
func (l *loop) wait(until int64) error {
	if err := l.ctx.Err(); err != nil {
		return fmt.Errorf("bench: stopped: %w", err)
	}
	timeout := int(longestWait / time.Millisecond)
	switch left := until - l.now(); {
	case left <= 0:
		timeout = 0
	case left < int64(longestWait):
		if err := l.arm(until, left); err != nil {
			return err
		}
	}
	n, err := unix.EpollWait(l.epoll, l.ready[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("bench: epoll: %w", err)
	}
	for i := range max(n, 0) {
		ev := &l.ready[i]
		if ev.Fd == timerSlot {
			l.armed = 0
			_, _ = unix.Read(l.timer, l.buf[:8]) // only its readiness matters
			continue
		}
		if err := l.serve(l.devices[ev.Fd], ev.Events); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) arm(until, left int64) error {
	if l.armed == until {
		return nil
	}
	l.armed = until
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(left)}
	if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
		return fmt.Errorf("bench: timer: %w", err)
	}
	return nil
}

// serve reads once from a ready device and writes what it has to say.
func (l *loop) serve(d *device, events uint32) error {
	if d.fd < 0 {
		return nil // closed earlier in this batch
	}
	if events&unix.EPOLLOUT != 0 {
		if err := l.flush(d); err != nil {
			return d.wrap(err)
		}
	}
	if events&^uint32(unix.EPOLLOUT) == 0 {
		return nil
	}
	n := copy(l.buf, d.rest)
	got, err := unix.Read(d.fd, l.buf[n:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return d.wrap(fmt.Errorf("read: %w", err))
	case got == 0 && d.step == stepLeft:
		d.close()
		return nil
	case got == 0:
		return d.wrap(errors.New("the server closed the connection"))
	}
	d.target.readAt = l.now()
	rest, err := d.speaker.feed(l.buf[:n+got])
	if err != nil {
		return d.wrap(err)
	}
	d.rest = append(d.rest[:0], rest...)
	return d.wrap(l.flush(d))
}

// ignore stops reading from a device, for good.
func (l *loop) ignore(d *device) error {
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, d.fd, nil); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// flush writes what the device has to send; what the socket does not take is
// kept until it is writable again.
func (l *loop) flush(d *device) error {
	out := d.speaker.out()
	if len(*out) == 0 || d.fd < 0 {
		return nil
	}
	n, err := unix.Write(d.fd, *out)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("write: %w", err)
	}
	left := copy(*out, (*out)[max(n, 0):])
	*out = (*out)[:left]
	if blocked := left > 0; blocked != d.blocked {
		d.blocked = blocked
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: d.slot}
		if blocked {
			ev.Events |= unix.EPOLLOUT
		}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, d.fd, &ev); err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
	}
	return nil
}
