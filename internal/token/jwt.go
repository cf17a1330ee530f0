package token

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Bounds of an access token.
const (
	// MaxAccessToken is the longest access token that is looked at, in bytes.
	// Longer ones are refused before any parsing.
	MaxAccessToken = 8 << 10
	// Leeway is how far an issuer's clock may be ahead of ours: iat and nbf may
	// lie this much in the future. It does not stretch exp, because
	// Access.Expires is also the moment at which sessions end.
	Leeway = 30 * time.Second
	// maxNumericDate is the last second of the year 9999. Beyond it the
	// conversion from JSON's floating point would stop being exact, then sane.
	maxNumericDate = 253402300799
)

// algorithms lists what a signature may be made with. Asymmetric ones join here
// once an issuer can hold public keys; until then a token that names one is
// refused before any key is touched, so no public key can pass for a secret.
func algorithms() []string { return []string{jwt.SigningMethodHS256.Alg()} }

// Access is what a verified access token says.
type Access struct {
	App      presence.AppID
	User     presence.UserID
	IssuedAt time.Time // zero when the token does not say
	Expires  time.Time // the token is good before this moment, not at it
}

// Verifier checks access tokens against a fixed set of issuers. It is safe for
// concurrent use and starts nothing. To change issuers or keys, make a new one
// and drop the old one: what the old one remembered goes with it.
type Verifier struct {
	issuers map[string]*issuer // by iss claim
	parser  *jwt.Parser
	now     func() time.Time
	cache   *cache
}

// issuer is an Issuer made ready for checking.
type issuer struct {
	app       presence.AppID
	audience  string
	userClaim string
	// named returns the key with an id, every returns all keys, to be tried in
	// turn. Both are funcs because a func prints as an address: with some verbs
	// fmt follows pointers and would print the secrets of a Verifier otherwise.
	named func(id string) (secret []byte, ok bool)
	every func() jwt.VerificationKeySet
}

// NewVerifier checks the configuration and returns a Verifier for it. Each
// issuer must name a valid app, have an issuer string that no other one has,
// and 1 to 16 keys of at least MinSecret bytes with distinct ids; what is wrong
// is in the error. No issuers at all is allowed and refuses every token. A nil
// now means time.Now. The issuers are copied.
func NewVerifier(issuers []Issuer, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{
		issuers: make(map[string]*issuer, len(issuers)),
		// Times and audience are judged here, not by the library: its leeway
		// would stretch exp too, and remembered tokens need the same judgement.
		parser: jwt.NewParser(jwt.WithValidMethods(algorithms()), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
		now:    now,
		cache:  newCache(cacheLimit),
	}
	for _, cfg := range issuers {
		if err := cfg.check(); err != nil {
			return nil, err
		}
		if v.issuers[cfg.Issuer] != nil {
			return nil, fmt.Errorf("jwt issuer %q: is listed twice; the issuer selects the app, so it must be unique", cfg.Issuer)
		}
		v.issuers[cfg.Issuer] = ready(cfg)
	}
	return v, nil
}

// ready copies a checked Issuer, secrets included, so that the caller may wipe
// or change its own.
func ready(cfg Issuer) *issuer {
	var all jwt.VerificationKeySet
	byID := make(map[string][]byte, len(cfg.Keys))
	for _, k := range cfg.Keys {
		secret := bytes.Clone(k.Secret)
		all.Keys = append(all.Keys, secret)
		if k.ID != "" {
			byID[k.ID] = secret
		}
	}
	return &issuer{
		app:       cfg.App,
		audience:  cfg.Audience,
		userClaim: cfg.userClaim(),
		named:     func(id string) ([]byte, bool) { secret, ok := byID[id]; return secret, ok },
		every:     func() jwt.VerificationKeySet { return all },
	}
}

// Verify checks a raw access token, without any "Bearer " in front, and returns
// what it says. It accepts only a JWT in compact form of at most MaxAccessToken
// bytes, signed with HS256 by a known issuer's key: the one its kid header
// names or, without kid, any of them. The claims exp and the issuer's user
// claim are required; iat and nbf are respected within Leeway; aud must contain
// the issuer's audience if one is configured.
//
// Every error is a *fault.Error of kind JWTInvalid or, for a token that is good
// but for its age, JWTExpired. The detail says what to mend and holds nothing
// out of the token.
func (v *Verifier) Verify(raw string) (Access, error) {
	switch {
	case raw == "":
		return Access{}, invalid("the access token is missing")
	case len(raw) > MaxAccessToken:
		return Access{}, fault.New(fault.JWTInvalid, "the access token is longer than %d bytes", MaxAccessToken)
	}
	// A token of usual length is hashed on the stack.
	sum := sha256.Sum256(append(make([]byte, 0, 1<<10), raw...))
	if g, ok := v.cache.get(sum); ok {
		return g.judge(v.now())
	}
	g, err := v.read(raw)
	if err != nil {
		return Access{}, err
	}
	access, err := g.judge(v.now())
	if err == nil {
		v.cache.put(sum, g)
	}
	return access, err
}

// read checks everything about a token that does not change with time.
func (v *Verifier) read(raw string) (grant, error) {
	if !compactForm(raw) {
		return grant{}, invalid("the access token is not a JWT: want header.claims.signature, each in base64url")
	}
	var iss *issuer
	t, err := v.parser.ParseWithClaims(raw, jwt.MapClaims{}, func(t *jwt.Token) (key any, err error) {
		iss, key, err = v.choose(t)
		return key, err
	})
	if err != nil {
		return grant{}, refusal(t, err)
	}
	// From here on the signature holds: the claims are the issuer's words.
	return iss.vouch(t.Claims.(jwt.MapClaims))
}

// choose finds the issuer of a token that is not verified yet, and the key or
// keys to verify it with.
func (v *Verifier) choose(t *jwt.Token) (*issuer, any, error) {
	// RFC 7515 §4.1.11: who does not understand a critical header must refuse
	// the token. We understand none.
	if _, ok := t.Header["crit"]; ok {
		return nil, nil, invalid("the access token has a crit header, and no critical extension is supported")
	}
	name, err := t.Claims.GetIssuer()
	if err != nil || name == "" {
		return nil, nil, invalid("the access token has no issuer (iss)")
	}
	iss := v.issuers[name]
	if iss == nil {
		return nil, nil, invalid("the issuer (iss) of the access token is not one that an app here trusts")
	}
	kid, ok := t.Header["kid"]
	if !ok {
		return iss, iss.every(), nil
	}
	// A kid that is no string is the empty id, which selects no key.
	id, _ := kid.(string)
	secret, ok := iss.named(id)
	if !ok {
		return nil, nil, invalid("the key id (kid) of the access token is not one of its issuer's keys")
	}
	return iss, secret, nil
}

// refusal turns the parser's error into ours. The parser's own words may quote
// the token, so none of them are passed on.
func refusal(t *jwt.Token, err error) error {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return invalid("the access token is not a JWT: its parts must be base64url of a JSON header, JSON claims and a signature")
	case errors.Is(err, jwt.ErrTokenUnverifiable), t == nil, t.Method.Alg() != jwt.SigningMethodHS256.Alg():
		return invalid("the access token is not signed with an accepted algorithm: want HS256")
	}
	return invalid("the signature of the access token is wrong: no key of its issuer made it")
}

// vouch reads verified claims.
func (iss *issuer) vouch(claims jwt.MapClaims) (grant, error) {
	g := grant{issuer: iss}
	exp, err := numericDate(claims, "exp")
	if err != nil {
		return g, err
	}
	if exp == 0 {
		return g, invalid("the access token has no expiry (exp)")
	}
	g.expires = exp
	if g.issued, err = numericDate(claims, "iat"); err != nil {
		return g, err
	}
	if g.notBefore, err = numericDate(claims, "nbf"); err != nil {
		return g, err
	}
	if !iss.meant(claims) {
		return g, invalid("the access token is meant for another audience (aud)")
	}
	user, _ := claims[iss.userClaim].(string)
	if !validUser(user) {
		return g, fault.New(fault.JWTInvalid, "the access token names no valid user: claim %q must be a string of 1 to %d bytes of UTF-8 without control characters",
			iss.userClaim, presence.MaxUserID)
	}
	g.user = presence.UserID(user)
	return g, nil
}

// validUser reports whether an access token may name s. Beyond the rule for user
// ids, U+FFFD is out: JSON decoding puts it in place of broken text, which would
// let two different names become one user.
func validUser(s string) bool {
	return presence.ValidUserID(s) && !strings.ContainsRune(s, utf8.RuneError)
}

// meant reports whether the audience of the claims includes the issuer's own.
func (iss *issuer) meant(claims jwt.MapClaims) bool {
	if iss.audience == "" {
		return true
	}
	aud, err := claims.GetAudience()
	if err != nil {
		return false
	}
	for _, a := range aud {
		if a == iss.audience {
			return true
		}
	}
	return false
}

// numericDate reads a time claim as seconds since 1970, without the fraction.
// An absent claim is 0, which is right for both nbf and iat: since ever.
func numericDate(claims jwt.MapClaims, name string) (int64, error) {
	claim, ok := claims[name]
	if !ok {
		return 0, nil
	}
	seconds, ok := claim.(float64)
	if !ok || seconds < 0 || seconds > maxNumericDate {
		return 0, fault.New(fault.JWTInvalid, "the claim %s of the access token is not a time in seconds since 1970", name)
	}
	return int64(seconds), nil
}

// compactForm reports whether raw is three parts of base64url characters. The
// decoder alone would skip line breaks, and one token would have many
// spellings.
func compactForm(raw string) bool {
	dots := 0
	for i := range len(raw) {
		switch c := raw[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

// invalid returns a JWTInvalid fault with the given detail.
func invalid(detail string) *fault.Error {
	return &fault.Error{Kind: fault.JWTInvalid, Detail: detail}
}
