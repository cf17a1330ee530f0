package socket

import (
	"errors"
	"io"
	"syscall"
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
		n, err := syscall.Write(int(fd), w.b[w.n:])
		switch {
		case err == nil:
			w.n += n
		case !errors.Is(err, syscall.EINTR):
			w.err = err
			return true
		}
	}
	return true
}
