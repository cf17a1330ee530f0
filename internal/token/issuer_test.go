package token

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestNewVerifierChecksItsConfig(t *testing.T) {
	t.Parallel()
	change := func(f func(*Issuer)) []Issuer {
		iss := shop()
		f(&iss)
		return []Issuer{iss}
	}
	tests := []struct {
		name    string
		issuers []Issuer
		want    string // part of the error; "" is success
	}{
		{"two apps", []Issuer{shop(), game()}, ""},
		{"development", []Issuer{Development()}, ""},
		{"none", nil, ""},
		{"two issuers of one app", append(change(func(i *Issuer) { i.Issuer = "second" }), shop()), ""},
		{"secret of the least length", change(func(i *Issuer) { i.Keys[0].Secret = make([]byte, 32) }), ""},
		{"keys without ids", change(func(i *Issuer) { i.Keys[0].ID, i.Keys[1].ID = "", "" }), ""},
		{"issuer empty", change(func(i *Issuer) { i.Issuer = "" }), "issuer is empty"},
		{"app empty", change(func(i *Issuer) { i.App = "" }), `app ""`},
		{"app not valid", change(func(i *Issuer) { i.App = "Shop" }), `app "Shop"`},
		{"user claim that means something else", change(func(i *Issuer) { i.UserClaim = "exp" }), `user claim "exp"`},
		{"no keys", change(func(i *Issuer) { i.Keys = nil }), "0 keys"},
		{"too many keys", change(func(i *Issuer) { i.Keys = make([]Key, 17) }), "17 keys"},
		{"secret too short", change(func(i *Issuer) { i.Keys[1].Secret = make([]byte, 31) }), "key 2 (id \"old\") has a secret of 31 bytes"},
		{"key id twice", change(func(i *Issuer) { i.Keys[1].ID = "new" }), `two keys have the id "new"`},
		{"issuer twice", []Issuer{shop(), shop()}, "listed twice"},
		{"issuer of another app", append(change(func(i *Issuer) { i.App = "other" }), shop()), "listed twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, err := NewVerifier(tt.issuers, nil)
			switch {
			case tt.want == "" && (err != nil || v == nil):
				t.Errorf("NewVerifier: %v, want success", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("NewVerifier: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// userIDs draws valid user ids, the awkward ones included.
func userIDs() *rapid.Generator[presence.UserID] {
	return rapid.Custom(func(t *rapid.T) presence.UserID {
		return presence.UserID(rapid.String().Filter(validUser).Draw(t, "user"))
	})
}

func TestSignedTokensVerify(t *testing.T) {
	t.Parallel()
	issuers := []Issuer{shop(), game(), Development()}
	v, err := NewVerifier(issuers, atNoon)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		iss := rapid.SampledFrom(issuers).Draw(t, "issuer")
		user := userIDs().Draw(t, "user")
		ttl := time.Duration(rapid.Int64Range(1, 1e6).Draw(t, "ttl")) * time.Second
		raw, err := Sign(iss, user, ttl, noon)
		if err != nil {
			t.Fatalf("Sign: %v", err)
		}
		want := Access{App: iss.App, User: user, IssuedAt: noon, Expires: noon.Add(ttl)}
		for range 2 {
			if got, err := v.Verify(t.Context(), raw); err != nil || got != want {
				t.Fatalf("Verify = %+v, %v; want %+v", got, err, want)
			}
		}
	})
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		iss  Issuer
		user presence.UserID
		ttl  time.Duration
		want string
	}{
		{"no keys", Issuer{App: "demo", Issuer: "x"}, "alice", time.Hour, "no secret"},
		{"user empty", shop(), "", time.Hour, "user id"},
		{"user with a control character", shop(), "a\nb", time.Hour, "user id"},
		{"user of broken text", shop(), "a\uFFFDb", time.Hour, "user id"},
		{"no life", shop(), "alice", 0, "too short"},
		{"negative life", shop(), "alice", -time.Hour, "too short"},
		{"life under a second", shop(), "alice", time.Second - 1, "too short"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw, err := Sign(tt.iss, tt.user, tt.ttl, noon)
			if raw != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sign = %d characters, %v; want an error with %q", len(raw), err, tt.want)
			}
		})
	}
}

// TestDevelopmentIsWhatItSays pins what dev mode, the README and the command
// line rely on.
func TestDevelopmentIsWhatItSays(t *testing.T) {
	t.Parallel()
	iss := Development()
	if iss.App != "demo" || iss.Issuer != "porchlight-dev" || iss.Audience != "demo" {
		t.Errorf("Development = app %q, issuer %q, audience %q; want demo, porchlight-dev, demo", iss.App, iss.Issuer, iss.Audience)
	}
	iss.Keys[0].Secret[0]++
	if Development().Keys[0].Secret[0] == iss.Keys[0].Secret[0] {
		t.Error("two callers of Development share one secret slice")
	}
}
