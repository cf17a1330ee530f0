package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// pair is a key of an issuer with both its halves.
type pair struct {
	method  jwt.SigningMethod
	private crypto.Signer
}

// pairs makes one key of each kind, once: RSA keys take long.
var pairs = sync.OnceValue(func() map[string]pair {
	rsaKey, err := rsa.GenerateKey(rand.Reader, MinRSA)
	if err != nil {
		return nil
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil
	}
	return map[string]pair{
		RS256: {jwt.SigningMethodRS256, rsaKey}, ES256: {jwt.SigningMethodES256, ecKey}, EdDSA: {jwt.SigningMethodEdDSA, edKey},
	}
})

// signed is a good token of the issuer shop, with that kid.
func signed(t testing.TB, p pair, kid string) string {
	t.Helper()
	tok := jwt.NewWithClaims(p.method, jwt.MapClaims{
		"iss": "https://id.shop.test", "aud": "presence", "sub": "alice", "exp": noon.Add(time.Hour).Unix(),
	})
	if kid != "" {
		tok.Header["kid"] = kid
	}
	raw, err := tok.SignedString(p.private)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func publicPEM(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// verifierOf trusts the issuer shop with these keys.
func verifierOf(t testing.TB, keys ...Key) *Verifier {
	t.Helper()
	iss := shop()
	iss.Keys = keys
	v, err := NewVerifier([]Issuer{iss}, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	all := []Key{{ID: "HS256", Secret: []byte(secretA)}}
	for name, p := range pairs() {
		public, err := ParsePublicKey(publicPEM(t, p.private.Public()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k := Key{ID: name, Public: public}
		if k.Algorithm() != name {
			t.Errorf("Algorithm = %s, want %s", k.Algorithm(), name)
		}
		all = append(all, k, Key{Public: public}) // once without an id
	}
	v := verifierOf(t, all...)
	for name, p := range pairs() {
		for _, kid := range []string{"", name} {
			raw := signed(t, p, kid)
			for range 2 { // fresh and remembered
				if a, err := v.Verify(t.Context(), raw); err != nil || a.User != "alice" {
					t.Errorf("%s with kid %q: %+v, %v", name, kid, a, err)
				}
			}
		}
		for other := range pairs() {
			if other == name {
				continue
			}
			_, err := v.Verify(t.Context(), signed(t, p, other))
			wantInvalid(t, "a kid of another algorithm", err, "alg")
		}
	}
}

func wantInvalid(t *testing.T, what string, err error, says string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != fault.JWTInvalid || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want JWT_INVALID with %q", what, err, says)
	}
}

// A public key is known to everybody: what is signed with its bytes as a secret
// must never pass, whatever the header says.
func TestPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	for name, p := range pairs() {
		public := p.private.Public()
		text := publicPEM(t, public)
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string]string{"PEM": string(text), "PEM without line end": strings.TrimSpace(string(text)), "DER": string(der)}
		if ed, ok := public.(ed25519.PublicKey); ok {
			secrets["raw"] = string(ed)
		}
		parsed, err := ParsePublicKey(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"", "k"} {
			v := verifierOf(t, Key{ID: id, Public: parsed})
			for form, secret := range secrets {
				for _, header := range []string{`{"alg":"HS256"}`, `{"alg":"HS256","kid":"k"}`, `{"alg":"none"}`, fmt.Sprintf(`{"alg":%q}`, name), fmt.Sprintf(`{"alg":%q,"kid":"k"}`, name)} {
					if _, err := v.Verify(t.Context(), forge(header, goodClaims, secret, sha256.New)); err == nil {
						t.Errorf("%s key, header %s: an HMAC with the public key (%s) passed", name, header, form)
					}
				}
			}
		}
	}
}

func TestWeakKeys(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pairs()[RS256].private.Public().(*rsa.PublicKey)
	for name, test := range map[string]struct {
		key  Key
		want string
	}{
		"RSA of 2047 bits":  {Key{Public: &rsa.PublicKey{N: new(big.Int).Rsh(good.N, 1), E: 65537}}, "2047 bits"},
		"huge RSA":          {Key{Public: &rsa.PublicKey{N: new(big.Int).Lsh(good.N, 8000), E: 65537}}, "bits"},
		"RSA, exponent 1":   {Key{Public: &rsa.PublicKey{N: good.N, E: 1}}, "exponent"},
		"RSA, exponent 4":   {Key{Public: &rsa.PublicKey{N: good.N, E: 4}}, "exponent"},
		"empty RSA":         {Key{Public: &rsa.PublicKey{}}, "empty"},
		"P-384":             {Key{Public: p384.Public()}, "P-256"},
		"short Ed25519":     {Key{Public: ed25519.PublicKey("x")}, "Ed25519"},
		"a private key":     {Key{Public: p384}, "kind"},
		"secret and public": {Key{Public: good, Secret: []byte(secretA)}, "both"},
		"nothing":           {Key{}, "0 bytes"},
	} {
		iss := shop()
		iss.Keys = []Key{test.key}
		if _, err := NewVerifier([]Issuer{iss}, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	t.Parallel()
	private, err := x509.MarshalPKCS8PrivateKey(pairs()[ES256].private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	good := string(publicPEM(t, pairs()[ES256].private.Public()))
	for name, test := range map[string]struct{ text, want string }{
		"nothing":          {"", "not PEM"},
		"no PEM":           {"ssh-ed25519 AAAA", "not PEM"},
		"a private key":    {block("PRIVATE KEY", private), "private key"},
		"two keys":         {good + good, "more than one"},
		"another kind":     {block("CERTIFICATE REQUEST", []byte("x")), "another kind"},
		"damaged":          {block("PUBLIC KEY", []byte("x")), "damaged"},
		"damaged RSA":      {block("RSA PUBLIC KEY", []byte("x")), "damaged"},
		"damaged cert":     {block("CERTIFICATE", []byte("x")), "damaged"},
		"private as a pub": {block("PUBLIC KEY", private), "damaged"},
	} {
		_, err := ParsePublicKey([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
	rsaKey := pairs()[RS256].private.Public().(*rsa.PublicKey)
	if k, err := ParsePublicKey([]byte(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rsaKey)))); err != nil || !rsaKey.Equal(k) {
		t.Errorf("PKCS #1: %v, %v", k, err)
	}
}

// Public keys cannot sign, and Sign says so.
func TestSignWithoutASecret(t *testing.T) {
	t.Parallel()
	iss := shop()
	iss.Keys = []Key{{ID: "p", Public: pairs()[EdDSA].private.Public()}}
	if _, err := Sign(iss, "alice", time.Hour, noon); err == nil || !strings.Contains(err.Error(), "public keys check tokens") {
		t.Errorf("err = %v, want it to say why not", err)
	}
	iss.Keys = append(iss.Keys, Key{ID: "s", Secret: []byte(secretA)})
	if _, err := Sign(iss, "alice", time.Hour, noon); err != nil {
		t.Errorf("with a secret beside: %v", err)
	}
}

// BenchmarkAlgorithms is what a token costs that is not remembered.
func BenchmarkAlgorithms(b *testing.B) {
	for name, p := range pairs() {
		b.Run(name, func(b *testing.B) {
			v := verifierOf(b, Key{ID: "k", Public: p.private.Public()})
			raw := signed(b, p, "k")
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := v.read(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
