package socket

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

const (
	// lentSize is the room of a lent buffer.
	lentSize = 64 << 10
	// fullSize is when a door should stop filling it: the last message may still
	// be as long as what is left.
	fullSize = 32 << 10
	// mostKept is the longest buffer that is kept for lending once a message did
	// not fit into lentSize.
	mostKept = 128 << 10
)

// Out is a lent buffer that a door fills with messages. It is good for one call
// of Fill.
type Out struct {
	buf  []byte
	conn *Conn // whose answers go in front
}

// Text appends one text message: body gets the buffer and returns it with the
// message's bytes appended.
//
//	out.Text(func(b []byte) []byte { return append(b, shared...) })
func (o *Out) Text(body func(b []byte) []byte) { o.frame(ws.OpText, body) }

// Binary appends one binary message, as Text does.
func (o *Out) Binary(body func(b []byte) []byte) { o.frame(ws.OpBinary, body) }

// Full reports that there is enough for one write.
func (o *Out) Full() bool { return len(o.buf) >= fullSize }

// Len is how many bytes wait in it, headers included.
func (o *Out) Len() int { return len(o.buf) }

// midHead is the length of the header of a frame of 126 to 65,535 bytes, which
// is left free before a body whose length is not known yet.
const midHead = 4

func (o *Out) frame(op ws.OpCode, body func(b []byte) []byte) {
	if o.conn != nil {
		// What the door has to say may follow from an answer that came since it was
		// asked: a welcome, and then what its reader was waiting for.
		o.conn.answersTo(o, false)
	}
	at := len(o.buf)
	b := body(append(o.buf, 0, 0, 0, 0))
	n := len(b) - at - midHead
	switch {
	case n < 126:
		copy(b[at+2:], b[at+midHead:])
		b = b[:len(b)-2]
	case n > 0xffff:
		b = append(b, 0, 0, 0, 0, 0, 0)
		copy(b[at+10:], b[at+midHead:len(b)-6])
	}
	putHead(b[at:], op, n)
	o.buf = b
}

// putHead writes the header of an unfragmented server frame in front of its n
// bytes (RFC 6455, section 5.2): no reserved bits, no mask.
func putHead(b []byte, op ws.OpCode, n int) {
	b[0] = 0x80 | byte(op)
	switch {
	case n < 126:
		b[1] = byte(n)
	case n <= 0xffff:
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
}

// appendFrame appends a whole frame.
func appendFrame(b []byte, op ws.OpCode, body []byte) []byte {
	var head [10]byte
	n := len(body)
	putHead(head[:], op, n)
	size := 2
	switch {
	case n > 0xffff:
		size = 10
	case n > 125:
		size = midHead
	}
	return append(append(b, head[:size]...), body...)
}
