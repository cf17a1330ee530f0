package socket

import (
	"bytes"
	"errors"
	"runtime"
)

// Whose turn it is to write, in Conn.turn.
const (
	idle    = iota // nothing waits
	waiting        // in line, or its writer is about to begin
	busy           // being written
	again          // the same, and something came since
	blocked        // the peer does not read: the kernel tells when it does
	held           // the reader will write when it has handled what came
	heldDue        // the same, and there is something
)

// Wake says that the door has something for the peer: it is asked to Fill soon. It
// never blocks, costs next to nothing when the connection is in line already, and does
// nothing once the connection is closing.
func (c *Conn) Wake() {
	for {
		switch was := c.turn.Load(); was {
		case idle:
			if c.turn.CompareAndSwap(idle, waiting) {
				c.toWriters()
				return
			}
		case busy:
			if c.turn.CompareAndSwap(busy, again) {
				return
			}
		case held:
			if c.turn.CompareAndSwap(held, heldDue) {
				return
			}
		default:
			return
		}
	}
}

// toWriters finds somebody who writes. The turn is waiting.
func (c *Conn) toWriters() {
	if c.poll != nil {
		c.loop.writers.add(c)
		return
	}
	if c.acquire() {
		go c.writeAlone()
	}
}

// letGo ends the hold of a reader: what waits is written by w at once, or when
// nobody can block here (w is nil) by a writer.
func (c *Conn) letGo(w *worker) {
	if c.turn.CompareAndSwap(held, idle) {
		return
	}
	if w != nil && c.turn.CompareAndSwap(heldDue, busy) {
		w.write(c)
	} else if c.turn.CompareAndSwap(heldDue, waiting) {
		c.toWriters()
	}
}

// writeAlone is the writer in goroutine mode: it blocks while the peer does not
// read, and goes when there is nothing more.
func (c *Conn) writeAlone() {
	defer c.release()
	runtime.Gosched() // what is being changed now shares the write
	for c.turn.Store(busy); c.write(alone{}) == again; c.turn.Store(busy) {
	}
}

// sender is one try to write: errBlocked when the peer took a part, or nothing.
type sender interface {
	send(c *Conn, b []byte) (int, error)
}

// errBlocked says that the peer takes no more for now.
var errBlocked = errors.New("the peer does not read now")

// alone writes in goroutine mode. The sweep sees to a write that takes too long.
type alone struct{}

func (alone) send(c *Conn, b []byte) (int, error) {
	c.since.Store(c.now())
	n, err := c.link.Write(b)
	c.since.Store(0)
	return n, err
}

// write sends what waits in one write. The turn is busy, and is left idle or blocked;
// or the result is again: something waits, and the turn is the caller's still.
func (c *Conn) write(to sender) int32 {
	if rest := c.rest(); rest != nil {
		n, err := to.send(c, rest)
		if c.keep(rest[n:], err); err != nil {
			return c.stopped(err)
		}
	}
	out := c.loop.lend()
	more := c.gather(out)
	var err error
	if len(out.buf) > 0 {
		var n int
		if n, err = to.send(c, out.buf); err == errBlocked {
			c.keep(bytes.Clone(out.buf[n:]), err)
		}
	}
	c.loop.giveBack(out)
	if err != nil {
		return c.stopped(err)
	}
	c.parted()
	if !more && c.turn.CompareAndSwap(busy, idle) {
		return idle
	}
	return again
}

// stopped leaves a turn that could not write all.
func (c *Conn) stopped(err error) int32 {
	if err == errBlocked {
		c.turn.Store(blocked)
		c.poll.arm(c)
		return blocked
	}
	c.cut(err)
	c.turn.Store(idle)
	return idle
}

// rest is what the last write left.
func (c *Conn) rest() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return nil
	}
	return c.out.rest
}

// keep holds on to what a write left.
func (c *Conn) keep(rest []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(rest) == 0 || err != errBlocked {
		c.out.rest = nil
		c.since.Store(0)
		return
	}
	c.box().rest = rest
	if c.since.Load() == 0 { // else it is the same write still
		c.since.Store(c.now())
	}
}

// gather fills out with what waits.
func (c *Conn) gather(out *Out) (more bool) {
	if !c.answersTo(out, true) {
		return false
	}
	out.conn = c
	defer func() { out.conn = nil }()
	defer c.guard()
	return c.door.Fill(c, out)
}

// answersTo moves the answers that wait into out; those of a connection that is closing,
// its close frame among them, only as the last of all. listening says that the door
// is to be asked for more.
func (c *Conn) answersTo(out *Out, last bool) (listening bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	listening = c.phase == open
	if o := c.out; o != nil && (listening || last) {
		out.buf = append(out.buf, o.answers...)
		o.answers = nil
		c.goOn()
		if listening {
			c.out = nil
		}
	}
	return listening
}

// parted goes on with closing once the close frame is with the kernel.
func (c *Conn) parted() {
	c.mu.Lock()
	o := c.out
	if c.phase != closing || o.sent || len(o.answers) > 0 {
		c.mu.Unlock()
		return
	}
	o.sent = true
	heard, refused, why := o.heard, o.refused, o.why
	c.mu.Unlock()
	switch {
	case heard:
		c.cut(why)
	case refused:
		// Closing a socket with unread input resets the connection, and the peer might
		// never read why. So only this direction ends; the reader waits for the other.
		if half := c.half(); half != nil {
			half.CloseWrite()
		} else {
			c.cut(why)
		}
	}
}

// halfCloser is a connection of which one direction can be ended.
type halfCloser interface{ CloseWrite() error }

// half is what can be closed by halves: TLS, or the socket. It is nil in memory.
func (c *Conn) half() halfCloser {
	if half, ok := c.link.(halfCloser); ok {
		return half
	}
	half, _ := c.counted.Conn.(halfCloser)
	return half
}
