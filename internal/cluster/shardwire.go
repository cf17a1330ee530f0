package cluster

import (
	"encoding/binary"
)

// How shards are asked for, and come.

// A pull is its number and its shards.
func appendPull(dst []byte, l *pull) []byte {
	dst = binary.AppendUvarint(dst, l.id)
	dst = binary.AppendUvarint(dst, uint64(len(l.shards)))
	for _, s := range l.shards {
		dst = binary.AppendUvarint(dst, uint64(s))
	}
	return dst
}

func parsePull(b []byte) (id uint64, shards []int, err error) {
	r := reader{b: b}
	id = r.number()
	for range r.count() {
		s := r.number()
		if s >= Shards || len(shards) == Shards {
			return 0, nil, errFrame
		}
		shards = append(shards, int(s))
	}
	if r.bad {
		return 0, nil, errFrame
	}
	return id, shards, nil
}

// What follows in a part: a shard's number and its sessions, each behind
// sessionNext, until shardEnd, or shardCut when the next part goes on with it.
const (
	shardEnd    = 0
	sessionNext = 1
	shardCut    = 2
)

// parseShards adds the sessions of one part, which stay part of b, to changes.
func parseShards(b []byte, changes map[int][][]byte, whole map[int]bool) error {
	r := reader{b: b}
	for len(r.b) > 0 {
		n := r.number()
		if r.bad || n >= Shards {
			return errFrame
		}
		shard := int(n)
		for more := true; more; {
			switch r.byte() {
			case sessionNext:
				changes[shard] = append(changes[shard], r.bytes())
			case shardEnd:
				more, whole[shard] = false, true
			case shardCut:
				more = false
			default:
				return errFrame
			}
			if r.bad {
				return errFrame
			}
		}
	}
	if r.bad {
		return errFrame
	}
	return nil
}
