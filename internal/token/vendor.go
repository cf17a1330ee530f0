package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Why a vendor's token is refused. Interfaces that others defined have a code for
// each; no error holds anything out of the token.
var (
	ErrForm      = errors.New("the token is not a JWT: want header.claims.signature, each in base64url")
	ErrDecode    = errors.New("the token cannot be decoded: its parts must be base64url of JSON objects")
	ErrAlgorithm = errors.New("the token's alg is not HS256")
	ErrIssuer    = errors.New("the token's iss is not a key that is known here")
	ErrSignature = errors.New("the token's signature is wrong: its key's secret did not make it")
)

// Vendor is a token whose signature holds, of an interface that has claims of its
// own. Its times are the caller's to judge.
type Vendor struct {
	Issuer string // the iss claim, which named the secret
	Header map[string]any
	// Claims is the token's JSON, in which a number keeps its digits.
	Claims json.RawMessage
}

// OpenVendor checks a JWT that an interface's own key signed with HS256. secretOf
// gives the secret of an issuer, nil for one that is not known. It fails with one
// of the errors above; a token longer than MaxAccessToken is ErrForm.
func OpenVendor(raw string, secretOf func(issuer string) []byte) (Vendor, error) {
	if len(raw) > MaxAccessToken || !compactForm(raw) {
		return Vendor{}, ErrForm
	}
	var v Vendor
	var why error
	parser := jwt.NewParser(jwt.WithValidMethods([]string{HS256}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	// The header's alg is judged first: a method that the library does not have
	// would be told as something else.
	header, err := partOf(parser, raw, 0)
	if err != nil {
		return Vendor{}, err
	}
	if json.Unmarshal(header, &v.Header) != nil {
		return Vendor{}, ErrDecode
	}
	if v.Claims, err = partOf(parser, raw, 1); err != nil {
		return Vendor{}, err
	}
	if v.Header["alg"] != HS256 {
		return Vendor{}, ErrAlgorithm
	}
	if _, critical := v.Header["crit"]; critical {
		return Vendor{}, ErrAlgorithm // RFC 7515 §4.1.11: we understand no extension
	}
	_, err = parser.ParseWithClaims(raw, jwt.MapClaims{}, func(t *jwt.Token) (any, error) {
		v.Issuer, _ = t.Claims.GetIssuer()
		secret := secretOf(v.Issuer)
		if len(secret) == 0 {
			why = ErrIssuer
			return nil, why
		}
		return secret, nil
	})
	switch {
	case why != nil:
		return Vendor{}, why
	case errors.Is(err, jwt.ErrTokenMalformed):
		return Vendor{}, ErrDecode
	case err != nil:
		return Vendor{}, ErrSignature
	}
	return v, nil
}

// partOf decodes one part of a token, which must be a JSON object.
func partOf(parser *jwt.Parser, raw string, n int) ([]byte, error) {
	b, err := parser.DecodeSegment(strings.Split(raw, ".")[n])
	if err != nil || !json.Valid(b) || b[0] != '{' {
		return nil, ErrDecode
	}
	return b, nil
}

// SignVendor makes such a token, for the command line and tests. The header's typ
// and alg need not be given.
func SignVendor(header, claims map[string]any, secret []byte) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
	for k, v := range header {
		t.Header[k] = v
	}
	raw, err := t.SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return raw, nil
}

// VendorTime reads seconds since 1970, of a claim as JSON has it; ok is false when
// it is no such time.
func VendorTime(claim json.RawMessage) (at time.Time, ok bool) {
	var seconds float64
	if len(claim) == 0 || json.Unmarshal(claim, &seconds) != nil || string(claim) == "null" || seconds < 0 || seconds > maxNumericDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
