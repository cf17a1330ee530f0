package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// readBase returns the shards of a base, as text.
func readBase(t testing.TB, s store.Bases, position uint64, first, last int) map[int]string {
	t.Helper()
	got, before := map[int]string{}, -1
	err := s.ReadBase(context.Background(), position, first, last, func(n int, through uint64, state []byte) error {
		if n <= before {
			t.Errorf("ReadBase gave shard %d after %d", n, before)
		}
		before = n
		got[n] = shown(through, state)
		return nil
	})
	if err != nil {
		t.Errorf("ReadBase of %d: got %v, want no error", position, err)
	}
	return got
}

// mustBase makes a base and fails on an error.
func mustBase(t testing.TB, s store.Bases) store.Base {
	t.Helper()
	base, err := s.SaveBase(context.Background())
	if err != nil {
		t.Fatalf("SaveBase: got %v, want no error", err)
	}
	return base
}

func mustAdvance(t testing.TB, s store.Checkpoints, through uint64) {
	t.Helper()
	if err := s.Advance(context.Background(), through, 0); err != nil {
		t.Fatalf("Advance to %d: got %v, want no error", through, err)
	}
}

func bases(t *testing.T, b *bench) {
	s := b.store()
	if all, err := s.Bases(context.Background()); len(all) != 0 || err != nil {
		t.Errorf("at first: got %v, %v, want none", all, err)
	}
	if _, err := s.SaveBase(context.Background()); !errors.Is(err, store.ErrNoCheckpoint) {
		t.Errorf("SaveBase without a checkpoint: got %v, want ErrNoCheckpoint", err)
	}
	fill(t, s, 10, 1)
	want := map[int]string{}
	for _, n := range []int{0, 3, 700, store.Shards - 1} {
		through := uint64(4 + n%3)
		mustSave(t, s)(n, through, fmt.Append(nil, "state ", n))
		want[n] = fmt.Sprint(max(through, 5), ":state ", n) // good through what Advance says, at least
	}
	mustAdvance(t, s, 5)
	made := time.Now()
	base := mustBase(t, s)
	if base.Position != 10 || base.From != 6 || base.Bytes <= 0 || base.At != presence.At(made) {
		t.Errorf("base: got %+v, want it at 10, from 6, made %v", base, made)
	}
	// What comes later is not in it.
	if again := mustBase(t, s); again != base {
		t.Errorf("nothing came since: got %+v, want the same base", again)
	}
	mustAppend(t, s, "later", Records(100, 1))
	mustSave(t, s)(3, 10, []byte("newer"))
	mustAdvance(t, s, 10)
	<-time.After(time.Hour)
	newer := mustBase(t, s)
	wantNewer := maps.Clone(want)
	for n := range wantNewer {
		wantNewer[n] = fmt.Sprint("10:state ", n)
	}
	wantNewer[3] = "10:newer"
	for _, when := range []string{"same store", "opened again"} {
		all, err := s.Bases(context.Background())
		if diff := cmp.Diff([]store.Base{base, newer}, all); diff != "" || err != nil {
			t.Errorf("%s: %v; bases differ (-want +got):\n%s", when, err, diff)
		}
		if diff := cmp.Diff(want, readBase(t, s, base.Position, 0, store.Shards-1)); diff != "" {
			t.Errorf("%s: the older differs (-want +got):\n%s", when, diff)
		}
		if newer.Position == base.Position {
			t.Fatal("two bases at one position")
		}
		if diff := cmp.Diff(wantNewer, readBase(t, s, newer.Position, 0, store.Shards-1)); diff != "" {
			t.Errorf("%s: the newer differs (-want +got):\n%s", when, diff)
		}
		if got := readBase(t, s, base.Position, 1, 700); len(got) != 2 || got[3] != want[3] || got[700] != want[700] {
			t.Errorf("%s: shards 1 to 700: got %v, want 3 and 700", when, got)
		}
		s = b.store()
	}
	for range 2 {
		if err := s.DropBase(context.Background(), base.Position); err != nil {
			t.Errorf("DropBase: got %v, want no error", err)
		}
	}
	for _, when := range []string{"same store", "opened again"} {
		if all, err := s.Bases(context.Background()); len(all) != 1 || err != nil || all[0] != newer {
			t.Errorf("%s, one dropped: got %v, %v, want the newer", when, all, err)
		}
		if err := s.ReadBase(context.Background(), base.Position, 0, 1, nil); !errors.Is(err, store.ErrGap) {
			t.Errorf("%s: ReadBase of a dropped one: got %v, want ErrGap", when, err)
		}
		s = b.store()
	}
}

// bigBases: states of several messages and many pieces come back whole.
func bigBases(t *testing.T, b *bench) {
	s := b.store()
	fill(t, s, 3, 1)
	want := map[int]string{}
	for _, n := range []int{0, 1, 2, 500, 501} {
		state := shardState(n, uint64(n))
		if n == 1 || n == 500 {
			state = slices.Concat(shardState(0, 8), shardState(0, 16), state)
		}
		mustSave(t, s)(n, 3, state)
		want[n] = shown(3, state)
	}
	mustAdvance(t, s, 3)
	base := mustBase(t, s)
	for _, when := range []string{"same store", "opened again"} {
		if diff := cmp.Diff(want, readBase(t, s, base.Position, 0, store.Shards-1)); diff != "" {
			t.Errorf("%s: the base differs (-want +got):\n%s", when, diff)
		}
		for n, one := range want {
			if got := readBase(t, s, base.Position, n, n); len(got) != 1 || got[n] != one {
				t.Errorf("%s: shard %d alone: got %v, want %v", when, n, got, one)
			}
		}
		s = b.store()
	}
}

// uselessBases: a base that the log no longer reaches back to is none.
func uselessBases(t *testing.T, b *bench) {
	b.maxBytes = smallLog
	s := b.store()
	fill(t, s, 3, 1)
	mustSave(t, s)(1, 3, []byte("state"))
	mustAdvance(t, s, 3)
	mustBase(t, s)
	last := untilFull(t, s, "a")
	if b := mustBase(t, s); b.Position != last || b.From != 4 {
		t.Errorf("before the log is cut: got %+v, want it at %d, from 4", b, last)
	}
	mustAdvance(t, s, last)
	for _, when := range []string{"same store", "opened again"} {
		if all, err := s.Bases(context.Background()); len(all) != 0 || err != nil {
			t.Errorf("%s: got %v, %v, want none that the log was cut behind", when, all, err)
		}
		s = b.store()
	}
	// No record came since, yet the one that is at the log's end is of no use.
	base := mustBase(t, s)
	if base.Position != last || base.From != last+1 {
		t.Errorf("a new one: got %+v, want it at %d, from %d", base, last, last+1)
	}
	for _, when := range []string{"same store", "opened again"} {
		if all, err := s.Bases(context.Background()); len(all) != 1 || err != nil || all[0] != base {
			t.Errorf("%s, a new one: got %v, %v, want %v", when, all, err, base)
		}
		s = b.store()
	}
}
