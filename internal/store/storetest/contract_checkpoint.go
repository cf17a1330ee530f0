package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// loaded is what Load gives.
type loaded struct {
	Through uint64
	Shards  map[int]string // see shown
	Notes   []string
}

func load(t testing.TB, s store.Checkpoints) (l loaded) {
	t.Helper()
	l.Shards = map[int]string{}
	sawNote := false
	through, err := s.Load(context.Background(),
		func(n int, through uint64, state []byte) error {
			if _, twice := l.Shards[n]; twice || sawNote {
				t.Errorf("Load gave shard %d twice or after a note", n)
			}
			l.Shards[n] = shown(through, state)
			return nil
		},
		func(note []byte) error {
			sawNote = true
			l.Notes = append(l.Notes, string(note))
			return nil
		})
	if err != nil {
		t.Fatalf("Load: got %v, want no error", err)
	}
	l.Through = through
	return l
}

// shown is a state as text: "through:state", large ones by their hash.
func shown(through uint64, state []byte) string {
	if len(state) > 100 {
		return fmt.Sprintf("%d:%d bytes %x", through, len(state), sha256.Sum256(state))
	}
	return fmt.Sprintf("%d:%s", through, state)
}

// wantLoaded compares what is stored, now and opened again.
func wantLoaded(t testing.TB, b *bench, s store.Store, want loaded) store.Store {
	t.Helper()
	for _, when := range []string{"same store", "opened again"} {
		if diff := cmp.Diff(want, load(t, s)); diff != "" {
			t.Errorf("%s: Load differs (-want +got):\n%s", when, diff)
		}
		if when == "same store" {
			s = b.store()
		}
	}
	return s
}

// mustSave returns a SaveShard that fails on an error.
func mustSave(t testing.TB, s store.Checkpoints) func(n int, through uint64, state []byte) {
	return func(n int, through uint64, state []byte) {
		t.Helper()
		if err := s.SaveShard(context.Background(), n, through, state); err != nil {
			t.Fatalf("SaveShard(%d, %d): got %v, want no error", n, through, err)
		}
	}
}

func shards(t *testing.T, b *bench) {
	s := b.store()
	s = wantLoaded(t, b, s, loaded{Shards: map[int]string{}})
	want := loaded{Shards: map[int]string{}}
	for n := range 40 {
		mustSave(t, s)(n*25, 7, []byte(fmt.Sprint("old ", n)))
		want.Shards[n*25] = fmt.Sprint("7:old ", n)
	}
	mustSave(t, s)(0, 7, []byte("the same position again"))
	mustSave(t, s)(25, 8, nil)
	want.Shards[0], want.Shards[25] = "7:the same position again", "8:"
	s = wantLoaded(t, b, s, want)

	mustSave(t, s)(50, 9, []byte("new"))
	want.Shards[50] = "9:new"
	for _, s := range []store.Store{s, b.store()} {
		if err := s.SaveShard(context.Background(), 50, 8, nil); err == nil {
			t.Error("SaveShard back: got no error, want one")
		}
	}
	s = b.store()
	if err := s.SaveShard(context.Background(), -1, 8, nil); err == nil {
		t.Error("SaveShard of a negative number: got no error, want one")
	}
	wantLoaded(t, b, s, want)
}

// bigShards: states of 100,000 users and more, which need not fit in one
// message of the engine. Random bytes do not compress.
func bigShards(t *testing.T, b *bench) {
	noise := make([]byte, 20<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(noise)
	s := b.store()
	want := loaded{Shards: map[int]string{}}
	for i, size := range []int{20 << 20, 3 << 20, 10, 12 << 20, 1 << 20} {
		state := noise[:size:size]
		state[0] = byte(i)
		for n := range 2 {
			mustSave(t, s)(n, uint64(i), state)
			want.Shards[n] = shown(uint64(i), state)
		}
		s = wantLoaded(t, b, s, want)
	}
}

func notes(t *testing.T, b *bench) {
	s := b.store()
	var numbers []uint64
	want := loaded{Shards: map[int]string{}}
	for i := range 10 {
		n, err := s.SaveNote(context.Background(), []byte(fmt.Sprint("note ", i)))
		if err != nil || len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			t.Fatalf("SaveNote %d: got %d, %v, want a number after %v", i, n, err, numbers)
		}
		numbers = append(numbers, n)
		want.Notes = append(want.Notes, fmt.Sprint("note ", i))
	}
	s = wantLoaded(t, b, s, want)
	if err := s.Advance(context.Background(), 0, numbers[4]); err != nil {
		t.Fatal(err)
	}
	want.Notes = want.Notes[4:]
	s = wantLoaded(t, b, s, want)

	if err := s.Advance(context.Background(), 0, numbers[9]+1); err != nil {
		t.Fatal(err)
	}
	want.Notes = nil
	s = wantLoaded(t, b, s, want)
	n, err := s.SaveNote(context.Background(), []byte("after all"))
	if err != nil || n <= numbers[9] {
		t.Fatalf("SaveNote after all were dropped: got %d, %v, want a number after %d", n, err, numbers[9])
	}
	want.Notes = []string{"after all"}
	wantLoaded(t, b, s, want)
}

func advance(t *testing.T, b *bench) {
	s := b.store()
	fill(t, s, 10, 1)
	for _, through := range []uint64{3, 3, 9} {
		if err := s.Advance(context.Background(), through, 0); err != nil {
			t.Fatalf("Advance to %d: got %v, want no error", through, err)
		}
		s = wantLoaded(t, b, s, loaded{Through: through, Shards: map[int]string{}})
	}
	if err := s.Advance(context.Background(), 8, 0); !errors.Is(err, store.ErrBehind) {
		t.Errorf("Advance back: got %v, want ErrBehind", err)
	}
	if got, _ := replay(t, s, 1); len(got) != 10 {
		t.Errorf("a log far from its limits: got %d messages, want all 10", len(got))
	}
}

func callbackErrors(t *testing.T, b *bench) {
	s := b.store()
	mustSave(t, s)(1, 1, []byte("x"))
	mustSave(t, s)(2, 1, []byte("x"))
	for range 2 {
		if _, err := s.SaveNote(context.Background(), []byte("n")); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	count := 0
	stop := func() error { count++; return enough }
	if _, err := s.Load(context.Background(), func(int, uint64, []byte) error { return stop() }, nil); !errors.Is(err, enough) || count != 1 {
		t.Errorf("error of the first shard: got %v after %d calls, want it after 1", err, count)
	}
	count = 0
	if _, err := s.Load(context.Background(), func(int, uint64, []byte) error { return nil }, func([]byte) error { return stop() }); !errors.Is(err, enough) || count != 1 {
		t.Errorf("error of the first note: got %v after %d calls, want it after 1", err, count)
	}
}

func counter(t *testing.T, b *bench) {
	for i := uint64(0); i < 9; i += 3 {
		s := b.store()
		for j := range uint64(3) {
			if n, err := s.Next(context.Background(), "incarnation"); err != nil || n != i+j+1 {
				t.Errorf("Next: got %d, %v, want %d", n, err, i+j+1)
			}
		}
		if n, err := s.Next(context.Background(), "a name. with > dots*"); err != nil || n != i/3+1 {
			t.Errorf("Next of another name: got %d, %v, want %d", n, err, i/3+1)
		}
		if _, err := s.Next(context.Background(), ""); err == nil {
			t.Error("Next without a name: got no error, want one")
		}
	}
}

func counterAtOnce(t *testing.T, b *bench) {
	s := b.store()
	const callers, each = 8, 10
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		got []uint64
	)
	for range callers {
		wg.Go(func() {
			for range each {
				n, err := s.Next(context.Background(), "c")
				if err != nil {
					t.Errorf("Next: got %v, want no error", err)
				}
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != callers*each || got[0] != 1 {
		t.Errorf("got %v, want %d numbers from 1 on, none twice", got, callers*each)
	}
}

func stopped(t *testing.T, b *bench) {
	s := b.store()
	if err := s.Health(); err != nil {
		t.Errorf("Health: got %v, want nil", err)
	}
	b.close()
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Append": func() error { _, err := s.Append(ctx, "x", Records(1, 1)); return err },
		"Replay": func() error {
			_, err := s.Replay(ctx, 0, func(uint64, []presence.Record) error { return nil })
			return err
		},
		"SaveShard": func() error { return s.SaveShard(ctx, 1, 1, nil) },
		"SaveNote":  func() error { _, err := s.SaveNote(ctx, nil); return err },
		"Advance":   func() error { return s.Advance(ctx, 1, 1) },
		"Load":      func() error { _, err := s.Load(ctx, nil, nil); return err },
		"Next":      func() error { _, err := s.Next(ctx, "c"); return err },
		"LoadRoster": func() error {
			_, err := s.LoadRoster(ctx, store.RosterList, demoUser("alice"))
			return err
		},
		"SaveRoster": func() error {
			_, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: demoUser("alice"), Value: []byte("x")})
			return err
		},
		"ScanRosters": func() error {
			return s.ScanRosters(ctx, store.RosterList, "", func(store.Roster) error { return nil })
		},
		"LoadName": func() error { _, err := s.LoadName(ctx, store.NameGrant, "a"); return err },
		"SaveName": func() error {
			_, err := s.SaveName(ctx, store.NameGrant, store.Named{Name: "a", Value: []byte("x")})
			return err
		},
		"ScanNames": func() error {
			return s.ScanNames(ctx, store.NameGrant, func(store.Named) error { return nil })
		},
	} {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after stop: got %v, want ErrClosed", name, err)
		}
	}
	if s.Health() == nil {
		t.Error("Health after stop: got nil, want an error")
	}
}
