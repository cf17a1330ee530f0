package socket

import "io"

// aloneSize is how much a connection in goroutine mode reads at once. It is held while
// the connection is idle, so it is no more than most messages need.
const aloneSize = 512

// readAlone is the reader in goroutine mode, for the life of the connection.
// early is what came with the handshake.
func (c *Conn) readAlone(early []byte) {
	defer c.release()
	var f frames
	c.takeAll(&f, early)
	buf := make([]byte, aloneSize)
	for {
		n, err := c.link.Read(buf)
		if n > 0 {
			c.counted.Note() // it may not be beneath link
			c.takeAll(&f, buf[:n])
		}
		if err != nil {
			c.lost(err)
			return
		}
		if n == 0 {
			c.lost(io.ErrNoProgress)
			return
		}
	}
}

// takeAll takes b, and waits in between while answers are to go.
func (c *Conn) takeAll(f *frames, b []byte) {
	for len(b) > 0 {
		b = c.take(f, b)
		c.mu.Lock()
		var room chan struct{}
		if c.phase == open && c.out != nil && len(c.out.answers) >= fewAnswers {
			c.out.waits, c.out.room = true, make(chan struct{})
			room = c.out.room
		}
		c.mu.Unlock()
		if room != nil {
			<-room
		}
	}
}
