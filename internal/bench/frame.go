package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The part of WebSocket (RFC 6455) that the load and its null servers need:
// whole messages in one frame, no extensions.
//
//	0        FIN and opcode
//	1        mask bit and length; 126: two more bytes of it, 127: eight
//	…        four bytes of mask, from devices only
//	…        payload
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA

	finalBit = 0x80
	maskBit  = 0x80

	// maxPayload is far above anything the dialect sends, and below the read
	// buffers of both sides.
	maxPayload = 128 << 10
)

// wsFrame is one received frame.
type wsFrame struct {
	op      byte
	payload []byte
}

// cutFrame takes the first frame off b. size is how many bytes it took, 0 when
// it is not complete yet. A mask is taken off in place.
func cutFrame(b []byte) (f wsFrame, size int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	if b[0]&^0x0f != finalBit {
		return f, 0, errors.New("a WebSocket frame that is a part of a message, or of an extension")
	}
	f.op = b[0] & 0x0f
	at, length := 2, uint64(b[1]&^maskBit)
	switch length {
	case 126:
		if len(b) < 4 {
			return f, 0, nil
		}
		at, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return f, 0, nil
		}
		at, length = 10, binary.BigEndian.Uint64(b[2:])
	}
	if length > maxPayload {
		return f, 0, fmt.Errorf("a WebSocket frame of %d bytes, more than the %d allowed", length, maxPayload)
	}
	var mask [4]byte
	if b[1]&maskBit != 0 {
		if len(b) < at+4 {
			return f, 0, nil
		}
		at += copy(mask[:], b[at:])
	}
	if size = at + int(length); len(b) < size {
		return f, 0, nil
	}
	f.payload = b[at:size]
	if mask != [4]byte{} {
		for i := range f.payload {
			f.payload[i] ^= mask[i&3]
		}
	}
	return f, size, nil
}

// appendHead appends the header of a server's frame.
func appendHead(b []byte, op byte, length int) []byte {
	switch {
	case length < 126:
		return append(b, finalBit|op, byte(length))
	case length < 1<<16:
		return append(b, finalBit|op, 126, byte(length>>8), byte(length))
	}
	return binary.BigEndian.AppendUint64(append(b, finalBit|op, 127), uint64(length))
}

// appendMasked appends a device's frame. Its mask is all zeros, which the
// protocol allows and which spares the load the masking; the server unmasks all
// the same.
func appendMasked(b []byte, op byte, payload ...[]byte) []byte {
	length := 0
	for _, p := range payload {
		length += len(p)
	}
	at := len(b) + 1
	b = appendHead(b, op, length)
	b[at] |= maskBit
	b = append(b, 0, 0, 0, 0)
	for _, p := range payload {
		b = append(b, p...)
	}
	return b
}
