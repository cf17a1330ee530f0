package token

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/porchlight-dev/porchlight/internal/presence"
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
	Keys      []Key          // up to 16; at least one, unless there is Published
	Published *Published     // keys beside them that the issuer publishes; may be nil
}

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
	if n := len(iss.Keys); n > maxKeys || n == 0 && iss.Published == nil {
		return fmt.Errorf("jwt issuer %q: has %d keys, want 1 to %d", iss.Issuer, n, maxKeys)
	}
	seen := make(map[string]bool, len(iss.Keys))
	for i, k := range iss.Keys {
		if err := k.check(); err != nil {
			return fmt.Errorf("jwt issuer %q: key %d (id %q) %w", iss.Issuer, i+1, k.ID, err)
		}
		if k.ID != "" && seen[k.ID] {
			return fmt.Errorf("jwt issuer %q: two keys have the id %q", iss.Issuer, k.ID)
		}
		seen[k.ID] = true
	}
	return nil
}

// signer is the first secret of iss.
func (iss Issuer) signer() (Key, error) {
	for _, k := range iss.Keys {
		if len(k.Secret) > 0 {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("no secret of issuer %q is here, and public keys check tokens but cannot make them; get one from that identity provider", iss.Issuer)
}

// Sign returns an access token for user, signed with the first secret of iss,
// issued at now and valid for ttl. JWT times are whole seconds, so ttl must be
// at least one second, and what is left of a second is cut off.
//
// It serves the command line and tests; in production the app's identity
// provider signs. It fails when iss is not usable, the user id is not valid, or
// ttl is too short.
func Sign(iss Issuer, user presence.UserID, ttl time.Duration, now time.Time) (string, error) {
	return SignClaims(iss, Claims{User: user, TTL: ttl}, now)
}

// Claims are what an access token of ours says.
type Claims struct {
	User   presence.UserID
	TTL    time.Duration
	Topics *Topics // nil: nothing of topics
}

// SignClaims is Sign for a token that says more.
func SignClaims(iss Issuer, c Claims, now time.Time) (string, error) {
	user, ttl := c.User, c.TTL
	key, err := iss.signer()
	if err == nil {
		err = iss.check()
	}
	if err != nil {
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
	if c.Topics != nil {
		claims[TopicsClaim] = c.Topics
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	if key.ID != "" {
		t.Header["kid"] = key.ID
	}
	raw, err := t.SignedString(key.Secret)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return raw, nil
}
