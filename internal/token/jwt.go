package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
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

// Access is what a verified access token says.
type Access struct {
	App      presence.AppID
	User     presence.UserID
	IssuedAt time.Time // zero when the token does not say
	Expires  time.Time // the token is good before this moment, not at it
	Topics   *Topics   // nil when the token says nothing of topics; shared, read only
}

// Verifier checks access tokens against a fixed set of issuers. It is safe for
// concurrent use and starts nothing. To change issuers or keys, make a new one
// and drop the old one: what the old one remembered goes with it. Keys that an
// issuer publishes change under it (see [Published]), and what was remembered of
// a key goes with the key.
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
	keys      keyset     // from the configuration
	published *Published // may be nil
}

// NewVerifier checks the configuration and returns a Verifier for it. Each
// issuer must name a valid app, have an issuer string that no other one has, and
// 1 to 16 keys that are strong enough, with distinct ids, or publish some; what
// is wrong is in the error. No issuers at all is allowed and refuses every
// token. A nil now means time.Now. The issuers are copied.
func NewVerifier(issuers []Issuer, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{
		issuers: make(map[string]*issuer, len(issuers)),
		// Times and audience are judged here, not by the library: its leeway
		// would stretch exp too, and remembered tokens need the same judgement.
		parser: jwt.NewParser(jwt.WithValidMethods(methods()), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
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
	iss := &issuer{app: cfg.App, audience: cfg.Audience, userClaim: cfg.userClaim(), published: cfg.Published}
	for _, k := range cfg.Keys {
		iss.keys = append(iss.keys, hold(k))
	}
	return iss
}

// Rest gives up what is remembered of tokens, which are checked in full when they
// come again. It is for quiet times.
func (v *Verifier) Rest() { v.cache.forget() }

// Verify checks a raw access token, without any "Bearer " in front, and returns
// what it says. It accepts only a JWT in compact form of at most MaxAccessToken
// bytes, signed by a known issuer's key: the one its kid header names or, without
// kid, any that has its algorithm. Its alg must be that of the key. The claims
// exp and the issuer's user claim are required; iat and nbf are respected within
// Leeway; aud must contain the issuer's audience if one is configured.
//
// When an issuer publishes its keys and the token names another one, Verify may
// wait some seconds, or until ctx ends, for them to be fetched anew.
//
// Every error is a *fault.Error of kind JWTInvalid; JWTExpired for a token that
// is good but for its age; or KeysUnavailable while the keys that its issuer
// publishes cannot be had. The detail says what to mend and holds nothing out of
// the token.
func (v *Verifier) Verify(ctx context.Context, raw string) (Access, error) {
	switch {
	case raw == "":
		return Access{}, invalid("the access token is missing")
	case len(raw) > MaxAccessToken:
		return Access{}, fault.New(fault.JWTInvalid, "the access token is longer than %d bytes", MaxAccessToken)
	}
	// A token of usual length is hashed on the stack.
	sum := sha256.Sum256(append(make([]byte, 0, 1<<10), raw...))
	if g, ok := v.cache.get(sum); ok && g.key.trusted() {
		return g.judge(v.now())
	}
	g, c, err := v.read(raw)
	if c.missing != nil && c.missing.ask(ctx, c.seen) {
		g, _, err = v.read(raw)
	}
	if err != nil {
		return Access{}, err
	}
	access, err := g.judge(v.now())
	if err == nil {
		v.cache.put(sum, g)
	}
	return access, err
}

// read checks everything about a token that does not change with time. When the
// key may be one that its issuer published since, c.missing says whose.
func (v *Verifier) read(raw string) (g grant, c choice, err error) {
	if !compactForm(raw) {
		return grant{}, c, invalid("the access token is not a JWT: want header.claims.signature, each in base64url")
	}
	t, err := v.parser.ParseWithClaims(raw, jwt.MapClaims{}, func(t *jwt.Token) (any, error) {
		if c = v.choose(t); c.err != nil {
			return nil, c.err
		}
		c.key = c.keys.signerOf(t, raw)
		return c.key.material(), nil
	})
	if err != nil {
		return grant{}, c, c.refusal(t, err)
	}
	// From here on the signature holds: the claims are the issuer's words.
	g, err = c.issuer.vouch(t.Claims.(jwt.MapClaims))
	g.key = c.key
	return g, choice{}, err
}

// choice is whose keys may have signed a token that is not verified yet.
type choice struct {
	issuer  *issuer
	keys    keyset // at least one when err is nil, all of the token's algorithm
	key     *held  // the one that did, or did not
	missing *Published
	seen    *publishedSet // what was published when it was looked at; nil: nothing
	err     error
}

// signerOf is the key among several that signed a token; the last one when none
// did. With one key there is nothing to find out.
func (k keyset) signerOf(t *jwt.Token, raw string) *held {
	signed := raw[:strings.LastIndexByte(raw, '.')]
	for _, h := range k[:len(k)-1] {
		if t.Method.Verify(signed, t.Signature, h.material()) == nil {
			return h
		}
	}
	return k[len(k)-1]
}

// choose finds the issuer of a token that is not verified yet, and the key or
// keys to verify it with.
func (v *Verifier) choose(t *jwt.Token) (c choice) {
	// RFC 7515 §4.1.11: who does not understand a critical header must refuse
	// the token. We understand none.
	if _, ok := t.Header["crit"]; ok {
		c.err = invalid("the access token has a crit header, and no critical extension is supported")
		return c
	}
	name, err := t.Claims.GetIssuer()
	if err != nil || name == "" {
		c.err = invalid("the access token has no issuer (iss)")
		return c
	}
	if c.issuer = v.issuers[name]; c.issuer == nil {
		c.err = invalid("the issuer (iss) of the access token is not one that an app here trusts")
		return c
	}
	all, published := c.issuer.keys, c.issuer.published
	if published != nil {
		c.seen = published.set.Load() // before its keys: what comes after this is news
		all = append(all[:len(all):len(all)], published.keys()...)
	}
	kid, named := t.Header["kid"]
	if named {
		id, _ := kid.(string) // a kid that is no string selects no key, like the empty one
		all = all.with(id)
	}
	c.keys = all.of(t.Method.Alg())
	switch {
	case len(c.keys) > 0:
		if !named && published != nil && !published.usable() {
			c.missing = published // it may be one of those that are not here
		}
	case len(all) > 0 && named:
		c.err = invalid("the algorithm (alg) of the access token is not that of the key it names")
	case published != nil && !published.usable():
		c.missing, c.err = published, published.unavailable()
	case named:
		c.missing, c.err = published, invalid("the key id (kid) of the access token is not one of its issuer's keys")
	default:
		c.missing, c.err = published, invalid("the issuer of the access token has no key of its algorithm (alg)")
	}
	return c
}

// refusal turns the parser's error into ours. The parser's own words may quote
// the token, so none of them are passed on.
func (c *choice) refusal(t *jwt.Token, err error) error {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return invalid("the access token is not a JWT: its parts must be base64url of a JSON header, JSON claims and a signature")
	case errors.Is(err, jwt.ErrTokenUnverifiable), t == nil, !slices.Contains(methods(), t.Method.Alg()):
		return invalid("the access token is not signed with an accepted algorithm: want HS256, RS256, ES256 or EdDSA")
	case c.missing != nil && !c.missing.usable():
		return c.missing.unavailable()
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
	g.topics, err = readTopics(claims[TopicsClaim])
	return g, err
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
