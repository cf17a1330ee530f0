package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// ErrClosed is returned by every call on a Session or Client that was closed
// here, by Leave, Logout or Close.
var ErrClosed = errors.New("porchlight: closed")

// Code is the broad class of an [Error]: one of the canonical RPC codes by name.
type Code string

// The codes that this service answers with. Others are possible when something
// between here and the server answers in its place.
const (
	CodeCanceled           Code = "CANCELED"
	CodeUnknown            Code = "UNKNOWN"
	CodeInvalidArgument    Code = "INVALID_ARGUMENT"
	CodeDeadlineExceeded   Code = "DEADLINE_EXCEEDED"
	CodeNotFound           Code = "NOT_FOUND"
	CodePermissionDenied   Code = "PERMISSION_DENIED"
	CodeResourceExhausted  Code = "RESOURCE_EXHAUSTED"
	CodeFailedPrecondition Code = "FAILED_PRECONDITION"
	CodeAborted            Code = "ABORTED"
	CodeOutOfRange         Code = "OUT_OF_RANGE"
	CodeUnimplemented      Code = "UNIMPLEMENTED"
	CodeInternal           Code = "INTERNAL"
	CodeUnavailable        Code = "UNAVAILABLE"
	CodeUnauthenticated    Code = "UNAUTHENTICATED"
)

// Reason says exactly what went wrong. It is empty when the server itself did
// not answer.
type Reason string

// The reasons a server gives.
const (
	ReasonJWTInvalid           Reason = "JWT_INVALID"             // the access token is missing, forged or malformed
	ReasonJWTExpired           Reason = "JWT_EXPIRED"             // and Config.Token gave no fresher one
	ReasonSessionTokenInvalid  Reason = "SESSION_TOKEN_INVALID"   // of another server, or its keys were changed
	ReasonSessionTokenNotYours Reason = "SESSION_TOKEN_NOT_YOURS" // Config.Token changed its user
	ReasonSessionGone          Reason = "SESSION_GONE"            // a Session makes a new one by itself
	ReasonSessionNotConnected  Reason = "SESSION_NOT_CONNECTED"
	ReasonReplacedStream       Reason = "REPLACED_STREAM" // another holder connected with this session's token
	ReasonResumeFromFuture     Reason = "RESUME_FROM_FUTURE"
	ReasonLogUnavailable       Reason = "LOG_UNAVAILABLE" // the server could not store it in time
	ReasonFieldInvalid         Reason = "FIELD_INVALID"   // see Error.Fields
	ReasonLimitSubscriptions   Reason = "LIMIT_SUBSCRIPTIONS"
	ReasonLimitSessions        Reason = "LIMIT_SESSIONS"
	ReasonLimitFriends         Reason = "LIMIT_FRIENDS"       // the friend list is longer than the app allows
	ReasonFriendsUnavailable   Reason = "FRIENDS_UNAVAILABLE" // the friend list cannot be read now
	ReasonLimitBatch           Reason = "LIMIT_BATCH"
	ReasonRateLimited          Reason = "RATE_LIMITED" // see Error.RetryAfter
	ReasonSlowConsumer         Reason = "SLOW_CONSUMER"
	ReasonDraining             Reason = "DRAINING" // the node is going down for a moment
)

// The reasons that this package adds.
const (
	// ReasonSessionClosed: the server ended the session for a reason that
	// opening another would defy; Error.Detail names it.
	ReasonSessionClosed Reason = "SESSION_CLOSED"
	// ReasonWatchRejected: the server does not watch the users in Error.Fields.
	ReasonWatchRejected Reason = "WATCH_REJECTED"
)

// Field is one violated rule of a request.
type Field struct {
	Path string // as the service spells it, such as "update.properties"
	Rule string // what is wrong and what is allowed
}

// Error is what every call of this package fails with when the server, or the
// way to it, is the cause. Get it with errors.As. It wraps context.Canceled or
// context.DeadlineExceeded when the caller's context ended the call.
type Error struct {
	Code   Code
	Reason Reason
	Detail string  // for humans; never holds a token
	Fields []Field // ReasonFieldInvalid and ReasonWatchRejected only
	// RetryAfter, when positive, is how long the server asks to be left alone.
	RetryAfter time.Duration

	cause error
}

// Error returns the detail, the violated fields, the code and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("porchlight: ")
	if e.Detail != "" {
		b.WriteString(e.Detail + " ")
	}
	for _, f := range e.Fields {
		// The service's own detail is the first field already.
		if said := f.Path + ": " + f.Rule; said != e.Detail {
			b.WriteString("[" + said + "] ")
		}
	}
	b.WriteString("(" + string(e.Code))
	if e.Reason != "" {
		b.WriteString(", " + string(e.Reason))
	}
	b.WriteString(")")
	return b.String()
}

// Unwrap returns the context's error when that ended the call.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the very same call may succeed later. For a
// Session's calls it also says that what was asked for is kept, and is stated
// again as soon as the link is back.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeUnavailable, CodeDeadlineExceeded, CodeCanceled, CodeUnknown, CodeInternal:
		return true
	case CodeResourceExhausted:
		return e.RetryAfter > 0
	case CodeAborted:
		return e.Reason != ReasonReplacedStream
	}
	return sessionLost(e.Reason) || e.Reason == ReasonSessionNotConnected
}

// definite reports an answer of the service itself, which trying again cannot
// change. What a proxy in between makes up (no reason) is never definite.
func (e *Error) definite() bool {
	switch e.Reason {
	case ReasonJWTInvalid, ReasonSessionTokenNotYours, ReasonFieldInvalid, ReasonReplacedStream, ReasonSessionClosed:
		return true
	}
	return false
}

// refusal reports that the server took what was asked, and not the asking, as
// wrong: the same words will be refused for ever.
func refusal(err error) bool {
	switch ReasonOf(err) {
	case ReasonFieldInvalid, ReasonLimitSubscriptions, ReasonLimitBatch, ReasonLimitFriends:
		return true
	}
	return false
}

// sessionLost reports reasons after which only a new session helps.
func sessionLost(r Reason) bool { return r == ReasonSessionGone || r == ReasonSessionTokenInvalid }

// ReasonOf returns the reason of the Error within err, or "" when it has none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// temporary is Temporary for any error; one that did not come from the server
// (a failing Config.Token) may be better next time as well.
func temporary(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Temporary()
	}
	return err != nil && !errors.Is(err, ErrClosed)
}

// invalid is what the server would answer for a value it cannot even be sent.
func invalid(path, rule string) *Error {
	return &Error{Code: CodeInvalidArgument, Reason: ReasonFieldInvalid, Fields: []Field{{path, rule}}}
}

// rejected is the error for users that the server refused to watch.
func rejected(users []string) *Error {
	e := &Error{Code: CodeFailedPrecondition, Reason: ReasonWatchRejected, Detail: "the server refused to watch some users"}
	for _, u := range slices.Sorted(slices.Values(users)) {
		e.Fields = append(e.Fields, Field{u, "not watched"})
	}
	return e
}

// ended is the error of a call that ctx cut short before any answer.
func ended(ctx context.Context, what string) error {
	code := CodeCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = CodeDeadlineExceeded
	}
	return &Error{Code: code, Detail: what, cause: ctx.Err()}
}
