package live

import (
	"slices"
	"strconv"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/socket"
)

const (
	// drainAtOnce is how many notifications one look at the watcher takes.
	drainAtOnce = 64
	// mostAtOnce bounds what one write holds, so that a peer that stops reading
	// costs no more than that.
	mostAtOnce = 24 << 10
	// mostInFrame bounds one frame: a device should not have to take a snapshot of
	// thousands in one piece.
	mostInFrame = 16 << 10
	// around is room for a frame's header and what stands around its list.
	around = 64
)

// Fill writes what waits: one frame for each look at the watcher, which holds all
// that had changed by then.
func (c *conn) Fill(_ *socket.Conn, out *socket.Out) (more bool) {
	defer c.door.recovered("fill", func() {
		c.refuse(goodbye{reason: "INTERNAL", message: internalDetail, kept: true})
	})
	c.mu.Lock()
	stage, end, topics := c.stage, c.end, c.topics
	c.mu.Unlock()
	if stage != open {
		return false // the hello, or the answer to the device's bye, comes first
	}
	if end.Cause != 0 {
		if c.move(departed) {
			c.part(out, goodbyeTo(end))
		}
		return false
	}
	if c.rest != nil {
		if *c.rest = c.write(out, *c.rest); *c.rest != nil {
			return true
		}
		c.rest = nil
	}
	if topics != nil {
		more = c.drainTopics(out, topics)
	}
	if c.messages != nil {
		more = c.drainMessages(out) || more
		if c.at() != open {
			return false
		}
	}
	return c.drain(out) || more
}

// part says goodbye in its turn.
func (c *conn) part(out *socket.Out, g goodbye) {
	out.Text(g.append)
	c.sock.Close(codeOf(g.reason), g.reason)
	c.door.called("connection", g.reason, noTime)
}

func (c *conn) drain(out *socket.Out) (more bool) {
	lent, ok := c.door.frames.Get().(*[]hub.Frame)
	if !ok {
		room := make([]hub.Frame, 0, drainAtOnce+8)
		lent = &room
	}
	defer c.door.frames.Put(lent)
	for more = true; more && !out.Full(); {
		var list []hub.Frame
		list, more = c.watcher.Drain(c.attachment, (*lent)[:0], drainAtOnce)
		if rest := c.write(out, list); rest != nil {
			kept := slices.Clone(rest)
			c.rest = &kept
		}
		clear(list)
		*lent = list[:0]
		if c.rest != nil {
			return true
		}
	}
	return more
}

// write writes list in frames, as much of it as there is room for, and returns
// what is left, nil if nothing.
func (c *conn) write(out *socket.Out, list []hub.Frame) []hub.Frame {
	for len(list) > 0 {
		n := fitting(list, mostAtOnce-out.Len())
		if n == 0 {
			return list
		}
		out.Text(func(b []byte) []byte { return appendBatch(b, list[:n]) })
		list = list[n:]
	}
	return nil
}

// fitting is how many of list make the next frame, where there are room bytes; 0
// when it is better to begin anew. One that is longer than all bounds fits alone.
func fitting(list []hub.Frame, room int) int {
	size := around
	for i := range list {
		size += sizeOf(&list[i])
		switch {
		case size <= min(room, mostInFrame):
		case i > 0:
			return i
		case size <= room || room >= mostAtOnce:
			return 1
		default:
			return 0
		}
	}
	return len(list)
}

// sizeOf is the length of an item, of a mark at most.
func sizeOf(f *hub.Frame) int {
	if f.Mark != nil {
		return around + 6*len(f.Mark.User)
	}
	return len(f.Body.([]byte)) + 1
}

// appendBatch appends {"t":"n","q":LAST,"n":[…]}: the numbers are consecutive,
// and q is the last one's.
func appendBatch(b []byte, list []hub.Frame) []byte {
	b = append(b, `{"t":"n","q":`...)
	b = strconv.AppendUint(b, list[len(list)-1].Sequence, 10)
	b = append(b, `,"n":[`...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if list[i].Mark != nil {
			b = mark(b, list[i].Mark)
		} else {
			b = append(b, list[i].Body.([]byte)...)
		}
	}
	return append(b, "]}"...)
}
