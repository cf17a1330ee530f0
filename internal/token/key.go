package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of an issuer's keys.
const (
	// MinSecret is the least length of an HS256 secret in bytes: as long as the
	// hash, as RFC 7518 §3.2 demands. A shorter one can be guessed offline from
	// a single token.
	MinSecret = 32
	// MinRSA is the least size of an RSA key in bits (RFC 7518 §3.3).
	MinRSA = 2048
	// maxRSA bounds what one check costs.
	maxRSA = 8192
	// maxKeys bounds the work a forged token without a key id can cause, since
	// every key of its algorithm is tried for it.
	maxKeys = 16
)

// The algorithms. A key has exactly one, by what it is, and a token's alg must
// be that of its key: so no public key can ever pass for a secret.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// Key is one key of an issuer: a Secret or a Public key. However it is
// formatted, logged or marshalled, the secret does not show.
type Key struct {
	ID     string `json:"id"` // the kid header that selects it; empty: tried only for tokens without kid
	Secret []byte `json:"-"`  // HS256: at least MinSecret bytes
	// Public is an *rsa.PublicKey (RS256), an *ecdsa.PublicKey on P-256 (ES256) or
	// an ed25519.PublicKey (EdDSA), as ParsePublicKey gives it.
	Public crypto.PublicKey `json:"-"`
}

// Algorithm is what the key checks; empty when it is unusable.
func (k Key) Algorithm() string {
	if len(k.Secret) > 0 {
		return HS256
	}
	return algorithmOf(k.Public)
}

func algorithmOf(public crypto.PublicKey) string {
	switch public.(type) {
	case *rsa.PublicKey:
		return RS256
	case *ecdsa.PublicKey:
		return ES256
	case ed25519.PublicKey:
		return EdDSA
	}
	return ""
}

// String names the key without its secret.
func (k Key) String() string { return "key " + k.ID + " (secret not shown)" }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// Format writes String for every verb: with a Stringer alone, %d would still
// print the bytes of the secret.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String, for log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// check says what makes the key unusable.
func (k Key) check() error {
	switch {
	case len(k.Secret) > 0 && k.Public != nil:
		return errors.New("is both a secret and a public key, want one of them")
	case k.Public != nil:
		return checkPublic(k.Public)
	case len(k.Secret) < MinSecret:
		return fmt.Errorf("has a secret of %d bytes, want at least %d", len(k.Secret), MinSecret)
	}
	return nil
}

// checkPublic refuses public keys that are weak, or that no algorithm of ours
// is for.
func checkPublic(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return errors.New("is an empty RSA key")
		}
		if n := k.N.BitLen(); n < MinRSA || n > maxRSA {
			return fmt.Errorf("is an RSA key of %d bits, want %d to %d", n, MinRSA, maxRSA)
		}
		if k.E < 3 || k.E%2 == 0 {
			return errors.New("is an RSA key with a bad exponent")
		}
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return errors.New("is an elliptic key on another curve than P-256, which ES256 needs")
		}
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("is an Ed25519 key of %d bytes, want %d", len(k), ed25519.PublicKeySize)
		}
	default:
		return errors.New("is of a kind that no algorithm here is for; want RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)")
	}
	return nil
}

// ParsePublicKey reads one public key in PEM, as `openssl pkey -pubout` or
// `openssl rsa -pubout` write it, or the one in a certificate. Its errors show
// nothing of the text: it may be a private key that got there by mistake.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("is not PEM: want -----BEGIN PUBLIC KEY-----")
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, errors.New("has more than one PEM block: want one public key")
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("is a private key, which belongs to the issuer alone; give its public half (openssl pkey -pubout)")
	}
	public, err := publicOf(block)
	if err != nil {
		return nil, err
	}
	return public, checkPublic(public)
}

func publicOf(block *pem.Block) (public crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		return nil, errors.New("is PEM of another kind: want PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE")
	}
	if err != nil {
		return nil, errors.New("is damaged: its PEM block does not hold what it says")
	}
	return public, nil
}

// methods has the signing method of each algorithm.
func methods() []string {
	return []string{jwt.SigningMethodHS256.Alg(), jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg()}
}
