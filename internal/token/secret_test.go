package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// spellings returns the ways in which formatted output could give b away.
func spellings(b []byte) []string {
	return []string{
		string(b),
		hex.EncodeToString(b),
		strings.ToUpper(hex.EncodeToString(b)),
		base64.StdEncoding.EncodeToString(b),
		strings.Trim(fmt.Sprint(b), "[]"),          // %v, %d
		fmt.Sprintf("%#v", b[:4])[len("[]byte{"):], // the first bytes with the brace of their end
		strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}"),
	}
}

// everyPrint formats x with every verb and writes it to both kinds of log.
func everyPrint(t *testing.T, x any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "% x", "%o", "%c", "%U"} {
		fmt.Fprintf(&out, verb+"\n", x)
	}
	fmt.Fprintln(&out, x)
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "x", x)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "x", x)
	b, err := json.Marshal(x)
	if err == nil {
		out.Write(b)
	}
	return out.String()
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	secret := []byte("swordfish-swordfish-swordfish-32")
	key := Key{ID: "k1", Secret: secret}
	iss := Issuer{App: "shop", Issuer: "i", Keys: []Key{key}}
	v, err := NewVerifier([]Issuer{iss}, atNoon)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	seal := SealKey{ID: "k1", Key: [32]byte(secret)}
	ring := newTestRing(t, seal)
	raw, err := Sign(iss, "alice", time.Hour, noon)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	if _, err := v.Verify(t.Context(), raw); err != nil { // fill the cache too
		t.Fatalf("Verify: %v", err)
	}
	for _, x := range []any{
		key, &key, []Key{key}, iss, &iss, []Issuer{iss}, map[string]Key{"a": key},
		seal, &seal, []SealKey{seal}, struct{ K SealKey }{seal},
		v, ring, struct{ R *Ring }{ring}, struct{ r *Ring }{ring}, &struct{ r *Ring }{ring}, []*Ring{ring},
		struct{ v *Verifier }{v}, &struct{ v *Verifier }{v}, []*Verifier{v}, map[string]any{"v": v}, v.issuers, v.issuers["i"],
	} {
		got := everyPrint(t, x)
		for _, s := range spellings(secret) {
			if strings.Contains(got, s) {
				t.Errorf("%T prints its secret as %q", x, s)
			}
		}
		if strings.Contains(got, raw) {
			t.Errorf("%T prints a token", x)
		}
	}
	for _, got := range []string{
		fmt.Sprintf("%#v", key), key.String(), key.GoString(), key.LogValue().String(),
		fmt.Sprintf("%#v", seal), seal.String(), seal.GoString(), seal.LogValue().String(),
	} {
		if !strings.Contains(got, "k1") || !strings.Contains(got, "not shown") || strings.Contains(got, "swordfish") {
			t.Errorf("a key prints as %q, want its id and that the secret is not shown", got)
		}
	}
}

// TestRefusalsQuoteNothing checks that no refusal holds a part of the token,
// of its claims or of a key.
func TestRefusalsQuoteNothing(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, atNoon)
	for _, r := range refusedTokens() {
		_, err := v.Verify(t.Context(), r.raw)
		if err == nil {
			t.Errorf("%s: accepted", r.name)
			continue
		}
		bits := []string{secretA, secretB, secretC, "alice", "evil.test", "billing", "swordfish", "older"}
		for part := range strings.SplitSeq(r.raw, ".") {
			if len(part) > 4 {
				bits = append(bits, part)
			}
		}
		for _, bit := range bits {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), bit) {
				t.Errorf("%s: the refusal %v quotes %q", r.name, err, bit)
			}
		}
	}
	for _, iss := range []Issuer{
		{App: "shop", Issuer: "i", Keys: []Key{{ID: "a", Secret: []byte("too-short-swordfish")}}},
		{App: "BAD", Issuer: "i", Keys: []Key{{ID: "a", Secret: []byte(secretA)}}},
	} {
		_, err := NewVerifier([]Issuer{iss}, atNoon)
		if err == nil || strings.Contains(err.Error(), string(iss.Keys[0].Secret)) {
			t.Errorf("NewVerifier: %v, want an error without the secret", err)
		}
	}
}
