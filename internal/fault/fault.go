// Package fault holds the small set of error kinds a caller of Porchlight may
// act on. A door turns a kind into its own dialect's code by one total table;
// everything that is not a fault is an internal error, which is logged and
// never shown. It is not a general error library: wrap with %w elsewhere.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what went wrong, in a way a program can branch on.
type Kind uint8

// The kinds. Their String is the machine-readable reason on the wire
// (protocol note A4, table of gRPC status codes).
const (
	Internal Kind = iota
	JWTInvalid
	JWTExpired
	SessionTokenInvalid
	SessionTokenNotYours
	SessionGone
	SessionNotConnected
	ReplacedStream
	ResumeFromFuture
	LogUnavailable
	FriendsUnavailable
	KeysUnavailable
	FieldInvalid
	LimitSubscriptions
	LimitSessions
	LimitBatch
	LimitFriends
	RateLimited
	SlowConsumer
	Draining
	KeyInvalid
	NodeUnavailable
	kindCount
)

var names = [kindCount]string{
	Internal:             "INTERNAL",
	JWTInvalid:           "JWT_INVALID",
	JWTExpired:           "JWT_EXPIRED",
	SessionTokenInvalid:  "SESSION_TOKEN_INVALID",
	SessionTokenNotYours: "SESSION_TOKEN_NOT_YOURS",
	SessionGone:          "SESSION_GONE",
	SessionNotConnected:  "SESSION_NOT_CONNECTED",
	ReplacedStream:       "REPLACED_STREAM",
	ResumeFromFuture:     "RESUME_FROM_FUTURE",
	LogUnavailable:       "LOG_UNAVAILABLE",
	FriendsUnavailable:   "FRIENDS_UNAVAILABLE",
	KeysUnavailable:      "KEYS_UNAVAILABLE",
	FieldInvalid:         "FIELD_INVALID",
	LimitSubscriptions:   "LIMIT_SUBSCRIPTIONS",
	LimitSessions:        "LIMIT_SESSIONS",
	LimitBatch:           "LIMIT_BATCH",
	LimitFriends:         "LIMIT_FRIENDS",
	RateLimited:          "RATE_LIMITED",
	SlowConsumer:         "SLOW_CONSUMER",
	Draining:             "DRAINING",
	KeyInvalid:           "KEY_INVALID",
	NodeUnavailable:      "NODE_UNAVAILABLE",
}

// String returns the reason in capitals, such as "SESSION_GONE".
func (k Kind) String() string {
	if k < kindCount {
		return names[k]
	}
	return names[Internal]
}

// Kinds lists every kind, for the tests that prove a door's table total.
func Kinds() []Kind {
	all := make([]Kind, kindCount)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Field names one violated rule of a request.
type Field struct {
	Path string // as the interface spells it, such as "update.properties[3].key"
	Rule string // what is wrong and what is allowed
}

// Error is a fault with its detail for humans. The detail may be shown to the
// caller, so it never holds a token, a key or another user's words.
type Error struct {
	Kind       Kind
	Detail     string
	Fields     []Field       // FieldInvalid only
	RetryAfter time.Duration // when positive, trying again after it makes sense
}

// Error returns the reason and the detail.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Path, f.Rule)
	}
	return b.String()
}

// New returns a fault of kind k with a detail formatted as by fmt.Sprintf.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Detail: fmt.Sprintf(format, args...)}
}

// Retry returns a fault that is worth another try after the given time.
func Retry(k Kind, after time.Duration, format string, args ...any) *Error {
	return &Error{Kind: k, Detail: fmt.Sprintf(format, args...), RetryAfter: after}
}

// Invalid returns a FieldInvalid fault for one field.
func Invalid(path, format string, args ...any) *Error {
	return &Error{Kind: FieldInvalid, Fields: []Field{{Path: path, Rule: fmt.Sprintf(format, args...)}}}
}

// KindOf returns the kind of err, or Internal when err is no fault.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
