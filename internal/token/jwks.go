package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Bounds of a JWK Set.
const (
	// MaxJWKS is the longest set that is read, in bytes.
	MaxJWKS = 256 << 10
	// maxPublished is how many of its keys are held; more are left out.
	maxPublished = 64
	maxKeyID     = 256
)

// jwk is a key as RFC 7517 §4 and RFC 7518 §6 write it, as far as we read it.
type jwk struct {
	Type       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	ID         string   `json:"kid"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

// parseJWKS reads a JWK Set (RFC 7517 §5). Keys that are not for checking
// signatures with an algorithm of ours are left out, as the RFC demands, and so
// are weak and damaged ones; skipped counts both. A set without keys is a word of
// the issuer, too: it trusts none.
func parseJWKS(text []byte) (keys []Key, skipped int, err error) {
	if len(text) > MaxJWKS {
		return nil, 0, fmt.Errorf("is longer than %d bytes", MaxJWKS)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, 0, errors.New("is not a JWK Set: want a JSON object with keys")
	}
	if set.Keys == nil {
		return nil, 0, errors.New(`is not a JWK Set: it has no "keys"`)
	}
	for _, raw := range set.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) != nil || len(keys) == maxPublished {
			skipped++
			continue
		}
		public, ok := k.public()
		if !ok {
			skipped++
			continue
		}
		keys = append(keys, Key{ID: k.ID, Public: public})
	}
	return keys, skipped, nil
}

// public is the key itself; ok is false when it is not for us.
func (k *jwk) public() (public crypto.PublicKey, ok bool) {
	if k.Use != "" && k.Use != "sig" || k.Operations != nil && !slices.Contains(k.Operations, "verify") || len(k.ID) > maxKeyID {
		return nil, false
	}
	switch {
	case k.Type == "RSA":
		public = k.rsa()
	case k.Type == "EC" && k.Curve == "P-256":
		public = k.elliptic()
	case k.Type == "OKP" && k.Curve == "Ed25519":
		public = k.edwards()
	}
	// RFC 9864 has a second name for EdDSA with Ed25519 keys.
	algorithm := algorithmOf(public)
	if algorithm == "" || k.Algorithm != "" && k.Algorithm != algorithm && (algorithm != EdDSA || k.Algorithm != "Ed25519") {
		return nil, false
	}
	return public, checkPublic(public) == nil
}

func (k *jwk) rsa() crypto.PublicKey {
	n, e := number(k.N), number(k.E)
	if n == nil || e == nil || len(e) > 4 {
		return nil
	}
	exponent := 0
	for _, b := range e {
		exponent = exponent<<8 | int(b)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponent}
}

func (k *jwk) elliptic() crypto.PublicKey {
	x, y := number(k.X), number(k.Y)
	const size = 32 // RFC 7518 §6.2.1.2: octets of P-256
	if len(x) != size || len(y) != size {
		return nil
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil // not a point of the curve
	}
	return public
}

func (k *jwk) edwards() crypto.PublicKey {
	x := number(k.X)
	if len(x) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(x)
}

// number decodes base64url; nil when it is none, or empty.
func number(s string) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > maxRSA/8+1 {
		return nil
	}
	return b
}

// sameKey reports whether two public keys are one.
func sameKey(a, b crypto.PublicKey) bool {
	if a, ok := a.(ed25519.PublicKey); ok {
		b, ok := b.(ed25519.PublicKey)
		return ok && bytes.Equal(a, b)
	}
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
