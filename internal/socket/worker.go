package socket

import "bytes"

// readSize is how much of a peer is read at once.
const readSize = 16 << 10

// worker serves one connection after the other in epoll mode, with buffers that
// are its own.
type worker struct {
	line   *line
	away   bool // its door waits for something
	frames frames
	buf    []byte // for reading

	// One read or write at a time: its parameters and results. They are fields so
	// that none allocates.
	b        []byte
	n        int
	err      error
	tryRead  func(fd uintptr) bool
	tryWrite func(fd uintptr) bool
}

func newWorker(n *line) *worker {
	w := &worker{line: n}
	if n.kind == byReader {
		w.buf = make([]byte, readSize)
	}
	w.tryRead, w.tryWrite = w.onceRead, w.onceWrite
	return w
}

// read takes what came of c, and writes what is answered.
func (w *worker) read(c *Conn) {
	if !c.acquire() {
		c.finish()
		return
	}
	c.turn.CompareAndSwap(idle, held)
	c.by = w
	if b := w.receive(c); len(b) > 0 {
		if b = c.take(&w.frames, b); len(b) > 0 {
			c.in = &partial{later: bytes.Clone(b)}
		}
	}
	c.by = nil
	c.letGo(w)
	c.poll.readOn(c)
	c.release()
}

// writeTurn is the turn of c to be written.
func (w *worker) writeTurn(c *Conn) {
	c.turn.Store(busy)
	if !c.acquire() {
		return
	}
	w.write(c)
	c.release()
}

// write sends once for c, whose turn is busy. If there is more, c goes in line
// again behind the others.
func (w *worker) write(c *Conn) {
	if c.write(w) == again {
		c.turn.Store(waiting)
		w.line.loop.writers.add(c)
	}
}

// MayBlock says, from within Message, that the door is about to wait for
// something: another worker takes over what waits in line, and what was given
// to Send goes out meanwhile.
func (c *Conn) MayBlock() {
	c.deaf.Store(^moment(0))
	if w := c.by; w != nil {
		w.line.goAway(w)
		c.letGo(nil)
	}
}
