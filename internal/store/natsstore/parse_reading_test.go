package natsstore

import (
	"reflect"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func FuzzBaseHead(f *testing.F) {
	h := baseHead{Base: store.Base{Position: 9, From: 7, At: 1_700_000_000_000, Bytes: 1 << 30}, pieces: []piece{{0, 0, 2, 3 << 20}, {500, 2, 1, 1 << 20}}}
	f.Add(h.append(nil))
	f.Add([]byte{baseVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseBaseHead(b)
		if err != nil {
			return
		}
		if again, err := parseBaseHead(h.append(nil)); err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("head of % x: got %+v, %v after writing it again, want %+v", b, again, err, h)
		}
	})
}

func FuzzPiece(f *testing.F) {
	f.Add([]byte{3, 7, 2, 'a', 'b', 4, 7, 0})
	f.Add([]byte{3, 7, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		_ = eachShard(b, 0, store.Shards-1, func(n int, _ uint64, state []byte) error {
			if total += len(state); n < 0 || n >= store.Shards || total > len(b) {
				t.Errorf("piece of % x: got shard %d, %d bytes in all", b, n, total)
			}
			return nil
		})
	})
}

func FuzzCursors(f *testing.F) {
	f.Add(appendCursors(nil, &store.Cursors{Term: 3, Lanes: []store.Cursor{{Position: "1.2.3"}, {State: []byte("x")}}}))
	f.Add([]byte{cursorVersion})
	f.Add([]byte{cursorVersion, 1, 200, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCursors(b)
		if err != nil || len(b) == 1 {
			return
		}
		if again, err := parseCursors(appendCursors(nil, &c)); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("cursors of % x: got %+v, %v after writing them again, want %+v", b, again, err, c)
		}
	})
}

func FuzzLetter(f *testing.F) {
	f.Add(appendLetter(nil, &store.Letter{User: presence.User{ID: "alice"}, At: 5, Lane: 3, Position: "1.2.3", UserSeq: 9, Attempts: 2, Reason: "answered 500", Body: []byte("body")}))
	f.Add([]byte{letterVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLetter(b)
		if err != nil {
			return
		}
		if again, err := parseLetter(appendLetter(nil, &l)); err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("letter of % x: got %+v, %v after writing it again, want %+v", b, again, err, l)
		}
	})
}

func FuzzErasure(f *testing.F) {
	f.Add(appendErasure(nil, store.Erasure{User: 1 << 63, Sequence: 7, Time: 1_700_000_000_000}))
	f.Add([]byte{erasureVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseErasure(b)
		if err != nil {
			return
		}
		if again, err := parseErasure(appendErasure(nil, e)); err != nil || again != e {
			t.Errorf("erasure of % x: got %+v, %v after writing it again, want %+v", b, again, err, e)
		}
	})
}
