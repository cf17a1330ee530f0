package publisher

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Errors of this package; others are faults (FieldInvalid, LogUnavailable).
var (
	// ErrNone: there is no such publisher.
	ErrNone = errors.New("publisher: there is none with this id")
	// ErrKey: the API key is not the publisher's.
	ErrKey = errors.New("publisher: wrong API key")
	// ErrNotProven: its domain has not served the key of the proof yet.
	ErrNotProven = errors.New("publisher: its domain is not proven")
	// ErrNotActive: it has no API key.
	ErrNotActive = errors.New("publisher: it is not active")
	// ErrMoved: it was changed since it was looked at.
	ErrMoved = errors.New("publisher: it was changed meanwhile")
	// ErrNoGrant: no user has granted that, or he revoked it.
	ErrNoGrant = errors.New("publisher: no user of it has this uid")
	// ErrTooMany: the user has as many as one may have.
	ErrTooMany = errors.New("publisher: too many")
)

// State is how far a publisher is.
type State uint8

// The states. They are stored: never renumber them.
const (
	Registered State = 1
	Proven     State = 2
	Active     State = 3
)

// String names the state.
func (s State) String() string {
	switch s {
	case Registered:
		return "registered"
	case Proven:
		return "proven"
	case Active:
		return "active"
	}
	return "unknown"
}

// Bounds.
const (
	IDLength  = 24   // characters of a publisher's id
	UIDLength = 26   // characters of a grant's uid
	KeyLength = 1024 // characters of an API key, and of the key of a domain's proof

	MaxName        = 80   // characters
	MaxDescription = 1000 // characters
	MaxEmail       = 254  // bytes
	MaxDomain      = 260  // bytes, with a port

	MaxOwned  = 100  // publishers of one owner
	MaxGrants = 1000 // grants of one user
)

// Registration is what a developer says of a publisher.
type Registration struct {
	Domain      string // host, or host:port
	Name        string
	Description string
	Email       string
}

// Publisher is one as it stands. It is a copy.
type Publisher struct {
	ID    string
	App   presence.AppID
	Owner presence.UserID
	Registration
	State State
	// Proof is the text that http://DOMAIN/__presence must serve.
	Proof   string
	Created presence.Time

	keyHash  [sha256.Size]byte // Active only
	revision uint64
}

// Format names the publisher without its keys, whatever the verb.
func (p Publisher) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "publisher %s of app %s (%s, keys not shown)", p.ID, p.App, p.State)
}

// LogValue is the same, for log/slog.
func (p Publisher) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// Revision changes whenever the publisher does.
func (p *Publisher) Revision() uint64 { return p.revision }

// keyIs compares an API key, in a time that does not depend on it.
func (p *Publisher) keyIs(key string) bool {
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(sum[:], p.keyHash[:]) == 1
}

// SameKey reports whether the API key of one as it was is good still: proving its
// domain anew, say, leaves it.
func (p *Publisher) SameKey(was *Publisher) bool {
	return p.State == Active && was.State == Active && p.keyHash == was.keyHash
}

// Proves reports whether a domain served the key of its proof; space around it
// does not count.
func (p *Publisher) Proves(served []byte) bool {
	return subtle.ConstantTimeCompare([]byte(strings.TrimSpace(string(served))), []byte(p.Proof)) == 1
}

// Grant is a user's word that a publisher may know of him.
type Grant struct {
	Publisher string
	User      presence.User
	UID       string
	// Label is what the publisher calls the user ("id" of the grant page).
	Label string
	At    presence.Time
}

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// random returns so many random characters of [a-z2-7].
func random(length int) string {
	b := make([]byte, length)
	rand.Read(b)
	return letters.EncodeToString(b)[:length]
}

// newKey returns a random key of KeyLength characters.
func newKey() string {
	b := make([]byte, KeyLength/4*3)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ValidID reports whether s may be a publisher's id.
func ValidID(s string) bool { return lettered(s, IDLength) }

// ValidUID reports whether s may be a grant's uid.
func ValidUID(s string) bool { return lettered(s, UIDLength) }

func lettered(s string, length int) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == length
}

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// Check reports what is wrong with it, all at once, as a FieldInvalid fault, and
// returns it in the form in which it is kept.
func (r Registration) Check() (Registration, error) {
	e := &fault.Error{Kind: fault.FieldInvalid}
	wrong := func(path, format string, args ...any) {
		e.Fields = append(e.Fields, fault.Field{Path: path, Rule: fmt.Sprintf(format, args...)})
	}
	r.Domain = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(r.Domain)), "/")
	r.Name, r.Description, r.Email = strings.TrimSpace(r.Name), strings.TrimSpace(r.Description), strings.TrimSpace(r.Email)
	if !validDomain(r.Domain) {
		wrong("domain", "want a host name such as chat.example.com, without https:// and without a path; a port may follow")
	}
	if n := utf8.RuneCountInString(r.Name); n == 0 || n > MaxName || !oneLine(r.Name) {
		wrong("name", "want 1 to %d characters on one line", MaxName)
	}
	if n := utf8.RuneCountInString(r.Description); n > MaxDescription || !utf8.ValidString(r.Description) {
		wrong("description", "at most %d characters; it has %d", MaxDescription, n)
	}
	if at := strings.LastIndexByte(r.Email, '@'); at <= 0 || at == len(r.Email)-1 || len(r.Email) > MaxEmail || !oneLine(r.Email) || strings.ContainsAny(r.Email, " ,;<>") {
		wrong("email", "want one e-mail address of at most %d bytes", MaxEmail)
	}
	if len(e.Fields) > 0 {
		return r, e
	}
	return r, nil
}

func validDomain(s string) bool {
	host, port, ported := strings.Cut(s, ":")
	if n, err := strconv.ParseUint(port, 10, 16); ported && (err != nil || n == 0) {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(s) <= MaxDomain && len(host) <= 253 && hostName.MatchString(host)
}

// oneLine reports text without control characters.
func oneLine(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
