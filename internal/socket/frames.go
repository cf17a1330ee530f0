package socket

import (
	"bytes"
	"encoding/binary"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// sink takes what frames were found to say.
type sink interface {
	// message takes a whole message; more says whether it can take another one now.
	// control takes the payload of a ping, pong or close frame. Both may be changed
	// in place, and are good for the call.
	message(kind Kind, b []byte) (more bool)
	control(op ws.OpCode, b []byte) *CloseError
}

// frames makes messages of bytes, however they come apart. What it keeps between
// two reads is what has come of a message, never what a header claims. One is
// lent with each worker.
type frames struct {
	max  int      // bytes of a message
	kept *partial // of the connection that is read; nil between two messages
	to   sink
	full bool // to takes no more now

	header bytes.Reader
	around [ws.MaxHeaderSize]byte // for the header to be decoded in
}

// partial is what came of a message that is not whole.
type partial struct {
	head  [ws.MaxHeaderSize]byte // the first bytes of a frame, until its header is whole
	nhead int

	inside bool // a frame's header is whole and its payload is not
	frame  ws.Header
	got    int // bytes of its payload that came

	op      ws.OpCode // of the message; 0: none has begun
	message []byte    // its payload so far, without mask
	checked int       // how much of it is UTF-8 without doubt
	control []byte    // payload so far of a control frame

	later []byte // bytes that were read and not fed yet; when there are any, nothing else is kept
}

// feed takes the next bytes of the peer; they are changed. What it returns of
// them is for later, when the sink can take more. An error is what the peer is to
// be told, and the end.
func (f *frames) feed(b []byte) (later []byte, bad *CloseError) {
	f.full = false
	for len(b) > 0 && !f.full {
		if f.kept == nil || !f.kept.inside {
			h, n, whole := f.decode(b)
			if !whole {
				return nil, nil
			}
			if n < 0 {
				return nil, violation("a frame longer than any can be")
			}
			b = b[n:]
			if bad := f.check(h); bad != nil {
				return nil, bad
			}
			if h.Length > int64(len(b)) {
				p := f.keep()
				p.inside, p.frame, p.got = true, h, 0
			} else {
				payload := b[:h.Length:h.Length]
				b = b[h.Length:]
				ws.Cipher(payload, h.Mask, 0)
				if bad := f.whole(h, payload); bad != nil {
					return nil, bad
				}
				continue
			}
		}
		n, bad := f.some(b)
		if bad != nil {
			return nil, bad
		}
		b = b[n:]
	}
	return b, nil
}

func (f *frames) keep() *partial {
	if f.kept == nil {
		f.kept = &partial{}
	}
	return f.kept
}

// tidy drops what is kept when it says nothing.
func (f *frames) tidy() {
	if p := f.kept; p.op == 0 && p.nhead == 0 && !p.inside {
		f.kept = nil
	}
}

// decode reads a frame's header from what was kept and b; n is how much of b
// belongs to it, negative when the header cannot be one.
func (f *frames) decode(b []byte) (h ws.Header, n int, whole bool) {
	before := 0
	if f.kept != nil && f.kept.nhead > 0 {
		before = f.kept.nhead
		n := copy(f.kept.head[before:], b)
		f.header.Reset(f.kept.head[:before+n])
	} else {
		f.header.Reset(b[:min(len(b), ws.MaxHeaderSize)])
	}
	size := f.header.Len()
	h, err := ws.ReadHeaderBuffer(&f.header, f.around[:])
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		p := f.keep()
		if before == 0 {
			copy(p.head[:], b)
		}
		p.nhead = size
		return h, len(b), false
	case err != nil:
		return h, -1, true
	}
	if before > 0 {
		f.kept.nhead = 0
	}
	return h, size - f.header.Len() - before, true
}

// check refuses what RFC 6455, section 5, forbids, before a byte of the payload
// is taken.
func (f *frames) check(h ws.Header) *CloseError {
	running := f.kept != nil && f.kept.op != 0
	switch {
	case h.Rsv != 0:
		return violation("reserved bits are set, but no extension was agreed on")
	case !h.Masked:
		return violation("the frame is not masked")
	case h.OpCode.IsControl():
		switch {
		case h.OpCode > ws.OpPong:
			return violation("unknown opcode")
		case !h.Fin:
			return violation("a control frame in fragments")
		case h.Length > ws.MaxControlFramePayloadSize:
			return violation("a control frame over 125 bytes")
		}
		return nil
	case h.OpCode > ws.OpBinary:
		return violation("unknown opcode")
	case h.OpCode == ws.OpContinuation && !running:
		return violation("a continuation of nothing")
	case h.OpCode != ws.OpContinuation && running:
		return violation("a new message inside another")
	}
	before := 0
	if running {
		before = len(f.kept.message)
	}
	if h.Length > int64(f.max-before) {
		return &CloseError{Code: CodeTooBig, Reason: "the message is too long"}
	}
	return nil
}

// whole takes a frame that came in one piece, without its mask.
func (f *frames) whole(h ws.Header, payload []byte) *CloseError {
	if h.OpCode.IsControl() {
		if f.kept != nil {
			f.tidy()
		}
		return f.to.control(h.OpCode, payload)
	}
	if h.Fin && h.OpCode != ws.OpContinuation {
		if f.kept != nil {
			f.tidy()
		}
		if h.OpCode == ws.OpText && !utf8.Valid(payload) {
			return notUTF8()
		}
		f.full = !f.to.message(Kind(h.OpCode), payload)
		return nil
	}
	p := f.keep()
	if h.OpCode != ws.OpContinuation {
		p.op = h.OpCode
	}
	p.message = appendUpTo(p.message, payload, f.max)
	return f.fragment(h.Fin)
}

// some takes what b has of the payload of the frame inside which we are.
func (f *frames) some(b []byte) (n int, bad *CloseError) {
	p := f.kept
	h := &p.frame
	left := int(h.Length) - p.got
	b = b[:min(left, len(b))]
	ws.Cipher(b, h.Mask, p.got)
	p.got += len(b)
	left -= len(b)
	p.inside = left > 0
	if h.OpCode.IsControl() {
		p.control = append(p.control, b...)
		if left == 0 {
			payload := p.control
			p.control = nil
			f.tidy()
			bad = f.to.control(h.OpCode, payload)
		}
		return len(b), bad
	}
	if h.OpCode != ws.OpContinuation {
		p.op = h.OpCode
	}
	most := f.max
	if h.Fin {
		most = len(p.message) + len(b) + left
	}
	p.message = appendUpTo(p.message, b, most)
	return len(b), f.fragment(h.Fin && left == 0)
}

// fragment looks at the message that grew; last says that it is whole now.
func (f *frames) fragment(last bool) *CloseError {
	p := f.kept
	if p.op == ws.OpText {
		var ok bool
		if p.checked, ok = checkText(p.message, p.checked); !ok || last && p.checked < len(p.message) {
			return notUTF8()
		}
	}
	if !last {
		return nil
	}
	kind, message := Kind(p.op), p.message
	p.op, p.message, p.checked = 0, nil, 0
	f.tidy()
	f.full = !f.to.message(kind, message)
	return nil
}

// appendUpTo appends b to a, which will not be longer than most in the end: room
// is made for twice what has come, so that many small pieces are not copied each
// time, but for no more than most.
func appendUpTo(a, b []byte, most int) []byte {
	if need := len(a) + len(b); need > cap(a) {
		grown := make([]byte, len(a), max(need, min(max(2*need, 256), most)))
		copy(grown, a)
		a = grown
	}
	return append(a, b...)
}

// checkText goes on checking b, of which the first from bytes are UTF-8. What is
// not checked at its end is the beginning of a character.
func checkText(b []byte, from int) (checked int, ok bool) {
	tail := b[from:]
	if utf8.Valid(tail) {
		return len(b), true
	}
	for i := len(tail) - 1; i >= max(0, len(tail)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(tail[i]) {
			return from + i, !utf8.FullRune(tail[i:]) && utf8.Valid(tail[:i])
		}
	}
	return from, false
}

// parseClose reads the payload of a close frame (RFC 6455, section 5.5.1).
func parseClose(b []byte) (said, bad *CloseError) {
	if len(b) == 0 {
		return &CloseError{Code: CodeNone, Remote: true}, nil
	}
	if len(b) == 1 {
		return nil, violation("a close code of one byte")
	}
	code := int(binary.BigEndian.Uint16(b))
	if !validCode(code) {
		return nil, violation("a close code that must not be sent")
	}
	if !utf8.Valid(b[2:]) {
		return nil, notUTF8()
	}
	return &CloseError{Code: code, Reason: string(b[2:]), Remote: true}, nil
}

// validCode reports whether a close frame may carry code: those that are registered
// and no mere placeholders, and the ranges for libraries and applications.
func validCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

func violation(reason string) *CloseError {
	return &CloseError{Code: CodeProtocol, Reason: reason}
}

func notUTF8() *CloseError {
	return &CloseError{Code: CodeNotUTF8, Reason: "the text is not UTF-8"}
}
