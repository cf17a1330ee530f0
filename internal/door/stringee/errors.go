package stringee

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// The interface's codes ("r"). Those of its document are of tokens; the client
// asks for a new token at codeExpired alone, and connects elsewhere at
// codeRedirect. The rest are ours: HTTP's where it has one.
const (
	codeOK        = 0
	codeEmpty     = 1 // the token is empty
	codeUndecoded = 2 // it cannot be decoded
	codeForm      = 3 // its format is invalid
	codeAlgorithm = 4 // it is not HS256
	codeKey       = 5 // no key has this SID
	codeExpired   = 6 // expired, or invalid
	codePayload   = 7 // the payload is invalid
	codeProject   = 8 // the project is not found
	codeRedirect  = 15

	codeReplaced = 20 // another device took its place
	codeDropped  = 21 // the app's server ended it

	codeBad         = 400
	codeAuth        = 401
	codeForbidden   = 403
	codeNotFound    = 404
	codeMethod      = 405
	codeTooLong     = 413
	codeTooMany     = 429
	codeInternal    = 500
	codeUnavailable = 503
)

// statusOf is the door's one table of codes for REST: the HTTP status that goes
// with each.
func statusOf(code int) int {
	switch {
	case code == codeOK:
		return http.StatusOK
	case code < 100:
		return http.StatusUnauthorized
	}
	return code
}

// refusal is an answer that is not 0.
type refusal struct {
	code       int
	message    string
	retryAfter time.Duration
	draining   bool // the node stops
}

// Error says it for the log.
func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.code, r.message) }

func refuse(code int, format string, args ...any) *refusal {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

// passing reports that the same will work in a moment.
func (r *refusal) passing() bool { return r.code == codeUnavailable }

// internalMessage is all that a peer learns of what went wrong in here.
const internalMessage = "internal error; the node's log has the details"

// refusalOf is a fault of the core in the interface's words. words turns a path
// of the core into the interface's; nil leaves it.
func (d *Door) refusalOf(method string, err error, words func(path string) string) *refusal {
	var f *fault.Error
	if !errors.As(err, &f) {
		d.log.Error("internal error", "door", Name, "method", method, "error", err)
		return refuse(codeInternal, internalMessage)
	}
	message := f.Detail
	if len(f.Fields) > 0 {
		path := f.Fields[0].Path
		if words != nil {
			path = words(path)
		}
		message = strings.TrimPrefix(path+": "+f.Fields[0].Rule, ": ")
	}
	return &refusal{code: codeOf(f.Kind), message: message, retryAfter: f.RetryAfter, draining: f.Kind == fault.Draining}
}

// codeOf is the code of each kind of fault.
func codeOf(k fault.Kind) int {
	switch k {
	case fault.JWTExpired:
		return codeExpired
	case fault.JWTInvalid:
		return codeProject // of the token's app alone: the rest of it was judged here
	case fault.FieldInvalid, fault.LimitSubscriptions, fault.LimitBatch, fault.LimitFriends, fault.ResumeFromFuture, fault.SessionNotConnected:
		return codeBad
	case fault.LimitSessions:
		return codeTooMany
	case fault.KeyInvalid, fault.SessionTokenInvalid, fault.SessionTokenNotYours:
		return codeAuth
	case fault.RateLimited, fault.LogUnavailable, fault.FriendsUnavailable, fault.KeysUnavailable, fault.NodeUnavailable, fault.Draining, fault.SessionGone,
		fault.ReplacedStream, fault.SlowConsumer:
		return codeUnavailable
	}
	return codeInternal
}

// ruleOf is what a fault of one field says.
func ruleOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && len(f.Fields) > 0 {
		return f.Fields[0].Path + " " + f.Fields[0].Rule
	}
	return "payload is invalid"
}
