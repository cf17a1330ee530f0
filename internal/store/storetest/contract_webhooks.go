package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// endpoints have names that an engine could trip over.
func endpoints() []store.Endpoint {
	return []store.Endpoint{
		{App: "demo", Name: "main"}, {App: "demo", Name: "Main"}, {App: "demo", Name: "a.b *>"}, {App: "other", Name: "main"},
		{App: "demo", Name: strings.Repeat("x", store.MaxEndpointName)},
	}
}

func cursors(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	want := map[store.Endpoint]store.Cursors{}
	for i, e := range endpoints() {
		c, err := s.LoadCursors(ctx, e)
		if diff := cmp.Diff(store.Cursors{Endpoint: e}, c); diff != "" || err != nil {
			t.Errorf("never heard of: %v (-want +got):\n%s", err, diff)
		}
		c.Term = uint64(i)
		c.Lanes = []store.Cursor{{Position: fmt.Sprint("p", i)}, {Position: "q", State: []byte{0, byte(i)}}, {}}
		if c.Revision, err = s.SaveCursors(ctx, c); err != nil {
			t.Fatalf("SaveCursors: got %v, want no error", err)
		}
		want[e] = c
	}
	for _, when := range []string{"same store", "opened again"} {
		got := map[store.Endpoint]store.Cursors{}
		if err := s.ListCursors(ctx, func(c store.Cursors) error { got[c.Endpoint] = c; return nil }); err != nil {
			t.Errorf("ListCursors: got %v, want no error", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the list differs (-want +got):\n%s", when, diff)
		}
		for e, c := range want {
			got, err := s.LoadCursors(ctx, e)
			if diff := cmp.Diff(c, got); diff != "" || err != nil {
				t.Errorf("%s: %v; cursors differ (-want +got):\n%s", when, err, diff)
			}
			c.Lanes[0].Position += "x"
			if c.Revision, err = s.SaveCursors(ctx, c); err != nil {
				t.Errorf("%s: save on: got %v, want no error", when, err)
			}
			want[e] = c
		}
		s = b.store()
	}
	gone := endpoints()[0]
	if err := s.DropCursors(ctx, gone); err != nil {
		t.Errorf("DropCursors: got %v, want no error", err)
	}
	s = b.store()
	c, err := s.LoadCursors(ctx, gone)
	if len(c.Lanes) != 0 || c.Term != 0 || err != nil {
		t.Errorf("dropped: got %+v, %v, want none", c, err)
	}
	if err := s.ListCursors(ctx, func(c store.Cursors) error {
		if c.Endpoint == gone {
			t.Error("the list has what was dropped")
		}
		return nil
	}); err != nil {
		t.Errorf("ListCursors: got %v, want no error", err)
	}
	if _, err := s.SaveCursors(ctx, c); err != nil {
		t.Errorf("save after a drop: got %v, want no error", err)
	}
}

// cursorTerms: who serves an endpoint no longer cannot move its cursors, however
// late its writes come.
func cursorTerms(t *testing.T, b *bench) {
	s, ctx, e := b.store(), context.Background(), store.Endpoint{App: "demo", Name: "main"}
	save := func(term, revision uint64) (uint64, error) {
		return s.SaveCursors(ctx, store.Cursors{Endpoint: e, Term: term, Revision: revision, Lanes: []store.Cursor{{Position: fmt.Sprint(term)}}})
	}
	first, err := save(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := save(3, first)
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"same store", "opened again"} {
		if _, err := save(2, second); !errors.Is(err, store.ErrTerm) {
			t.Errorf("%s: a lower term: got %v, want ErrTerm", when, err)
		}
		if _, err := save(3, first); !errors.Is(err, store.ErrMoved) {
			t.Errorf("%s: an older revision: got %v, want ErrMoved", when, err)
		}
		if _, err := save(9, 0); !errors.Is(err, store.ErrMoved) {
			t.Errorf("%s: as if there were none: got %v, want ErrMoved", when, err)
		}
		s = b.store()
	}
	third, err := save(4, second)
	if err != nil {
		t.Errorf("a higher term: got %v, want no error", err)
	}
	if _, err := save(3, third); !errors.Is(err, store.ErrTerm) {
		t.Errorf("the former term: got %v, want ErrTerm", err)
	}
	c, err := s.LoadCursors(ctx, e)
	if err != nil || c.Term != 4 || c.Lanes[0].Position != "4" {
		t.Errorf("at last: got %+v, %v, want what term 4 saved", c, err)
	}
	for _, bad := range []store.Cursors{
		{Endpoint: store.Endpoint{App: "demo"}}, {Endpoint: store.Endpoint{App: "de mo", Name: "x"}},
		{Endpoint: store.Endpoint{App: "demo", Name: strings.Repeat("x", store.MaxEndpointName+1)}},
		{Endpoint: store.Endpoint{App: "demo", Name: "y"}, Lanes: make([]store.Cursor, store.MaxLanes+1)},
		{Endpoint: store.Endpoint{App: "demo", Name: "y"}, Lanes: []store.Cursor{{State: make([]byte, store.MaxCursorState+1)}}},
	} {
		if _, err := s.SaveCursors(ctx, bad); !errors.Is(err, store.ErrRefused) {
			t.Errorf("bounds: got %v, want ErrRefused", err)
		}
	}
}

// letterAbout makes the i-th dead letter.
func letterAbout(user presence.User, i int) store.Letter {
	return store.Letter{
		User: user, At: presence.Time(1000 + i), Lane: i % 16, Position: fmt.Sprint(i, ".0.0"), UserSeq: uint64(i), Attempts: i + 1,
		Reason: "answered 500", Body: fmt.Append(nil, "body ", i),
	}
}

// listed reads all letters in pages.
func listed(t testing.TB, s store.Letters, e store.Endpoint, filter store.LetterFilter, limit int) (all []store.Letter) {
	t.Helper()
	for after := uint64(0); ; {
		letters, next, err := s.ListLetters(context.Background(), e, filter, store.LetterPage{After: after, Limit: limit})
		if err != nil || len(letters) > limit {
			t.Fatalf("ListLetters: got %d letters, %v, want at most %d", len(letters), err, limit)
		}
		all = append(all, letters...)
		if next == 0 {
			return all
		}
		if next <= after {
			t.Fatalf("ListLetters after %d: got next %d", after, next)
		}
		after = next
	}
}

// plain takes the numbers out, which the store gives.
func plain(letters []store.Letter) []store.Letter {
	for i := range letters {
		letters[i].Number = 0
	}
	return letters
}

func letters(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	want := map[store.Endpoint][]store.Letter{}
	for i, e := range endpoints() {
		if n, err := s.CountLetters(ctx, e); n != 0 || err != nil {
			t.Errorf("at first: got %d, %v, want none", n, err)
		}
		for j, u := range oddUsers() {
			if u.App = e.App; j <= 10+i {
				want[e] = append(want[e], letterAbout(u, j))
			}
		}
		half := len(want[e]) / 2
		for _, part := range [][]store.Letter{want[e][:half], want[e][half:]} {
			if err := s.AddLetters(ctx, e, part); err != nil {
				t.Fatalf("AddLetters: got %v, want no error", err)
			}
		}
	}
	for _, when := range []string{"same store", "opened again"} {
		for e, all := range want {
			for _, limit := range []int{1, 4, 100} {
				if diff := cmp.Diff(all, plain(listed(t, s, e, store.LetterFilter{}, limit))); diff != "" {
					t.Errorf("%s: %v by %d: letters differ (-want +got):\n%s", when, e, limit, diff)
				}
			}
			if n, err := s.CountLetters(ctx, e); n != len(all) || err != nil {
				t.Errorf("%s: %v: got %d, %v, want %d", when, e, n, err, len(all))
			}
			for _, f := range []store.LetterFilter{{User: "alice"}, {User: "nobody"}, {From: 1003}, {Before: 1003}, {From: 1002, Before: 1004}} {
				var some []store.Letter
				for i := range all {
					if f.Match(&all[i]) {
						some = append(some, all[i])
					}
				}
				if diff := cmp.Diff(some, plain(listed(t, s, e, f, 2))); diff != "" {
					t.Errorf("%s: %v by %+v: letters differ (-want +got):\n%s", when, e, f, diff)
				}
			}
		}
		s = b.store()
	}
	lettersTaken(t, b, s)
}

func lettersTaken(t *testing.T, b *bench, s store.Store) {
	ctx, e, other := context.Background(), endpoints()[0], endpoints()[1]
	all := listed(t, s, e, store.LetterFilter{}, 100)
	if len(all) < 7 {
		t.Fatalf("got %d letters, want more", len(all))
	}
	one, err := s.ReadLetter(ctx, e, all[3].Number)
	if diff := cmp.Diff(all[3], one); diff != "" || err != nil {
		t.Errorf("ReadLetter: %v (-want +got):\n%s", err, diff)
	}
	if _, err := s.ReadLetter(ctx, other, all[3].Number); !errors.Is(err, store.ErrNoLetter) {
		t.Errorf("ReadLetter at another endpoint: got %v, want ErrNoLetter", err)
	}
	if err := s.TakeLetters(ctx, other, []uint64{all[3].Number}); err != nil {
		t.Errorf("TakeLetters at another endpoint: got %v, want no error", err)
	}
	for range 2 {
		if err := s.TakeLetters(ctx, e, []uint64{all[0].Number, all[5].Number, 1 << 40}); err != nil {
			t.Errorf("TakeLetters: got %v, want no error", err)
		}
	}
	want := append(append([]store.Letter(nil), all[1:5]...), all[6:]...)
	s = b.store()
	if diff := cmp.Diff(want, listed(t, s, e, store.LetterFilter{}, 3)); diff != "" {
		t.Errorf("after a few were taken: letters differ (-want +got):\n%s", diff)
	}
	for _, n := range []uint64{all[5].Number, 0, 1 << 40} {
		if _, err := s.ReadLetter(ctx, e, n); !errors.Is(err, store.ErrNoLetter) {
			t.Errorf("ReadLetter %d: got %v, want ErrNoLetter", n, err)
		}
	}
	// Who is erased is in no letter of his app any more.
	if err := s.EraseLetters(ctx, all[2].User); err != nil {
		t.Errorf("EraseLetters: got %v, want no error", err)
	}
	for _, x := range endpoints() {
		if got := listed(t, s, x, store.LetterFilter{User: all[2].User.ID}, 5); (len(got) > 0) != (x.App != all[2].User.App) {
			t.Errorf("%v: got %d letters about who was erased", x, len(got))
		}
	}
	if got := listed(t, s, e, store.LetterFilter{}, 100); len(got) != len(want)-1 {
		t.Errorf("got %d letters about others, want %d", len(got), len(want)-1)
	}
	lettersRefused(t, s, e)
}

func lettersRefused(t *testing.T, s store.Letters, e store.Endpoint) {
	for _, bad := range []store.Letter{
		{User: demoUser("alice"), Body: make([]byte, store.MaxLetterBody+1)}, {User: presence.User{App: "other", ID: "alice"}}, {User: demoUser("")}, {User: demoUser("alice"), Lane: -1},
	} {
		if err := s.AddLetters(context.Background(), e, []store.Letter{bad}); !errors.Is(err, store.ErrRefused) {
			t.Errorf("bounds: got %v, want ErrRefused", err)
		}
	}
}
