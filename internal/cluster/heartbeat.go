package cluster

import (
	"encoding/binary"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// heartbeat is what a node says of itself and of the others, all in all some
// twenty bytes for each of them.
type heartbeat struct {
	hello
	version  string
	counter  uint64        // one more than in the last
	position uint64        // number of the last batch
	at       presence.Time // by the sender's clock
	leaving  bool          // goodbye: position is the end
	others   []report
}

// hello begins every heartbeat, in all protocols there will be.
type hello struct {
	protocol    byte
	incarnation Incarnation
	fingerprint uint64
	name        string
}

// report is what a node says of another one.
type report struct {
	incarnation Incarnation
	standing    Standing
	heard       uint64        // the highest counter heard of it
	silence     time.Duration // since then
}

func appendHello(dst []byte, h *hello) []byte {
	dst = append(dst, h.protocol, frameHeartbeat)
	dst = binary.LittleEndian.AppendUint64(dst, h.incarnation)
	dst = binary.LittleEndian.AppendUint64(dst, h.fingerprint)
	return appendBytes(dst, h.name)
}

func appendHeartbeat(dst []byte, h *heartbeat) []byte {
	dst = appendHello(dst, &h.hello)
	dst = appendBytes(dst, h.version)
	dst = binary.AppendUvarint(dst, h.counter)
	dst = binary.AppendUvarint(dst, h.position)
	dst = binary.AppendUvarint(dst, uint64(h.at))
	leaving := byte(0)
	if h.leaving {
		leaving = 1
	}
	dst = append(dst, leaving)
	dst = binary.AppendUvarint(dst, uint64(len(h.others)))
	for _, o := range h.others {
		dst = binary.AppendUvarint(dst, o.incarnation)
		dst = append(dst, byte(o.standing))
		dst = binary.AppendUvarint(dst, o.heard)
		dst = binary.AppendUvarint(dst, uint64(o.silence/time.Millisecond))
	}
	return dst
}

// parseHello reads the beginning of a heartbeat of whatever protocol.
func parseHello(b []byte) (h hello, r reader, err error) {
	r = reader{b: b}
	h.protocol = r.byte()
	if r.byte() != frameHeartbeat {
		return h, r, errFrame
	}
	h.incarnation, h.fingerprint, h.name = r.fixed(), r.fixed(), r.text()
	if r.bad || h.incarnation == 0 || h.name == "" {
		return h, r, errFrame
	}
	return h, r, nil
}

// parse reads the rest of a heartbeat of this protocol.
func (h *heartbeat) parse(r reader) error {
	h.version = r.text()
	h.counter, h.position, h.at = r.number(), r.number(), presence.Time(r.number())
	h.leaving = r.byte() != 0
	for range r.count() {
		var o report
		o.incarnation, o.standing = r.number(), Standing(r.byte())
		o.heard = r.number()
		o.silence = time.Duration(min(r.number(), uint64(time.Hour/time.Millisecond))) * time.Millisecond
		h.others = append(h.others, o)
	}
	if r.bad {
		return errFrame
	}
	return nil
}

// of returns what the heartbeat says of one node.
func of(others []report, incarnation Incarnation) (report, bool) {
	for _, o := range others {
		if o.incarnation == incarnation {
			return o, true
		}
	}
	return report{}, false
}
