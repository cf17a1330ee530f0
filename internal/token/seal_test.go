package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func sealKey(id string, fill byte) SealKey {
	return SealKey{ID: id, Key: [32]byte(bytes.Repeat([]byte{fill}, 32))}
}

func newTestRing(t testing.TB, keys ...SealKey) *Ring {
	t.Helper()
	r, err := NewRing(keys)
	if err != nil {
		t.Fatalf("NewRing: %v", err)
	}
	return r
}

func aliceSession() Session {
	return Session{App: "shop", Session: presence.SessionID{1, 2, 3}, User: "alice",
		Epoch: presence.Epoch{Counter: 7, Incarnation: 9}, Issued: presence.At(noon)}
}

// sealRaw makes a token of the given parts with the cipher alone, for contents
// that Seal would never write.
func sealRaw(t testing.TB, k SealKey, context string, content []byte) string {
	t.Helper()
	aead, err := chacha20poly1305.NewX(k.Key[:])
	if err != nil {
		t.Fatalf("NewX: %v", err)
	}
	header := append([]byte{1, byte(len(k.ID))}, k.ID...)
	nonce := make([]byte, 24)
	token := append(bytes.Clone(header), nonce...)
	return base64.RawURLEncoding.EncodeToString(aead.Seal(token, nonce, content, append([]byte(context), header...)))
}

func refuses(t testing.TB, r *Ring, what, token string) {
	t.Helper()
	s, err := r.Open(token)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != fault.SessionTokenInvalid || f.Detail != errNoSession || s != (Session{}) {
		t.Errorf("%s: Open = %+v, %v; want nothing and the one refusal", what, s, err)
	}
}

func TestSealOpenRoundTrip(t *testing.T) {
	t.Parallel()
	r := newTestRing(t, sealKey("k1", 1))
	rapid.Check(t, func(t *rapid.T) {
		want := Session{
			App:     presence.AppID(rapid.StringMatching(`[a-z0-9]{1,16}`).Draw(t, "app")),
			Session: presence.SessionID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session")),
			User:    userIDs().Draw(t, "user"),
			Epoch:   presence.Epoch{Counter: rapid.Uint32().Draw(t, "counter"), Incarnation: rapid.Uint64().Draw(t, "incarnation")},
			Issued:  presence.Time(rapid.Int64().Draw(t, "issued")),
		}
		token := r.Seal(want)
		if got, err := r.Open(token); err != nil || got != want {
			t.Fatalf("Open = %+v, %v; want %+v", got, err, want)
		}
		if again := r.Seal(want); again == token {
			t.Fatal("the same session sealed twice gives the same token")
		}
	})
}

func TestSealedLengths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		key       SealKey
		app, user string
		want      int
	}{
		{sealKey("k", 1), "a", "u", 110},
		{sealKey("k2345678", 1), strings.Repeat("a", 16), strings.Repeat("u", 128), 308},
	} {
		r := newTestRing(t, tt.key)
		token := r.Seal(Session{App: presence.AppID(tt.app), User: presence.UserID(tt.user)})
		if len(token) != tt.want {
			t.Errorf("app of %d, user of %d: %d characters, want %d", len(tt.app), len(tt.user), len(token), tt.want)
		}
		if _, err := r.Open(token); err != nil {
			t.Errorf("app of %d, user of %d: Open: %v", len(tt.app), len(tt.user), err)
		}
	}
}

func TestSealRefusesWhatOpenWould(t *testing.T) {
	t.Parallel()
	r := newTestRing(t, sealKey("k1", 1))
	for _, change := range []func(*Session){
		func(s *Session) { s.App = "" },
		func(s *Session) { s.App = "Not Valid" },
		func(s *Session) { s.User = "" },
		func(s *Session) { s.User = presence.UserID(strings.Repeat("u", 129)) },
	} {
		s := aliceSession()
		change(&s)
		if got := r.Seal(s); got != "" {
			t.Errorf("Seal(%+v) gave %d characters, want none", s, len(got))
		}
	}
}

func TestOpenRefusesEveryTamperedByte(t *testing.T) {
	t.Parallel()
	// Two keys, so that a changed id may hit the other one.
	r := newTestRing(t, sealKey("k1", 1), sealKey("k2", 2))
	s := aliceSession()
	s.User = "bob" // the last character of the token then has bits that stand for nothing
	token := r.Seal(s)
	if len(token)%4 != 2 {
		t.Fatalf("the token has %d characters, want 4 loose bits at its end", len(token))
	}
	if _, err := r.Open(token); err != nil {
		t.Fatalf("the token as it was: %v", err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			b := bytes.Clone(raw)
			b[i] ^= 1 << bit
			refuses(t, r, fmt.Sprintf("byte %d bit %d", i, bit), base64.RawURLEncoding.EncodeToString(b))
		}
	}
	for i := range token {
		for c := range 256 {
			if other := string([]byte{byte(c)}); other != token[i:i+1] {
				refuses(t, r, fmt.Sprintf("character %d as %q", i, other), token[:i]+other+token[i+1:])
			}
		}
		refuses(t, r, fmt.Sprintf("cut to %d characters", i), token[:i])
		refuses(t, r, fmt.Sprintf("line break before character %d", i), token[:i]+"\n"+token[i:])
		refuses(t, r, fmt.Sprintf("without character %d", i), token[:i]+token[i+1:])
	}
	refuses(t, r, "one character more", token+"A")
	refuses(t, r, "padding", token+"=")
	refuses(t, r, "carriage return at the end", token+"\r")
	refuses(t, r, "oversized", token+strings.Repeat("A", MaxSessionToken))
}

// TestOpenDoesNotDecodeTheOversized is not parallel, because it counts
// allocations: the refusal is the only one, nothing is decoded.
func TestOpenDoesNotDecodeTheOversized(t *testing.T) {
	r := newTestRing(t, sealKey("k1", 1))
	token := strings.Repeat("A", MaxSessionToken+1)
	if got := testing.AllocsPerRun(100, func() { r.Open(token) }); got > 1 {
		t.Errorf("Open of %d characters makes %v allocations, want 1", len(token), got)
	}
}

func TestOpenRefusesStrangeContents(t *testing.T) {
	t.Parallel()
	k := sealKey("k1", 1)
	r := newTestRing(t, k)
	fixed := make([]byte, fixedContent-1)
	names := func(appLen byte, names string) []byte {
		return append(append(bytes.Clone(fixed), appLen), names...)
	}
	good := names(4, "shopalice")
	if _, err := r.Open(sealRaw(t, k, "porchlight/session/v1", good)); err != nil {
		t.Fatalf("the content that the others are made from: %v", err)
	}
	refuses(t, r, "other purpose", sealRaw(t, k, "porchlight/session/v2", good))
	for _, tt := range []struct {
		name    string
		content []byte
	}{
		{"empty", nil},
		{"too short", fixed},
		{"no names", names(0, "")},
		{"app empty", names(0, "alice")},
		{"user empty", names(4, "shop")},
		{"app longer than all", names(200, "shopalice")},
		{"app not valid", names(4, "SHOPalice")},
		{"user not valid", names(4, "shopal\x00ice")},
		{"user too long", names(4, "shop"+strings.Repeat("u", 129))},
		{"user of the greatest length and more content than 1 KiB", names(4, "shop"+strings.Repeat("u", 1000))},
	} {
		refuses(t, r, tt.name, sealRaw(t, k, "porchlight/session/v1", tt.content))
	}
}

func TestRingRotation(t *testing.T) {
	t.Parallel()
	a, b, c := sealKey("a", 1), sealKey("b", 2), sealKey("c", 3)
	token := newTestRing(t, a).Seal(aliceSession())
	for _, tt := range []struct {
		name string
		keys []SealKey
		want bool
	}{
		{"announced", []SealKey{a, b}, true},
		{"newest", []SealKey{b, a}, true},
		{"one more", []SealKey{c, b, a}, true},
		{"dropped", []SealKey{c, b}, false},
		{"same id, other secret", []SealKey{sealKey("a", 9)}, false},
		{"same secret, other id", []SealKey{sealKey("z", 1)}, false},
	} {
		r := newTestRing(t, tt.keys...)
		if got, err := r.Open(token); (err == nil) != tt.want || tt.want && got != aliceSession() {
			t.Errorf("%s: Open = %+v, %v; want opened = %v", tt.name, got, err, tt.want)
		}
	}
	// The newest key seals: only a ring that has it opens.
	rotated := newTestRing(t, b, a).Seal(aliceSession())
	if _, err := newTestRing(t, b).Open(rotated); err != nil {
		t.Errorf("sealed by [b a], opened by [b]: %v", err)
	}
	refuses(t, newTestRing(t, a), "sealed by [b a], opened by [a]", rotated)
}

func TestNewRingChecksItsKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		keys []SealKey
		want string
	}{
		{"none", nil, "at least one"},
		{"id empty", []SealKey{sealKey("", 1)}, "key 1 is not 1 to 8"},
		{"id too long", []SealKey{sealKey("k", 1), sealKey("abcdefghi", 2)}, "key 2 is not 1 to 8"},
		{"id not valid", []SealKey{sealKey("K1", 1)}, "key 1 is not 1 to 8"},
		{"id twice", []SealKey{sealKey("k", 1), sealKey("k", 2)}, `"k" is listed twice`},
		{"zeros", []SealKey{sealKey("k", 0)}, "all zeros"},
	} {
		if _, err := NewRing(tt.keys); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewRing: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestSessionCheck(t *testing.T) {
	t.Parallel()
	s := aliceSession()
	for _, tt := range []struct {
		name   string
		access Access
		want   bool
	}{
		{"same", Access{App: "shop", User: "alice"}, true},
		{"other user", Access{App: "shop", User: "bob"}, false},
		{"other letters", Access{App: "shop", User: "Alice"}, false},
		{"same name in another app", Access{App: "game", User: "alice"}, false},
		{"nobody", Access{}, false},
	} {
		err := s.Check(tt.access)
		if tt.want && err != nil || !tt.want && fault.KindOf(err) != fault.SessionTokenNotYours {
			t.Errorf("%s: Check: %v, want accepted = %v", tt.name, err, tt.want)
		}
	}
}

func TestDevelopmentRings(t *testing.T) {
	t.Parallel()
	one, err := DevelopmentRing()
	if err != nil {
		t.Fatalf("DevelopmentRing: %v", err)
	}
	two, err := DevelopmentRing()
	if err != nil {
		t.Fatalf("DevelopmentRing: %v", err)
	}
	if got, err := two.Open(one.Seal(aliceSession())); err != nil || got != aliceSession() {
		t.Errorf("one opens what the other sealed: %+v, %v", got, err)
	}
}
