package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// The part of HTTP/2 (RFC 9113) and of gRPC over it that one device needs: one
// long stream of answers and one unary call at a time, small requests, no
// flow control of what it receives (it opens all windows at the start, as a
// reader that keeps up would).
//
//	device                                     server
//	preface, SETTINGS, WINDOW_UPDATE  ───────▶
//	                                  ◀───────  SETTINGS, PING, …   (answered)
//	HEADERS(path, token), DATA(END)   ───────▶  a call
//	                                  ◀───────  HEADERS, DATA…, HEADERS(END, grpc-status)
const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader  = 9
	maxFrame     = 16384 // SETTINGS_MAX_FRAME_SIZE is left at its default
	firstWindow  = 65535
	openWindow   = 1<<31 - 1
	maxMessage   = 1 << 20 // far above anything the interface sends
	messageStart = 5       // gRPC: a flag byte and four bytes of length
)

const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagEnd        = 0x1 // END_STREAM; ACK of SETTINGS and PING
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingTableSize  = 0x1
	settingPush       = 0x2
	settingInitialWin = 0x4
)

// listener is told what a link received. The bytes of a message are valid
// during the call only. An error ends the link.
type listener interface {
	message(stream uint32, msg []byte) error
	ended(stream uint32, code codes.Code, detail string) error
}

// link is the device's end of one HTTP/2 connection, without the connection:
// bytes received go into feed, bytes to send collect in out.
type link struct {
	out []byte // to be written by the owner, who also empties it

	auth      string // value of the authorization header
	authority string
	next      uint32 // id of the next stream
	credit    int64  // what the server still allows us to send

	enc   *hpack.Encoder
	block bytes.Buffer // header block being encoded
	dec   *hpack.Decoder
	in    headers
	part  map[uint32][]byte // messages begun but not complete; nil as a rule
}

// headers is the header block being received.
type headers struct {
	open    bool // CONTINUATION must follow
	stream  uint32
	end     bool   // the stream ends with it
	http    string // :status
	status  string // grpc-status
	message string // grpc-message, percent-encoded
}

// newLink returns a link with its opening bytes in out.
func newLink(authority, auth string) *link {
	l := &link{auth: auth, authority: authority, next: 1, credit: firstWindow}
	l.enc = hpack.NewEncoder(&l.block)
	l.dec = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		switch f.Name {
		case ":status":
			l.in.http = f.Value
		case "grpc-status":
			l.in.status = f.Value
		case "grpc-message":
			l.in.message = f.Value
		}
	})
	l.out = append(l.out, preface...)
	l.out = appendFrame(l.out, frameSettings, 0, 0, 12)
	l.out = appendSetting(l.out, settingPush, 0)
	l.out = appendSetting(l.out, settingInitialWin, openWindow)
	l.out = appendFrame(l.out, frameWindow, 0, 0, 4)
	l.out = binary.BigEndian.AppendUint32(l.out, openWindow-firstWindow)
	return l
}

// call appends a whole request to out and returns its stream. The message is
// the concatenation of parts. It fails when the server gave no room to send.
func (l *link) call(path string, parts ...[]byte) (uint32, error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if int64(size+messageStart) > l.credit || size+messageStart > maxFrame {
		return 0, fmt.Errorf("no room for a request of %d bytes: the server allows %d more on this connection", size, l.credit)
	}
	l.credit -= int64(size + messageStart)
	stream := l.next
	l.next += 2

	l.block.Reset()
	for _, f := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: l.authority},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		{Name: "authorization", Value: l.auth},
	} {
		if err := l.enc.WriteField(f); err != nil {
			return 0, fmt.Errorf("encode headers: %w", err)
		}
	}
	if l.block.Len() > maxFrame {
		return 0, fmt.Errorf("the access token of %d bytes does not fit into one frame", len(l.auth))
	}
	l.out = appendFrame(l.out, frameHeaders, flagEndHeaders, stream, l.block.Len())
	l.out = append(l.out, l.block.Bytes()...)
	l.out = appendFrame(l.out, frameData, flagEnd, stream, size+messageStart)
	l.out = append(l.out, 0)
	l.out = binary.BigEndian.AppendUint32(l.out, uint32(size))
	for _, p := range parts {
		l.out = append(l.out, p...)
	}
	return stream, nil
}

// feed handles every whole frame in b and returns what is left of b. Answers
// that the protocol asks for (settings, pings) are appended to out.
func (l *link) feed(b []byte, to listener) ([]byte, error) {
	for len(b) >= frameHeader {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if size > maxFrame {
			return b, fmt.Errorf("the server sent a frame of %d bytes, more than the %d allowed", size, maxFrame)
		}
		if len(b) < frameHeader+size {
			return b, nil
		}
		f := frame{kind: b[3], flags: b[4], stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1), body: b[frameHeader : frameHeader+size]}
		if err := l.handle(f, to); err != nil {
			return b, err
		}
		b = b[frameHeader+size:]
	}
	return b, nil
}

// frame is one received HTTP/2 frame.
type frame struct {
	kind, flags byte
	stream      uint32
	body        []byte
}

func (l *link) handle(f frame, to listener) error {
	if l.in.open && (f.kind != frameContinuation || f.stream != l.in.stream) {
		return errors.New("the server sent another frame inside a header block")
	}
	switch f.kind {
	case frameData:
		return l.onData(f, to)
	case frameHeaders, frameContinuation:
		return l.onHeaders(f, to)
	case frameReset:
		if len(f.body) != 4 {
			return errors.New("the server sent a broken RST_STREAM")
		}
		delete(l.part, f.stream)
		return to.ended(f.stream, codes.Internal, fmt.Sprintf("stream reset with HTTP/2 error %d", binary.BigEndian.Uint32(f.body)))
	case frameSettings:
		return l.onSettings(f)
	case framePing:
		if len(f.body) != 8 {
			return errors.New("the server sent a broken PING")
		}
		if f.flags&flagEnd == 0 {
			l.out = appendFrame(l.out, framePing, flagEnd, 0, 8)
			l.out = append(l.out, f.body...)
		}
	case frameGoAway:
		if len(f.body) < 8 {
			return errors.New("the server sent a broken GOAWAY")
		}
		return fmt.Errorf("the server closes the connection: HTTP/2 error %d, %q", binary.BigEndian.Uint32(f.body[4:]), f.body[8:])
	case frameWindow:
		if len(f.body) != 4 {
			return errors.New("the server sent a broken WINDOW_UPDATE")
		}
		if f.stream == 0 {
			l.credit += int64(binary.BigEndian.Uint32(f.body) & (1<<31 - 1))
		}
	case framePush:
		return errors.New("the server sent a PUSH_PROMISE although push is off")
	}
	return nil // unknown kinds are ignored (RFC 9113 section 4.1)
}

func (l *link) onSettings(f frame) error {
	if f.flags&flagEnd != 0 {
		return nil
	}
	if len(f.body)%6 != 0 {
		return errors.New("the server sent broken SETTINGS")
	}
	for s := f.body; len(s) > 0; s = s[6:] {
		id, v := binary.BigEndian.Uint16(s), binary.BigEndian.Uint32(s[2:])
		switch id {
		case settingTableSize:
			l.enc.SetMaxDynamicTableSizeLimit(min(v, 4096))
		case settingInitialWin:
			// A request is sent whole; one window of a stream must hold it.
			if v < 8<<10 {
				return fmt.Errorf("the server's stream window of %d bytes is too small for the load", v)
			}
		}
	}
	l.out = appendFrame(l.out, frameSettings, flagEnd, 0, 0)
	return nil
}

func (l *link) onHeaders(f frame, to listener) error {
	body := f.body
	if f.kind == frameHeaders {
		l.in = headers{stream: f.stream, end: f.flags&flagEnd != 0}
		var err error
		if body, err = unpad(f); err != nil {
			return err
		}
		if f.flags&flagPriority != 0 {
			if len(body) < 5 {
				return errors.New("the server sent broken HEADERS")
			}
			body = body[5:]
		}
	} else if !l.in.open {
		return errors.New("the server sent a CONTINUATION of nothing")
	}
	if _, err := l.dec.Write(body); err != nil {
		return fmt.Errorf("decode headers: %w", err)
	}
	if l.in.open = f.flags&flagEndHeaders == 0; l.in.open {
		return nil
	}
	if err := l.dec.Close(); err != nil {
		return fmt.Errorf("decode headers: %w", err)
	}
	if l.in.http != "" && l.in.http != "200" {
		return fmt.Errorf("the server answered HTTP status %s", l.in.http)
	}
	if !l.in.end {
		return nil
	}
	delete(l.part, f.stream)
	code, err := strconv.ParseUint(l.in.status, 10, 32)
	if err != nil {
		return fmt.Errorf("the server ended a call with grpc-status %q", l.in.status)
	}
	detail, err := url.PathUnescape(l.in.message)
	if err != nil {
		detail = l.in.message
	}
	return to.ended(f.stream, codes.Code(code), detail)
}

// onData cuts the messages out of a stream's bytes.
func (l *link) onData(f frame, to listener) error {
	body, err := unpad(f)
	if err != nil {
		return err
	}
	begun, resumed := l.part[f.stream]
	if resumed {
		body = append(begun, body...)
	}
	for len(body) >= messageStart {
		size := binary.BigEndian.Uint32(body[1:])
		if body[0] != 0 || size > maxMessage {
			return fmt.Errorf("the server sent a message of %d bytes with flag %d; only plain ones up to %d are expected", size, body[0], maxMessage)
		}
		end := messageStart + int(size)
		if len(body) < end {
			break
		}
		if err := to.message(f.stream, body[messageStart:end]); err != nil {
			return err
		}
		body = body[end:]
	}
	switch {
	case len(body) > 0 && f.flags&flagEnd == 0:
		if l.part == nil {
			l.part = make(map[uint32][]byte)
		}
		l.part[f.stream] = bytes.Clone(body)
	case resumed:
		delete(l.part, f.stream)
	}
	return nil
}

// unpad returns the body of a DATA or HEADERS frame without its padding.
func unpad(f frame) ([]byte, error) {
	if f.flags&flagPadded == 0 {
		return f.body, nil
	}
	if len(f.body) < 1 || int(f.body[0]) >= len(f.body) {
		return nil, errors.New("the server sent a frame with more padding than bytes")
	}
	return f.body[1 : len(f.body)-int(f.body[0])], nil
}

func appendFrame(b []byte, kind, flags byte, stream uint32, size int) []byte {
	b = append(b, byte(size>>16), byte(size>>8), byte(size), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSetting(b []byte, id uint16, v uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, id)
	return binary.BigEndian.AppendUint32(b, v)
}
