package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// message is one message of a replay.
type message struct {
	Sequence uint64
	Records  []presence.Record
}

// replay reads the log from the given sequence and fails on an error.
func replay(t testing.TB, s store.Log, from uint64) (all []message, next uint64) {
	t.Helper()
	next, err := s.Replay(context.Background(), from, func(seq uint64, rs []presence.Record) error {
		all = append(all, message{seq, rs})
		return nil
	})
	if err != nil {
		t.Fatalf("Replay(%d): got %v, want no error", from, err)
	}
	return all, next
}

// mustAppend appends and fails on an error.
func mustAppend(t testing.TB, s store.Log, id string, rs []presence.Record) store.Position {
	t.Helper()
	pos, err := s.Append(context.Background(), id, rs)
	if err != nil {
		t.Fatalf("Append(%s): got %v, want no error", id, err)
	}
	return pos
}

// fill appends n messages of the given size and returns them as Replay would.
func fill(t testing.TB, s store.Log, n, size int) (want []message) {
	t.Helper()
	for i := range n {
		rs := Records(i, size)
		pos := mustAppend(t, s, fmt.Sprintf("m%d", i), rs)
		want = append(want, message{pos.Sequence, rs})
	}
	return want
}

func replayGivesWhatWasAppended(t *testing.T, b *bench) {
	s := b.store()
	if all, _ := replay(t, s, 0); len(all) != 0 {
		t.Fatalf("empty log: got %d messages, want none", len(all))
	}
	var want []message
	last := store.Position{}
	for i, size := range []int{1, 2, store.MaxRecords, 1, 17} {
		rs := Records(i, size)
		pos := mustAppend(t, s, fmt.Sprint(i), rs)
		if !last.Before(pos) || pos.Index != 0 {
			t.Errorf("position of message %d: got %v, want one after %v with index 0", i, pos, last)
		}
		last = pos
		want = append(want, message{pos.Sequence, rs})
	}
	for _, when := range []string{"same store", "opened again"} {
		got, next := replay(t, s, 0)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: replay differs (-want +got):\n%s", when, diff)
		}
		if next != last.Sequence+1 {
			t.Errorf("%s: next: got %d, want %d", when, next, last.Sequence+1)
		}
		s = b.store()
	}
	if pos := mustAppend(t, s, "later", Records(9, 1)); !last.Before(pos) {
		t.Errorf("position after opening again: got %v, want one after %v", pos, last)
	}
}

func replayOfAPart(t *testing.T, b *bench) {
	s := b.store()
	want := fill(t, s, 10, 3)
	for i, m := range want {
		got, _ := replay(t, s, m.Sequence)
		if diff := cmp.Diff(want[i:], got); diff != "" {
			t.Errorf("from %d: replay differs (-want +got):\n%s", m.Sequence, diff)
		}
	}
	end := want[9].Sequence + 1
	if got, next := replay(t, s, end); len(got) != 0 || next != end {
		t.Errorf("from the end: got %d messages and next %d, want none and %d", len(got), next, end)
	}

	enough := errors.New("enough")
	calls := 0
	next, err := s.Replay(context.Background(), 0, func(uint64, []presence.Record) error {
		if calls++; calls == 4 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || calls != 4 || next != want[3].Sequence {
		t.Errorf("callback's error: got %v after %d calls, next %d; want it after 4, next %d", err, calls, next, want[3].Sequence)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Replay(over, 0, func(uint64, []presence.Record) error { return nil }); err == nil {
		t.Error("context over: got no error, want one")
	}
}

func sameIDTwice(t *testing.T, b *bench) {
	s := b.store()
	first := mustAppend(t, s, "a", Records(1, 2))
	mustAppend(t, s, "b", Records(2, 2))
	for _, when := range []string{"at once", "after nine minutes", "opened again"} {
		if again := mustAppend(t, s, "a", Records(1, 2)); again != first {
			t.Errorf("%s: got position %v, want the first's %v", when, again, first)
		}
		switch when {
		case "at once":
			<-time.After(9 * time.Minute)
		case "after nine minutes":
			s = b.store()
		}
	}
	if all, _ := replay(t, s, 0); len(all) != 2 {
		t.Errorf("got %d messages, want 2", len(all))
	}
}

func appendsAtOnce(t *testing.T, b *bench) {
	s := b.store()
	const writers, each = 8, 25
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		want = map[uint64][]presence.Record{}
	)
	for w := range writers {
		wg.Go(func() {
			last := store.Position{}
			for i := range each {
				rs := Records(w*each+i, 2)
				pos, err := s.Append(context.Background(), fmt.Sprintf("%d-%d", w, i), rs)
				if err != nil || !last.Before(pos) {
					t.Errorf("writer %d: got %v, %v, want a position after %v", w, pos, err, last)
					return
				}
				last = pos
				mu.Lock()
				want[pos.Sequence] = rs
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all, _ := replay(t, s, 0)
	got := map[uint64][]presence.Record{}
	for _, m := range all {
		got[m.Sequence] = m.Records
	}
	if diff := cmp.Diff(want, got); diff != "" || len(all) != writers*each {
		t.Errorf("%d messages, want %d; replay differs (-want +got):\n%s", len(all), writers*each, diff)
	}
}

func countsOfRecords(t *testing.T, b *bench) {
	s := b.store()
	for _, n := range []int{0, store.MaxRecords + 1} {
		if _, err := s.Append(context.Background(), "x", Records(1, n)); !errors.Is(err, store.ErrRefused) {
			t.Errorf("append of %d records: got %v, want ErrRefused", n, err)
		}
	}
	bad := Records(1, 2)
	bad[1].Kind = presence.RecordNone
	if _, err := s.Append(context.Background(), "y", bad); !errors.Is(err, store.ErrRefused) {
		t.Errorf("append of what nobody could read back: got %v, want ErrRefused", err)
	}
	if all, _ := replay(t, s, 0); len(all) != 0 {
		t.Errorf("after refusals: got %d messages, want none", len(all))
	}
}

// smallLog is a log that a test can fill.
const smallLog = 256 << 10

// untilFull appends until the store refuses and returns the last sequence.
func untilFull(t testing.TB, s store.Log, name string) (last uint64) {
	t.Helper()
	for i := range 10_000 {
		pos, err := s.Append(context.Background(), fmt.Sprintf("%s-%d", name, i), Records(i, 20))
		switch {
		case err == nil:
			last = pos.Sequence
		case errors.Is(err, store.ErrRefused):
			return last
		default:
			t.Fatalf("append to a log nearly full: got %v, want ErrRefused", err)
		}
	}
	t.Fatal("the log took everything, want ErrRefused at its limit")
	return 0
}

func refusesWhenFull(t *testing.T, b *bench) {
	b.maxBytes = smallLog
	s := b.store()
	last := untilFull(t, s, "a")
	all, _ := replay(t, s, 0)
	if len(all) == 0 || all[len(all)-1].Sequence != last {
		t.Fatalf("full log: got %d messages, want everything that was acknowledged, up to %d", len(all), last)
	}
	s = b.store()
	if _, err := s.Append(context.Background(), "still", Records(1, store.MaxRecords)); !errors.Is(err, store.ErrRefused) {
		t.Errorf("full log opened again: got %v, want ErrRefused", err)
	}

	if err := s.Advance(context.Background(), last, 0); err != nil {
		t.Fatalf("Advance: got %v, want no error", err)
	}
	pos := mustAppend(t, s, "room", Records(1, 20))
	if pos.Sequence != last+1 {
		t.Errorf("position after trimming: got %v, want sequence %d", pos, last+1)
	}
	if _, err := s.Replay(context.Background(), 1, func(uint64, []presence.Record) error {
		t.Error("replay from a trimmed position called back, want no call")
		return nil
	}); !errors.Is(err, store.ErrGap) {
		t.Errorf("replay from a trimmed position: got %v, want ErrGap", err)
	}
	if got, _ := replay(t, s, last+1); len(got) != 1 {
		t.Errorf("replay behind the checkpoint: got %d messages, want 1", len(got))
	}
	if got, _ := replay(t, s, 0); len(got) == 0 || got[0].Sequence == 1 {
		t.Error("replay from the oldest: got the whole log or nothing, want what was not trimmed")
	}
}

func trimmingStopsAtCheckpoint(t *testing.T, b *bench) {
	b.maxBytes = smallLog
	s := b.store()
	last := untilFull(t, s, "a")
	// A checkpoint near the beginning holds back the trim it would take to get
	// below the limit.
	through := last / 20
	if err := s.Advance(context.Background(), through, 0); err != nil {
		t.Fatalf("Advance: got %v, want no error", err)
	}
	for _, when := range []string{"after Advance", "opened again"} {
		got, _ := replay(t, s, through+1)
		if uint64(len(got)) != last-through {
			t.Errorf("%s: got %d messages behind the checkpoint, want %d", when, len(got), last-through)
		}
		s = b.store()
	}
	end := untilFull(t, s, "b")
	if got, _ := replay(t, s, through+1); uint64(len(got)) != end-through {
		t.Errorf("full again: got %d messages behind the checkpoint, want %d", len(got), end-through)
	}
}
