package token

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func noteRing(t testing.TB, ids ...string) *Ring {
	t.Helper()
	var keys []SealKey
	for i, id := range ids {
		keys = append(keys, SealKey{ID: id, Key: [32]byte{1, byte(i), id[0]}})
	}
	r, err := NewRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A note opens for its purpose, with its key, unaltered, and not otherwise.
func TestNotes(t *testing.T) {
	t.Parallel()
	r := noteRing(t, "a")
	rapid.Check(t, func(t *rapid.T) {
		content, purpose := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "content"), rapid.String().Draw(t, "purpose")
		note := r.SealNote(purpose, content)
		if got, ok := r.OpenNote(purpose, note); !ok || !bytes.Equal(got, content) {
			t.Fatalf("got %q, %v, want %q", got, ok, content)
		}
		if note == r.SealNote(purpose, content) {
			t.Fatal("the same note twice")
		}
		if _, ok := r.OpenNote(purpose+"x", note); ok {
			t.Fatal("it opens for another purpose")
		}
		at := rapid.IntRange(0, len(note)-1).Draw(t, "at")
		other := byte('A')
		if note[at] == other {
			other = 'B'
		}
		if _, ok := r.OpenNote(purpose, note[:at]+string(other)+note[at+1:]); ok {
			t.Fatal("it opens altered")
		}
		if _, ok := r.OpenNote(purpose, note[:at]); ok {
			t.Fatal("it opens cut off")
		}
	})
}

func TestNotesAreNoSessionTokens(t *testing.T) {
	t.Parallel()
	r := noteRing(t, "a")
	if _, ok := r.OpenNote("", r.Seal(Session{App: "demo", User: presence.UserID("alice")})); ok {
		t.Error("a session token opens as a note")
	}
	if _, err := r.Open(r.SealNote("session", make([]byte, fixedContent+10))); err == nil {
		t.Error("a note opens as a session token")
	}
}

func TestNotesOverRotation(t *testing.T) {
	t.Parallel()
	old := noteRing(t, "a").SealNote("login", []byte("x"))
	both, err := NewRing([]SealKey{{ID: "b", Key: [32]byte{9}}, {ID: "a", Key: [32]byte{1, 0, 'a'}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := both.OpenNote("login", old); !ok {
		t.Error("the former key opens it no more")
	}
	if _, ok := noteRing(t, "c").OpenNote("login", old); ok {
		t.Error("another key opens it")
	}
	if _, ok := both.OpenNote("login", strings.Repeat("A", MaxNote+1)); ok {
		t.Error("longer than may be opens")
	}
}

func FuzzOpenNote(f *testing.F) {
	r := noteRing(f, "a")
	b, err := r.text.DecodeString(r.SealNote("form", []byte("x")))
	if err != nil {
		f.Fatal(err)
	}
	b[len(b)-1] ^= 1
	f.Add("form", r.text.EncodeToString(b)) // not one any more
	f.Add("", "")
	f.Fuzz(func(t *testing.T, purpose, note string) {
		if c, ok := r.OpenNote(purpose, note); ok {
			t.Errorf("%q opens for %q: %q", note, purpose, c)
		}
	})
}
