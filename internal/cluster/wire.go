package cluster

import (
	"encoding/binary"
	"errors"
)

// Protocol is the version of everything nodes say to each other. Nodes of
// different protocols refuse each other; so the first two bytes of every frame
// and the beginning of a heartbeat (appendHello) never change. Within a protocol
// a later version may add at the end of heartbeats, questions and answers, and may
// have topics and methods more: whoever does not know them passes over them. All
// else, the form of sessions first, is a new protocol.
const Protocol = 1

// Kinds of frames.
const (
	frameHeartbeat = 1
	frameBatch     = 2
	frameCall      = 3
	frameShards    = 4
)

// maxFrame is the most bytes of one frame: external NATS servers take 1 MiB unless
// they are told otherwise.
const maxFrame = 512 << 10

// errFrame is for bytes that no node of this protocol sends.
var errFrame = errors.New("cluster: a frame that cannot be read")

// reader reads fields from the front of b; after the first one that is cut short
// all are zero and bad is true.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) fixed() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns what appendBytes wrote; it is part of what was read.
func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// text is bytes for what is shown or compared, so it is bounded.
func (r *reader) text() string {
	const longest = 256
	b := r.bytes()
	if len(b) > longest {
		r.fail()
		return ""
	}
	return string(b)
}

// count is a number of things of at least one byte each that must follow.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// appendDigests writes which shards are not empty, and the digests of those.
func appendDigests(dst []byte, d *Digests) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, Shards/8)...)
	for i, v := range d {
		if v != 0 {
			dst[at+i/8] |= 1 << (i % 8)
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	}
	return dst
}

func (r *reader) digests(d *Digests) {
	if len(r.b) < Shards/8 {
		r.fail()
		return
	}
	bits := r.b[:Shards/8]
	r.b = r.b[Shards/8:]
	for i := range d {
		d[i] = 0
		if bits[i/8]&(1<<(i%8)) != 0 {
			d[i] = r.fixed()
		}
	}
}
