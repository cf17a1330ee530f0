package token

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Bounds of an issuer's keys.
const (
	// MinSecret is the least length of an HS256 secret in bytes: as long as the
	// hash, as RFC 7518 §3.2 demands. A shorter one can be guessed offline from
	// a single token.
	MinSecret = 32
	// maxKeys bounds the work a forged token without a key id can cause, since
	// every key is tried for it.
	maxKeys = 16
)

// defaultUserClaim names the user where an issuer does not say otherwise.
const defaultUserClaim = "sub"

// Issuer is one source of access tokens that an app trusts. An app may have
// several; an issuer belongs to one app.
type Issuer struct {
	App       presence.AppID // whose users this issuer vouches for
	Issuer    string         // the iss claim, byte for byte; never empty
	Audience  string         // must be among the aud claim; empty accepts every audience
	UserClaim string         // the claim that holds the user id; empty means "sub"
	Keys      []Key          // 1 to 16; the first one signs
}

// Key is one HS256 secret of an issuer. However it is formatted, logged or
// marshalled, the secret does not show.
type Key struct {
	ID     string // the kid header that selects it; empty: tried only for tokens without kid
	Secret []byte `json:"-"` // at least MinSecret bytes
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

// Development returns the issuer of app "demo" with a key that is printed here
// for everyone to read. It exists so that a first try needs no identity
// provider; a server that trusts it must listen on loopback only, because
// anyone can sign in as anyone.
func Development() Issuer {
	return Issuer{
		App:      "demo",
		Issuer:   "porchlight-dev",
		Audience: "demo",
		Keys:     []Key{{ID: "dev", Secret: []byte("porchlight development key, known to everyone, loopback only")}},
	}
}

// userClaim returns the name of the claim that holds the user id.
func (iss Issuer) userClaim() string {
	if iss.UserClaim == "" {
		return defaultUserClaim
	}
	return iss.UserClaim
}

// check reports the first thing that makes iss unusable. Its errors name the
// issuer and the key, never a secret.
func (iss Issuer) check() error {
	if iss.Issuer == "" {
		return errors.New("jwt issuer: the issuer is empty; set it to the iss claim of the app's tokens")
	}
	if !presence.ValidAppID(string(iss.App)) {
		return fmt.Errorf("jwt issuer %q: app %q is not 1 to %d of [a-z0-9]", iss.Issuer, iss.App, presence.MaxAppID)
	}
	if slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat"}, iss.UserClaim) {
		return fmt.Errorf("jwt issuer %q: the user claim %q has a meaning of its own; choose another", iss.Issuer, iss.UserClaim)
	}
	if n := len(iss.Keys); n == 0 || n > maxKeys {
		return fmt.Errorf("jwt issuer %q: has %d keys, want 1 to %d", iss.Issuer, n, maxKeys)
	}
	seen := make(map[string]bool, len(iss.Keys))
	for i, k := range iss.Keys {
		if len(k.Secret) < MinSecret {
			return fmt.Errorf("jwt issuer %q: the secret of key %d (id %q) has %d bytes, want at least %d",
				iss.Issuer, i+1, k.ID, len(k.Secret), MinSecret)
		}
		if k.ID != "" && seen[k.ID] {
			return fmt.Errorf("jwt issuer %q: two keys have the id %q", iss.Issuer, k.ID)
		}
		seen[k.ID] = true
	}
	return nil
}

// Sign returns an access token for user, signed with the first key of iss,
// issued at now and valid for ttl. JWT times are whole seconds, so ttl must be
// at least one second, and what is left of a second is cut off.
//
// It serves the command line and tests; in production the app's identity
// provider signs. It fails when iss is not usable, the user id is not valid, or
// ttl is too short.
func Sign(iss Issuer, user presence.UserID, ttl time.Duration, now time.Time) (string, error) {
	if err := iss.check(); err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	if !validUser(string(user)) {
		return "", fmt.Errorf("sign access token: a user id is 1 to %d bytes of UTF-8 without control characters and U+FFFD", presence.MaxUserID)
	}
	if ttl < time.Second {
		return "", fmt.Errorf("sign access token: a life of %v is too short, want at least 1s", ttl)
	}
	claims := jwt.MapClaims{
		"iss":           iss.Issuer,
		"iat":           now.Unix(),
		"exp":           now.Add(ttl).Unix(),
		iss.userClaim(): string(user),
	}
	if iss.Audience != "" {
		claims["aud"] = iss.Audience
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	if id := iss.Keys[0].ID; id != "" {
		t.Header["kid"] = id
	}
	raw, err := t.SignedString(iss.Keys[0].Secret)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return raw, nil
}
