package mozpresence

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

// The error numbers. The first is the document's example, the others are ours
// (protocol note C4).
const (
	errAssertion    = 34
	errExpired      = 35
	errJSON         = 36
	errStatus       = 37
	errTooLong      = 38
	errEmpty        = 39
	errKey          = 40
	errNoUser       = 41 // unknown or revoked: which of the two is not told
	errSlowDown     = 42
	errNotActivated = 43
	errNoApp        = 44
	errInternal     = 45
)

// Close codes, beside those of RFC 6455.
const (
	codeAccess   = 4401 // the API key
	codeLate     = 4408 // nobody said who he is
	codeReplaced = 4409 // a newer connection of the same device
	codeClosed   = 4410 // the session was closed
	codeTooMany  = 4429 // of frames, or connections
	codeSlow     = 1013 // try again later (RFC 6455's registry)
)

// refusal is an answer that is not OK. Its text never repeats a secret.
type refusal struct {
	no    int
	text  string
	after time.Duration // errSlowDown: when to come again
	ends  int           // the connection ends with this close code; 0: it stays
}

// Error says it for the log.
func (r *refusal) Error() string { return fmt.Sprintf("errno %d: %s", r.no, r.text) }

func refuse(no int, format string, args ...any) *refusal {
	return &refusal{no: no, text: fmt.Sprintf(format, args...)}
}

// slowDown asks to come again later.
func slowDown(after time.Duration, format string, args ...any) *refusal {
	return &refusal{no: errSlowDown, text: fmt.Sprintf(format, args...), after: max(after, time.Second)}
}

// statusOf is the HTTP status that goes with each number.
func statusOf(no int) int {
	switch no {
	case errAssertion, errExpired, errKey:
		return http.StatusUnauthorized
	case errNotActivated:
		return http.StatusForbidden
	case errNoApp:
		return http.StatusNotFound
	case errSlowDown:
		return http.StatusServiceUnavailable
	case errJSON, errStatus, errTooLong, errEmpty, errNoUser:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// ofKind is the door's one table of what the core refuses.
func ofKind(k fault.Kind) int {
	switch k {
	case fault.JWTInvalid, fault.SessionTokenInvalid, fault.SessionTokenNotYours:
		return errAssertion
	case fault.JWTExpired:
		return errExpired
	case fault.KeyInvalid:
		return errKey
	case fault.FieldInvalid:
		return errJSON
	case fault.LimitSubscriptions, fault.LimitBatch, fault.LimitFriends:
		return errTooLong
	case fault.SessionGone, fault.SessionNotConnected, fault.ReplacedStream, fault.ResumeFromFuture,
		fault.LogUnavailable, fault.FriendsUnavailable, fault.KeysUnavailable, fault.NodeUnavailable,
		fault.LimitSessions, fault.RateLimited, fault.SlowConsumer, fault.Draining:
		return errSlowDown
	}
	return errInternal
}

// internalText is all that a peer learns of what went wrong in here.
const internalText = "internal error; the node's log has the details"

// refusalOf is err in this interface's words; what nobody can act on is logged.
func (d *Door) refusalOf(method string, err error) *refusal {
	var r *refusal
	var f *fault.Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, publisher.ErrNone):
		return refuse(errNoApp, "there is no app with this id")
	case errors.Is(err, publisher.ErrNotActive):
		return refuse(errNotActivated, "the app is not activated; activate it at /myapps")
	case errors.Is(err, publisher.ErrKey):
		return refuse(errKey, "the API key is not the app's; the newest one counts, as /myapps showed it")
	case errors.Is(err, publisher.ErrNoGrant):
		return refuse(errNoUser, "no user of this app has this userid")
	case errors.As(err, &f) && ofKind(f.Kind) != errInternal:
		r = &refusal{no: ofKind(f.Kind), text: f.Detail, after: f.RetryAfter}
		if r.text == "" && len(f.Fields) > 0 {
			r.text = f.Fields[0].Path + ": " + f.Fields[0].Rule
		}
		if r.no == errSlowDown {
			r.after = max(r.after, time.Second)
		}
		return r
	}
	d.log.Error("internal error", "door", Name, "method", method, "error", err)
	return refuse(errInternal, internalText)
}

// appendKO appends the keys of a refusal to an object that has begun: the last
// key before them is followed by no comma.
func (r *refusal) appendKO(b []byte) []byte {
	b = append(b, `"result":"KO","errno":`...)
	b = strconv.AppendInt(b, int64(r.no), 10)
	b = append(b, `,"error":`...)
	b = appendText(b, r.text)
	if r.after > 0 {
		b = append(b, `,"retry_after":`...)
		b = strconv.AppendInt(b, int64((r.after+time.Second-1)/time.Second), 10)
	}
	return b
}
