package presence

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"
	"unicode/utf8"
)

// AppID names an app, that is a tenant: 1 to 16 of [a-z0-9]. Nothing crosses apps.
type AppID string

// UserID names a user within an app: 1 to 128 bytes of valid UTF-8 without
// control characters, the same bytes at all doors.
type UserID string

// Bounds of identifiers (protocol note A5; engine names).
const (
	MaxAppID  = 16
	MaxUserID = 128
)

// User is the full name of a user: nothing is shared between apps.
type User struct {
	App AppID
	ID  UserID
}

// SessionID is the internal name of a session. It stays in the session token.
type SessionID [16]byte

// PublicID is the name of a session that watchers and webhooks see: its
// String is 22 URL-safe characters.
type PublicID [16]byte

// NewSessionID returns 16 random bytes.
func NewSessionID() (id SessionID) { rand.Read(id[:]); return id }

// NewPublicID returns 16 random bytes.
func NewPublicID() (id PublicID) { rand.Read(id[:]); return id }

func (id SessionID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }
func (id PublicID) String() string  { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParsePublicID reads the 22 characters that PublicID.String writes.
func ParsePublicID(s string) (id PublicID, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder skips line breaks; with them one id would have many spellings.
	if err != nil || len(b) != len(id) || len(s) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return id, errors.New("a public session id is 22 URL-safe base64 characters")
	}
	return PublicID(b), nil
}

// Epoch is one stretch of a session's life with one owner: it grows when the
// session moves to another node or opens anew. Order within a session is
// (epoch, revision).
type Epoch struct {
	Counter     uint32
	Incarnation uint64 // of the node that claims it
}

// Compare returns -1, 0 or +1; the higher epoch wins wherever two claim a session.
func (e Epoch) Compare(o Epoch) int {
	if c := cmp.Compare(e.Counter, o.Counter); c != 0 {
		return c
	}
	return cmp.Compare(e.Incarnation, o.Incarnation)
}

// Next is the epoch that a node of the given incarnation claims after e.
func (e Epoch) Next(incarnation uint64) Epoch { return Epoch{e.Counter + 1, incarnation} }

// Time is milliseconds since 1970 UTC; 0 means never. It is small because a
// table holds several for each session.
type Time int64

// At converts a clock reading.
func At(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixMilli())
}

// Time converts back; never becomes the zero time.Time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(t)).UTC()
}

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d.Milliseconds()) }

// Sub returns t-o.
func (t Time) Sub(o Time) time.Duration { return time.Duration(t-o) * time.Millisecond }

// ValidUserID reports whether s may name a user.
func ValidUserID(s string) bool {
	return len(s) > 0 && len(s) <= MaxUserID && printable(s)
}

// ValidAppID reports whether s may name an app.
func ValidAppID(s string) bool {
	if len(s) == 0 || len(s) > MaxAppID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// printable reports valid UTF-8 without control characters.
func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
