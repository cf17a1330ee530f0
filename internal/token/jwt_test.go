package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

var noon = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	secretA = "aaaaaaaa-first-secret-of-the-shop-app"
	secretB = "bbbbbbbb-second-secret-of-the-shop-app"
	secretC = "cccccccc-only-secret-of-the-game-app"
)

// shop and game are two tenants; shop is in the middle of a key rotation.
func shop() Issuer {
	return Issuer{App: "shop", Issuer: "https://id.shop.test", Audience: "presence",
		Keys: []Key{{ID: "new", Secret: []byte(secretB)}, {ID: "old", Secret: []byte(secretA)}}}
}

func game() Issuer {
	return Issuer{App: "game", Issuer: "https://id.game.test", UserClaim: "player",
		Keys: []Key{{Secret: []byte(secretC)}}}
}

func newTestVerifier(t testing.TB, now func() time.Time) *Verifier {
	t.Helper()
	v, err := NewVerifier([]Issuer{shop(), game()}, now)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	return v
}

func atNoon() time.Time { return noon }

// forge makes a token by hand, so that the tests do not trust the library that
// the code under test uses.
func forge(header, claims, secret string, algorithm func() hash.Hash) string {
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims))
	if algorithm == nil {
		return text + "."
	}
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + enc.EncodeToString(mac.Sum(nil))
}

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// noon is 1906545600.
const goodClaims = `{"iss":"https://id.shop.test","aud":"presence","sub":"alice","iat":1906545600,"exp":1906549200}`

func hs256(claims string) string { return forge(plainHeader, claims, secretA, sha256.New) }

func TestVerifyAccepts(t *testing.T) {
	t.Parallel()
	iat, exp := noon, noon.Add(time.Hour)
	alice := Access{App: "shop", User: "alice", IssuedAt: iat, Expires: exp}
	tests := []struct {
		name string
		raw  string
		want Access
	}{
		{"no kid, second key", hs256(goodClaims), alice},
		{"no kid, first key", forge(plainHeader, goodClaims, secretB, sha256.New), alice},
		{"kid of the old key", forge(`{"alg":"HS256","kid":"old"}`, goodClaims, secretA, sha256.New), alice},
		{"kid of the new key", forge(`{"alg":"HS256","kid":"new"}`, goodClaims, secretB, sha256.New), alice},
		{"one audience of several", hs256(`{"iss":"https://id.shop.test","aud":["x","presence"],"sub":"alice","iat":1906545600,"exp":1906549200}`), alice},
		{"no iat", hs256(`{"iss":"https://id.shop.test","aud":"presence","sub":"alice","exp":1906549200}`),
			Access{App: "shop", User: "alice", Expires: exp}},
		{"fractions are cut off", hs256(`{"iss":"https://id.shop.test","aud":"presence","sub":"alice","iat":1906545600.9,"exp":1906549200.9}`), alice},
		{"iat and nbf at the edge of the leeway", hs256(`{"iss":"https://id.shop.test","aud":"presence","sub":"alice","iat":1906545630,"nbf":1906545630,"exp":1906549200}`),
			Access{App: "shop", User: "alice", IssuedAt: noon.Add(30 * time.Second), Expires: exp}},
		{"one second before exp", hs256(`{"iss":"https://id.shop.test","aud":"presence","sub":"alice","exp":1906545601}`),
			Access{App: "shop", User: "alice", Expires: noon.Add(time.Second)}},
		{"other app, other user claim, any audience", forge(plainHeader, `{"iss":"https://id.game.test","aud":"whatever","sub":"wrong","player":"Zoë 🎮","exp":1906549200}`, secretC, sha256.New),
			Access{App: "game", User: "Zoë 🎮", Expires: exp}},
		{"user id of the greatest length", hs256(`{"iss":"https://id.shop.test","aud":"presence","sub":"` + strings.Repeat("u", 128) + `","exp":1906549200}`),
			Access{App: "shop", User: presence.UserID(strings.Repeat("u", 128)), Expires: exp}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newTestVerifier(t, atNoon)
			for _, round := range []string{"fresh", "remembered"} {
				got, err := v.Verify(t.Context(), tt.raw)
				if err != nil || got != tt.want {
					t.Errorf("%s: Verify = %+v, %v; want %+v, nil", round, got, err, tt.want)
				}
			}
		})
	}
}

// looseBits returns the character after c in the base64 alphabet: at the end of
// a signature of 32 bytes it stands for the same bytes to a careless decoder.
func looseBits(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)+1:][:1]
}

// refused is a token that must not pass, and a word of the detail that says why.
type refused struct {
	name, raw string
	kind      fault.Kind
	detail    string
}

func refusedTokens() []refused {
	claims := func(s string) string {
		return hs256(`{"iss":"https://id.shop.test","aud":"presence",` + s + `}`)
	}
	good := hs256(goodClaims)
	parts := strings.Split(good, ".")
	const bad = fault.JWTInvalid
	return []refused{
		// Form.
		{"missing", "", bad, "missing"},
		{"garbage", "swordfish", bad, "not a JWT"},
		{"two dots only", "..", bad, "not a JWT"},
		{"two parts", parts[0] + "." + parts[1], bad, "not a JWT"},
		{"four parts", good + "." + parts[2], bad, "not a JWT"},
		{"with the scheme", "Bearer " + good, bad, "not a JWT"},
		{"line break inside", parts[0] + "\n." + parts[1] + "." + parts[2], bad, "not a JWT"},
		{"padded base64", parts[0] + "=." + parts[1] + "." + parts[2], bad, "not a JWT"},
		{"loose bits at the end", good[:len(good)-1] + looseBits(good[len(good)-1]), bad, "not a JWT"},
		{"header is no JSON", forge(`alg`, goodClaims, secretA, sha256.New), bad, "not a JWT"},
		{"header is null", forge(`null`, goodClaims, secretA, sha256.New), bad, "algorithm"},
		{"claims are no JSON", hs256(`sub`), bad, "not a JWT"},
		{"claims are null", hs256(`null`), bad, "no issuer"},
		{"claims are a list", hs256(`[]`), bad, "not a JWT"},
		{"oversized", hs256(`{"pad":"` + strings.Repeat("x", MaxAccessToken) + `"}`), bad, "longer than 8192"},

		// Algorithm and signature.
		{"alg none", forge(`{"alg":"none"}`, goodClaims, "", nil), bad, "want HS256"},
		{"alg None with a signature", forge(`{"alg":"None"}`, goodClaims, secretA, sha256.New), bad, "want HS256"},
		{"alg missing", forge(`{"typ":"JWT"}`, goodClaims, secretA, sha256.New), bad, "want HS256"},
		{"alg a number", forge(`{"alg":256}`, goodClaims, secretA, sha256.New), bad, "want HS256"},
		{"alg unknown", forge(`{"alg":"HS1"}`, goodClaims, secretA, sha256.New), bad, "want HS256"},
		{"HS512 with the right secret", forge(`{"alg":"HS512"}`, goodClaims, secretA, sha512.New), bad, "want HS256"},
		{"RS256 header over an HMAC", forge(`{"alg":"RS256"}`, goodClaims, secretA, sha256.New), bad, "no key of its algorithm"},
		{"ES256 header over an HMAC", forge(`{"alg":"ES256"}`, goodClaims, secretA, sha256.New), bad, "no key of its algorithm"},
		{"critical extension", forge(`{"alg":"HS256","crit":["exp"]}`, goodClaims, secretA, sha256.New), bad, "crit"},
		{"no signature", parts[0] + "." + parts[1] + ".", bad, "signature"},
		{"other claims under the signature", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(goodClaims, "alice", "mallo", 1))) + "." + parts[2], bad, "signature"},
		{"wrong key", forge(plainHeader, goodClaims, "not the secret of anyone here at all", sha256.New), bad, "signature"},
		{"empty key", forge(plainHeader, goodClaims, "", sha256.New), bad, "signature"},
		{"key of another app", forge(plainHeader, goodClaims, secretC, sha256.New), bad, "signature"},

		// Key id.
		{"unknown kid, good key", forge(`{"alg":"HS256","kid":"older"}`, goodClaims, secretA, sha256.New), bad, "kid"},
		{"kid of the other key", forge(`{"alg":"HS256","kid":"new"}`, goodClaims, secretA, sha256.New), bad, "signature"},
		{"empty kid", forge(`{"alg":"HS256","kid":""}`, goodClaims, secretA, sha256.New), bad, "kid"},
		{"kid a number", forge(`{"alg":"HS256","kid":1}`, goodClaims, secretA, sha256.New), bad, "kid"},
		{"empty kid where the key has none", forge(`{"alg":"HS256","kid":""}`, `{"iss":"https://id.game.test","player":"p","exp":1906549200}`, secretC, sha256.New), bad, "kid"},

		// Issuer and audience.
		{"issuer missing", hs256(`{"aud":"presence","sub":"alice","exp":1906549200}`), bad, "no issuer"},
		{"issuer a number", hs256(`{"iss":1,"aud":"presence","sub":"alice","exp":1906549200}`), bad, "no issuer"},
		{"issuer in other letters", hs256(`{"ISS":"https://id.shop.test","aud":"presence","sub":"alice","exp":1906549200}`), bad, "no issuer"},
		{"foreign issuer", hs256(`{"iss":"https://evil.test","aud":"presence","sub":"alice","exp":1906549200}`), bad, "trusts"},
		{"wrong audience", hs256(`{"iss":"https://id.shop.test","aud":"billing","sub":"alice","exp":1906549200}`), bad, "aud"},
		{"audience missing", hs256(`{"iss":"https://id.shop.test","sub":"alice","exp":1906549200}`), bad, "aud"},
		{"audience a number", hs256(`{"iss":"https://id.shop.test","aud":7,"sub":"alice","exp":1906549200}`), bad, "aud"},
		{"audience among numbers", hs256(`{"iss":"https://id.shop.test","aud":["presence",7],"sub":"alice","exp":1906549200}`), bad, "aud"},

		// Times.
		{"expired", claims(`"sub":"alice","exp":1906545599`), fault.JWTExpired, "expired"},
		{"expires now", claims(`"sub":"alice","exp":1906545600`), fault.JWTExpired, "expired"},
		{"exp missing", claims(`"sub":"alice"`), bad, "exp"},
		{"exp null", claims(`"sub":"alice","exp":null`), bad, "exp"},
		{"exp a string", claims(`"sub":"alice","exp":"1906549200"`), bad, "exp"},
		{"exp negative", claims(`"sub":"alice","exp":-1`), bad, "exp"},
		{"exp past all years", claims(`"sub":"alice","exp":1e300`), bad, "exp"},
		{"not yet valid", claims(`"sub":"alice","exp":1906549200,"nbf":1906545631`), bad, "nbf"},
		{"nbf a string", claims(`"sub":"alice","exp":1906549200,"nbf":"now"`), bad, "nbf"},
		{"issued in the future", claims(`"sub":"alice","exp":1906549200,"iat":1906545631`), bad, "iat"},
		{"iat null", claims(`"sub":"alice","exp":1906549200,"iat":null`), bad, "iat"},

		// User.
		{"user missing", claims(`"exp":1906549200`), bad, "no valid user"},
		{"user empty", claims(`"sub":"","exp":1906549200`), bad, "no valid user"},
		{"user too long", claims(`"sub":"` + strings.Repeat("u", 129) + `","exp":1906549200`), bad, "no valid user"},
		{"user with control characters", claims(`"sub":"al\u0000ice","exp":1906549200`), bad, "no valid user"},
		{"user a number", claims(`"sub":42,"exp":1906549200`), bad, "no valid user"},
		{"user a list", claims(`"sub":["alice"],"exp":1906549200`), bad, "no valid user"},
		{"user with broken UTF-8", claims("\"sub\":\"al\xffice\",\"exp\":1906549200"), bad, "no valid user"},
		{"user with half a surrogate pair", claims(`"sub":"al\ud800ice","exp":1906549200`), bad, "no valid user"},
		{"user in the default claim, not the issuer's", forge(plainHeader, `{"iss":"https://id.game.test","sub":"alice","exp":1906549200}`, secretC, sha256.New), bad, `"player"`},
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, atNoon)
	if _, err := v.Verify(t.Context(), hs256(goodClaims)); err != nil {
		t.Fatalf("the token that the others are made from: %v", err)
	}
	for _, tt := range refusedTokens() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := v.Verify(t.Context(), tt.raw)
			if err == nil {
				t.Fatalf("Verify = %+v, want a refusal", got)
			}
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != tt.kind {
				t.Fatalf("Verify: %v (%T), want kind %v", err, err, tt.kind)
			}
			if !strings.Contains(f.Detail, tt.detail) {
				t.Errorf("detail is %q, want it to say %q", f.Detail, tt.detail)
			}
			if got != (Access{}) {
				t.Errorf("Verify = %+v beside the error, want nothing", got)
			}
		})
	}
}

func TestVerifySizeLimitIsExact(t *testing.T) {
	t.Parallel()
	v := newTestVerifier(t, atNoon)
	for _, tt := range []struct {
		length int
		detail string
	}{{MaxAccessToken, "not a JWT"}, {MaxAccessToken + 1, "longer than"}} {
		if _, err := v.Verify(t.Context(), strings.Repeat("x", tt.length)); err == nil || !strings.Contains(err.Error(), tt.detail) {
			t.Errorf("%d bytes: %v, want %q", tt.length, err, tt.detail)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	withKeys := func(keys ...Key) Issuer {
		iss := shop()
		iss.Keys = keys
		return iss
	}
	oldKey, newKey := Key{ID: "old", Secret: []byte(secretA)}, Key{ID: "new", Secret: []byte(secretB)}
	raw, err := Sign(withKeys(oldKey), "alice", time.Hour, noon)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	for _, tt := range []struct {
		name string
		keys []Key
		want bool
	}{
		{"before", []Key{oldKey}, true},
		{"both", []Key{newKey, oldKey}, true},
		{"after", []Key{newKey}, false},
	} {
		v, err := NewVerifier([]Issuer{withKeys(tt.keys...)}, atNoon)
		if err != nil {
			t.Fatalf("%s: NewVerifier: %v", tt.name, err)
		}
		if _, err := v.Verify(t.Context(), raw); (err == nil) != tt.want {
			t.Errorf("%s: Verify: %v, want accepted = %v", tt.name, err, tt.want)
		}
	}
}

func TestVerifierCopiesItsKeys(t *testing.T) {
	t.Parallel()
	iss := shop()
	v, err := NewVerifier([]Issuer{iss}, atNoon)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	clear(iss.Keys[0].Secret)
	clear(iss.Keys[1].Secret)
	if _, err := v.Verify(t.Context(), hs256(goodClaims)); err != nil {
		t.Errorf("after the caller wiped its copy: %v", err)
	}
}
