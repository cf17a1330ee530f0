package natsstore

import (
	"encoding/binary"
	"errors"
)

// head is the message that stands for a shard's state.
type head struct {
	through uint64 // log sequence the state is as of
	size    uint64 // of the state before compression, in bytes
	parts   uint64 // how many messages hold the body; 0: it is here
	set     uint64 // names the parts
	body    []byte // the compressed state, when it is here

	sequence uint64 // where the head is stored; not part of the message
}

// headVersion stands in front of a stored head.
const headVersion = 1

var errHead = errors.New("a shard's stored state is of a newer version, or damaged")

func (h head) append(dst []byte) []byte {
	dst = append(dst, headVersion)
	for _, n := range []uint64{h.through, h.size, h.parts, h.set} {
		dst = binary.AppendUvarint(dst, n)
	}
	return append(dst, h.body...)
}

// parseHead reads what append wrote; the body aliases b.
func parseHead(b []byte) (h head, err error) {
	if len(b) == 0 || b[0] != headVersion {
		return head{}, errHead
	}
	b = b[1:]
	for _, n := range []*uint64{&h.through, &h.size, &h.parts, &h.set} {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return head{}, errHead
		}
		*n, b = v, b[size:]
	}
	if h.size > maxShard || h.parts > maxShard/partSize+2 || h.parts > 0 && len(b) > 0 {
		return head{}, errHead
	}
	h.body = b
	return h, nil
}
