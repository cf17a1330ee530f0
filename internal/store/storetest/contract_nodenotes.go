package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// notesOfNodes: each node's notes of each group come back in order, until they are
// replaced or forgotten.
func notesOfNodes(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	save := func(node uint64, group int, whole bool, texts ...string) {
		t.Helper()
		var data [][]byte
		for _, text := range texts {
			data = append(data, []byte(text))
		}
		if err := s.SaveNotes(ctx, node, group, whole, data...); err != nil {
			t.Fatalf("SaveNotes: got %v, want no error", err)
		}
	}
	load := func(s store.NodeNotes, node uint64, group int) (all string) {
		t.Helper()
		if err := s.LoadNotes(ctx, node, group, func(of uint64, data []byte) error {
			all += fmt.Sprintf("%d:%s ", of, data)
			return nil
		}); err != nil {
			t.Fatalf("LoadNotes: got %v, want no error", err)
		}
		return all
	}
	want := func(when string, expect map[[2]int]string) {
		t.Helper()
		got := map[[2]int]string{}
		for of := range expect {
			got[of] = load(s, uint64(of[0]), of[1])
		}
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	want("nothing yet", map[[2]int]string{{1, 0}: "", {0, -1}: ""})
	save(1, 0, false, "a")
	save(2, 0, false, "b")
	save(1, 63, false, "c")
	save(1, 0, false, "d")
	want("two nodes", map[[2]int]string{{1, 0}: "1:a 1:d ", {1, 63}: "1:c ", {2, 0}: "2:b ", {2, 63}: ""})
	save(1, 0, true, "e")
	save(1, 0, false, "f")
	s = b.store()
	want("replaced, opened again", map[[2]int]string{{1, 0}: "1:e 1:f ", {1, 63}: "1:c ", {2, 0}: "2:b "})
	if n := len(load(s, 0, -1)); n != len("1:e 1:f 1:c 2:b ") {
		t.Errorf("all: got %q, want four notes", load(s, 0, -1))
	}
	want("of all nodes", map[[2]int]string{{0, 63}: "1:c "})
	save(1, 0, true, "g", "h", "i")
	save(1, 0, false, "j", "k")
	want("replaced by several", map[[2]int]string{{1, 0}: "1:g 1:h 1:i 1:j 1:k ", {2, 0}: "2:b "})
	for range 2 {
		if err := s.ForgetNotes(ctx, 1); err != nil {
			t.Errorf("ForgetNotes: got %v, want no error", err)
		}
	}
	want("one forgotten", map[[2]int]string{{1, 0}: "", {1, 63}: "", {2, 0}: "2:b ", {0, -1}: "2:b "})
	enough := errors.New("enough")
	if err := s.LoadNotes(ctx, 2, 0, func(uint64, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a callback's error: got %v, want it back", err)
	}
}
