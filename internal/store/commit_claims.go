package store

// claims counts the claims whose Done has not returned, for Flush. They are
// numbered as they come; they end in any order.
type claims struct {
	last  uint64 // number of the newest
	open  int
	marks []*mark
}

// mark waits for the claims up to a number.
type mark struct {
	number uint64
	left   int
	done   chan struct{} // closed when none is left
}

// enter counts a new claim and returns its number.
func (c *claims) enter() uint64 {
	c.last++
	c.open++
	return c.last
}

// leave counts a claim out.
func (c *claims) leave(number uint64) {
	c.open--
	kept := c.marks[:0]
	for _, m := range c.marks {
		if number <= m.number {
			m.left--
		}
		if m.left == 0 {
			close(m.done)
			continue
		}
		kept = append(kept, m)
	}
	clear(c.marks[len(kept):])
	c.marks = kept
}

// mark returns a mark for the claims that are open now.
func (c *claims) mark() *mark {
	m := &mark{number: c.last, left: c.open, done: make(chan struct{})}
	if m.left == 0 {
		close(m.done)
	} else {
		c.marks = append(c.marks, m)
	}
	return m
}
