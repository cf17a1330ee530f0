package socket

import (
	"errors"
	"io"
	"syscall"
	"unsafe"
)

// receive returns what came of c, or was left of that before.
func (w *worker) receive(c *Conn) []byte {
	if c.in != nil && c.in.later != nil {
		later := c.in.later
		c.in = nil
		return later
	}
	w.b, w.n, w.err = w.buf, 0, nil
	err := c.raw.Read(w.tryRead)
	if err == nil {
		err = w.err
	}
	switch {
	case err == syscall.EAGAIN:
	case err != nil:
		c.lost(err)
	case w.n == 0:
		c.lost(io.EOF)
	default:
		c.counted.Note()
	}
	return w.buf[:w.n]
}

func (w *worker) send(c *Conn, b []byte) (int, error) {
	w.b, w.n, w.err = b, 0, nil
	err := c.raw.Write(w.tryWrite)
	if err == nil {
		err = w.err
	}
	w.b = nil
	if err == syscall.EAGAIN {
		err = errBlocked
	}
	return w.n, err
}

// onceRead and onceWrite try once, and never let the connection wait: they are
// called with the descriptor of a socket that cannot be closed meanwhile.
func (w *worker) onceRead(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), w.b)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		w.n, w.err = max(n, 0), err
		return true
	}
}

func (w *worker) onceWrite(fd uintptr) bool {
	for w.n < len(w.b) {
		n, err := writeNow(fd, w.b[w.n:])
		switch err {
		case 0:
			w.n += n
		case syscall.EINTR:
		default:
			w.err = err
			return true
		}
	}
	return true
}

// writeNow is write(2) on a socket that does not block. The scheduler is not told
// of the call: it would look for another thread to go on with, which costs more than the few
// microseconds that the call takes. A third of the time of a fan-out was that.
// b must not be empty.
func writeNow(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), err
}
