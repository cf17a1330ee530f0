package token

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// FuzzVerify: whatever comes in, the answer is an Access or one of the two
// kinds of fault, the fault does not quote the token, and asking twice or
// without memory gives the same.
func FuzzVerify(f *testing.F) {
	f.Add(hs256(goodClaims))
	for _, r := range refusedTokens() {
		f.Add(r.raw)
	}
	v := newTestVerifier(f, atNoon)
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := v.Verify(t.Context(), raw)
		again, errAgain := v.Verify(t.Context(), raw)
		if got != again || (err == nil) != (errAgain == nil) {
			t.Errorf("first %+v, %v; then %+v, %v", got, err, again, errAgain)
		}
		if err == nil {
			// Nobody makes a signature by chance: only the one good seed passes.
			if raw != hs256(goodClaims) {
				t.Errorf("accepted as %+v", got)
			}
			return
		}
		fe, ok := errors.AsType[*fault.Error](err)
		if !ok || fe.Kind != fault.JWTInvalid && fe.Kind != fault.JWTExpired {
			t.Errorf("error %v (%T) is no fault of a JWT", err, err)
		}
		if len(raw) > 40 && strings.Contains(err.Error(), raw) {
			t.Errorf("the error quotes the token: %v", err)
		}
	})
}

// FuzzClaims signs what comes in, so that the code behind the signature meets
// it: no panic, and only valid users of the right app come out.
func FuzzClaims(f *testing.F) {
	f.Add(plainHeader, goodClaims)
	f.Add(`{"alg":"HS256","kid":"old"}`, `{"iss":"https://id.shop.test","aud":["presence"],"sub":"a","exp":1e12,"nbf":0}`)
	f.Add(`{"alg":"HS256","crit":[]}`, `{"iss":"https://id.shop.test","sub":{},"exp":[],"iat":{},"aud":{}}`)
	v := newTestVerifier(f, atNoon)
	f.Fuzz(func(t *testing.T, header, claims string) {
		a, err := v.Verify(t.Context(), forge(header, claims, secretA, sha256.New))
		if err != nil {
			if k := fault.KindOf(err); k != fault.JWTInvalid && k != fault.JWTExpired {
				t.Errorf("error %v is no fault of a JWT", err)
			}
			return
		}
		if a.App != "shop" || !validUser(string(a.User)) || !a.Expires.After(noon) || a.IssuedAt.After(noon.Add(Leeway)) {
			t.Errorf("accepted as %+v", a)
		}
	})
}

// FuzzOpen: only what was sealed opens; all else gets the one refusal.
func FuzzOpen(f *testing.F) {
	k := sealKey("k1", 1)
	r := newTestRing(f, k, sealKey("k2", 2))
	good := sealRaw(f, k, sealContext, append(make([]byte, fixedContent-1), "\x04shopalice"...))
	f.Add(good)
	f.Add("")
	f.Add(good[:len(good)/2])
	f.Add(sealRaw(f, k, sealContext, nil))
	f.Add(sealRaw(f, sealKey("k3", 3), sealContext, nil))
	f.Fuzz(func(t *testing.T, token string) {
		if token == good {
			if s, err := r.Open(token); err != nil || s.User != "alice" {
				t.Errorf("the good token: Open = %+v, %v", s, err)
			}
			return
		}
		refuses(t, r, "fuzzed", token)
	})
}

// FuzzParseContent reads contents past the seal: no panic, valid names only,
// and what was read seals to a token that gives the same again.
func FuzzParseContent(f *testing.F) {
	r := newTestRing(f, sealKey("k1", 1))
	f.Add(append(make([]byte, fixedContent-1), "\x04shopalice"...))
	f.Add(append(make([]byte, fixedContent-1), "\xffshopalice"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		s, ok := parseContent(content)
		if !ok {
			return
		}
		if got, err := r.Open(r.Seal(s)); err != nil || got != s {
			t.Errorf("Open = %+v, %v; want %+v", got, err, s)
		}
	})
}

// FuzzKeyFile: no panic, errors quote no line, and every key that is read has
// an id that may travel in a token.
func FuzzKeyFile(f *testing.F) {
	f.Add(newKeyFile())
	f.Add([]byte("# x\r\n\na " + keyA + "\nb\t" + keyB))
	f.Add([]byte(keyA + " a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeyFile(text)
		if err != nil {
			for line := range bytes.Lines(text) {
				if line = bytes.TrimSpace(line); len(line) > 40 && strings.Contains(err.Error(), string(line)) {
					t.Errorf("the error quotes the file: %v", err)
				}
			}
			return
		}
		for _, k := range keys {
			if !validSealKeyID(k.ID) {
				t.Errorf("a key has the id %q", k.ID)
			}
		}
	})
}
