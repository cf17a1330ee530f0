package natsstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// baseHead is the message that makes a base of its pieces.
type baseHead struct {
	store.Base
	id     string // names the pieces; in the subject
	pieces []piece
	clean  uint64 // the erasures stored until there are out of the pieces

	sequence uint64 // where the head is stored; not part of the message
}

// piece is some whole shards.
type piece struct {
	first    int // shard
	at       int // its first message
	messages int
	raw      int // bytes before compression
}

// bases are the heads that are stored, by position; Store.mu guards the list,
// which is not changed in place, and loaded; basing the rest.
type bases struct {
	loaded bool
	list   []baseHead
	swept  bool // nothing is left of scrubs that were broken off
}

// A head of the first version has its pieces one after another and was never
// scrubbed.
const (
	leastBaseVersion = 1
	baseVersion      = 2
)

var errBase = errors.New("natsstore: a stored base is of a newer version, or damaged")

func (h *baseHead) append(dst []byte) []byte {
	dst = append(dst, baseVersion)
	for _, n := range []uint64{h.Position, h.From, uint64(h.At), uint64(h.Bytes), h.clean, uint64(len(h.pieces))} {
		dst = presence.AppendNumber(dst, n)
	}
	for _, p := range h.pieces {
		for _, n := range []int{p.first, p.at, p.messages, p.raw} {
			dst = presence.AppendNumber(dst, uint64(n))
		}
	}
	return dst
}

func parseBaseHead(b []byte) (h baseHead, err error) {
	if len(b) == 0 || b[0] < leastBaseVersion || b[0] > baseVersion {
		return h, errBase
	}
	first := b[0] == 1
	b = b[1:]
	number := func() (n uint64) {
		if err == nil {
			n, b, err = presence.ParseNumber(b)
		}
		return n
	}
	h.Position, h.From, h.At, h.Bytes = number(), number(), presence.Time(number()), int64(number())
	if !first {
		h.clean = number()
	}
	count, at := number(), 0
	if err != nil || count > store.Shards {
		return baseHead{}, errBase
	}
	for range count {
		p := piece{first: int(number()), at: at}
		if !first {
			p.at = int(number())
		}
		p.messages, p.raw = int(number()), int(number())
		if err != nil || p.at < 0 || p.first < 0 || p.first >= store.Shards || p.raw < 0 || p.raw > 2*maxShard || p.messages < 0 || p.messages > 2*maxShard/partSize {
			return baseHead{}, errBase
		}
		at += p.messages
		h.pieces = append(h.pieces, p)
	}
	if len(b) > 0 {
		return baseHead{}, errBase
	}
	return h, nil
}

// loadBases reads the heads once; basing is held.
func (s *Store) loadBases(ctx context.Context) error {
	if err := s.closed(); err != nil {
		return err
	}
	s.mu.Lock()
	loaded := s.bases.loaded
	s.mu.Unlock()
	if loaded && !s.clustered {
		return nil
	}
	list, err := s.readHeads(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bases.list, s.bases.loaded = list, true
	return nil
}

// readHeads reads the heads of all bases, by position.
func (s *Store) readHeads(ctx context.Context) ([]baseHead, error) {
	info, err := s.base.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("natsstore: bases: %w", refineRead(err))
	}
	var list []baseHead
	heads := span{through: info.State.LastSeq, subject: baseHeadSubject + "*"}
	err = s.read(ctx, s.base, heads, func(m jetstream.Msg, seq uint64) error {
		h, err := parseBaseHead(m.Data())
		if err != nil {
			return err
		}
		h.id, h.sequence = strings.TrimPrefix(m.Subject(), baseHeadSubject), seq
		h.Bytes += int64(len(m.Data()))
		// The last one counts: see scrub.
		list = slices.DeleteFunc(list, func(o baseHead) bool { return o.id == h.id })
		list = append(list, h)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b baseHead) int { return cmp.Compare(a.Position, b.Position) })
	return list, nil
}
