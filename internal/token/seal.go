package token

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A session token on the wire is base64url without padding of
//
//	version 1 | key id length 1 | key id 1..8 | nonce 24 | sealed content and tag
//	\_________________________________________/
//	   the header, bound to the content
//
// and the content, before it is sealed, is
//
//	session 16 | epoch counter 4 | epoch incarnation 8 | issued 8 | app length 1 | app | user
//
// with numbers in big endian and the user reaching to the end. The associated
// data is sealContext followed by the header. (Protocol note A5, session token.)
const (
	sealVersion = 1
	sealContext = "porchlight/session/v1"
	nonceSize   = chacha20poly1305.NonceSizeX
	// fixedContent is the length of the content without app and user.
	fixedContent = 16 + 4 + 8 + 8 + 1
	// MaxSessionToken is the longest session token that is looked at, in
	// characters. Ours have at most 308.
	MaxSessionToken = 1 << 10
	// maxSealKeyID bounds the id of a sealing key, in bytes.
	maxSealKeyID = 8
)

// errNoSession is the one and only answer to a token that does not open,
// whatever is wrong with it: a forger learns nothing from the difference.
const errNoSession = "the session token is not one of ours: it was altered, or sealed with a key that is no longer in use; make a new session"

// Session is what a session token holds.
type Session struct {
	App     presence.AppID
	Session presence.SessionID
	User    presence.UserID
	Epoch   presence.Epoch // of the owner at the time of sealing; a later one may hold now
	Issued  presence.Time
}

// Check reports whether the session belongs to the user who presents it: a nil
// error, or a *fault.Error of kind SessionTokenNotYours when app or user differ
// from those of the access token.
func (s *Session) Check(a Access) error {
	if s.App != a.App || s.User != a.User {
		return &fault.Error{Kind: fault.SessionTokenNotYours,
			Detail: "the session token belongs to another user than the access token"}
	}
	return nil
}

// SealKey is one key of a Ring. However it is formatted, logged or marshalled,
// the secret does not show.
type SealKey struct {
	ID  string   // 1 to 8 of [a-z0-9]; travels in the clear with every token
	Key [32]byte `json:"-"` // from a cryptographic random source
}

// String names the key without its secret.
func (k SealKey) String() string { return "seal key " + k.ID + " (secret not shown)" }

// GoString is String, for %#v.
func (k SealKey) GoString() string { return k.String() }

// Format writes String for every verb: with a Stringer alone, %d would still
// print the bytes of the secret.
func (k SealKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String, for log/slog.
func (k SealKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Ring seals and opens session tokens. It is made once, never changes, and is
// safe for concurrent use. All nodes of a cluster need the same keys; to
// rotate, put a new key second everywhere, then first, and drop the oldest when
// no session sealed with it is left.
type Ring struct {
	keys []*ringKey // newest first; pointers, so that formatting a Ring prints no cipher
	text *base64.Encoding
}

// ringKey is a SealKey made ready: what is equal for all its tokens is built once.
type ringKey struct {
	header []byte // version, length, id
	bound  []byte // the associated data: sealContext and header
	aead   cipher.AEAD
}

// NewRing returns a Ring whose first key seals and whose every key opens. It
// fails without keys, with an id that is not 1 to 8 of [a-z0-9] or listed
// twice, and with a key of zeros only, which is a forgotten one. Errors hold no
// secret. The keys are copied.
func NewRing(keys []SealKey) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("session keys: at least one is needed")
	}
	r := &Ring{text: base64.RawURLEncoding.Strict()}
	seen := make(map[string]bool, len(keys))
	for i, k := range keys {
		switch {
		case !validSealKeyID(k.ID):
			// The id is not shown: who swaps id and key would read the key in the log.
			return nil, fmt.Errorf("session keys: the id of key %d is not 1 to %d of [a-z0-9]", i+1, maxSealKeyID)
		case seen[k.ID]:
			return nil, fmt.Errorf("session keys: the id %q is listed twice", k.ID)
		case k.Key == [32]byte{}:
			return nil, fmt.Errorf("session keys: key %q is all zeros", k.ID)
		}
		seen[k.ID] = true
		aead, err := chacha20poly1305.NewX(k.Key[:])
		if err != nil {
			return nil, fmt.Errorf("session keys: key %q: %w", k.ID, err)
		}
		header := append([]byte{sealVersion, byte(len(k.ID))}, k.ID...)
		r.keys = append(r.keys, &ringKey{header: header, bound: append([]byte(sealContext), header...), aead: aead})
	}
	return r, nil
}

// Seal returns the session token for s, sealed with the newest key: 110 to 308
// URL-safe characters, different at each call. App and user must be valid, as
// those of an Access are; for others the answer is "", which never opens.
func (r *Ring) Seal(s Session) string {
	if !presence.ValidAppID(string(s.App)) || !presence.ValidUserID(string(s.User)) {
		return ""
	}
	k := r.keys[0]
	content := len(k.header) + nonceSize
	b := make([]byte, content, content+fixedContent+len(s.App)+len(s.User)+chacha20poly1305.Overhead)
	nonce := b[copy(b, k.header):]
	rand.Read(nonce) // never fails: crypto/rand ends the program before it returns less

	b = append(b, s.Session[:]...)
	b = binary.BigEndian.AppendUint32(b, s.Epoch.Counter)
	b = binary.BigEndian.AppendUint64(b, s.Epoch.Incarnation)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Issued))
	b = append(b, byte(len(s.App)))
	b = append(b, s.App...)
	b = append(b, s.User...)
	b = k.aead.Seal(b[:content], nonce, b[content:], k.bound) // in place
	return r.text.EncodeToString(b)
}

// Open returns the session inside a token that this ring or one with a common
// key sealed. Anything else, longer than MaxSessionToken included, is a
// *fault.Error of kind SessionTokenInvalid, always with the same detail. It
// tells nothing about whether the session still lives.
func (r *Ring) Open(token string) (Session, error) {
	if s, ok := r.open(token); ok {
		return s, nil
	}
	return Session{}, &fault.Error{Kind: fault.SessionTokenInvalid, Detail: errNoSession}
}

func (r *Ring) open(token string) (Session, bool) {
	if len(token) > MaxSessionToken {
		return Session{}, false
	}
	b, err := r.text.DecodeString(token)
	// The decoder skips line breaks; without the second check a token would
	// have many spellings.
	if err != nil || r.text.EncodedLen(len(b)) != len(token) {
		return Session{}, false
	}
	k := r.find(b)
	if k == nil {
		return Session{}, false
	}
	nonce, sealed := b[len(k.header):len(k.header)+nonceSize], b[len(k.header)+nonceSize:]
	content, err := k.aead.Open(sealed[:0], nonce, sealed, k.bound)
	if err != nil {
		return Session{}, false
	}
	return parseContent(content)
}

// find returns the key that the header of b names, or nil. When it returns one,
// b is long enough for header, nonce and tag.
func (r *Ring) find(b []byte) *ringKey {
	for _, k := range r.keys {
		n := len(k.header)
		if len(b) >= n+nonceSize+chacha20poly1305.Overhead && string(b[:n]) == string(k.header) {
			return k
		}
	}
	return nil
}

// parseContent reads what Seal put together. The content is authentic, but may
// come from another version of this program, so its shape is checked as well.
func parseContent(b []byte) (s Session, ok bool) {
	if len(b) < fixedContent {
		return Session{}, false
	}
	copy(s.Session[:], b)
	s.Epoch.Counter = binary.BigEndian.Uint32(b[16:])
	s.Epoch.Incarnation = binary.BigEndian.Uint64(b[20:])
	s.Issued = presence.Time(binary.BigEndian.Uint64(b[28:]))
	appLen := int(b[36])
	names := string(b[fixedContent:]) // app and user share one string
	if appLen > len(names) || !presence.ValidAppID(names[:appLen]) || !presence.ValidUserID(names[appLen:]) {
		return Session{}, false
	}
	s.App, s.User = presence.AppID(names[:appLen]), presence.UserID(names[appLen:])
	return s, true
}

// validSealKeyID reports whether s may name a sealing key. The alphabet is that
// of an app id, the length is shorter.
func validSealKeyID(s string) bool { return len(s) <= maxSealKeyID && presence.ValidAppID(s) }
