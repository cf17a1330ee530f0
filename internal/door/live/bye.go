package live

import (
	"errors"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Close codes of this dialect, beside those of RFC 6455.
const (
	codeBad         = 4400 // a frame, or a hello, that is none
	codeAccess      = 4401 // the access token
	codeOrigin      = 4403 // pages of this origin may not
	codeNoHello     = 4408
	codeReplaced    = 4409 // another connection has the session
	codeGone        = 4410 // the session is closed, or its token none
	codeTooMany     = 4429 // of connections, sessions or frames
	codeUnavailable = 4503 // come again
)

// Reasons of this door, beside those of package fault.
const (
	originRefused      = "ORIGIN_REFUSED"
	noHello            = "NO_HELLO"
	tooManyConnections = "TOO_MANY_CONNECTIONS"
	sessionClosed      = "SESSION_CLOSED"
	frameInvalid       = "FRAME_INVALID"
)

// internalDetail is all that a peer learns of what went wrong in here.
const internalDetail = "internal error; the node's log has the details"

// codeOf is the close code of a reason for which a connection ends: the door's
// one table.
func codeOf(reason string) int {
	switch reason {
	case sessionClosed:
		return socket.CodeNormal
	case originRefused:
		return codeOrigin
	case noHello:
		return codeNoHello
	case tooManyConnections:
		return codeTooMany
	case frameInvalid:
		return codeBad
	}
	for _, k := range fault.Kinds() {
		if k.String() == reason {
			return codeOfKind(k)
		}
	}
	return socket.CodeInternal
}

func codeOfKind(k fault.Kind) int {
	switch k {
	case fault.JWTInvalid, fault.JWTExpired, fault.KeyInvalid:
		return codeAccess
	case fault.SessionTokenInvalid, fault.SessionTokenNotYours, fault.SessionGone:
		return codeGone
	case fault.ReplacedStream:
		return codeReplaced
	case fault.FieldInvalid, fault.ResumeFromFuture, fault.SessionNotConnected, fault.LimitSubscriptions, fault.LimitBatch, fault.LimitFriends:
		return codeBad
	case fault.LimitSessions, fault.RateLimited:
		return codeTooMany
	case fault.LogUnavailable, fault.FriendsUnavailable, fault.KeysUnavailable, fault.NodeUnavailable:
		return codeUnavailable
	case fault.Draining:
		return socket.CodeGoingAway
	}
	return socket.CodeInternal // and fault.SlowConsumer, which nobody reads: such a peer is cut
}

// goodbye is the last frame of a connection.
type goodbye struct {
	reason, message string
	retryAfter      time.Duration
	kept            bool   // the session can be resumed
	why             string // sessionClosed: why it closed
	fields          []fault.Field
}

// append appends the frame.
func (g *goodbye) append(b []byte) []byte {
	b = append(b, `{"t":"bye","reason":"`...)
	b = append(b, g.reason...)
	b = append(b, '"')
	b = appendField(b, "message", g.message)
	b = appendFields(b, g.fields)
	b = appendRetry(b, g.retryAfter)
	b = append(b, `,"kept":`...)
	b = strconv.AppendBool(b, g.kept)
	b = appendField(b, "why", g.why)
	return append(b, '}')
}

// goodbyeTo is what a link's end is told as (protocol note A4, Closing).
func goodbyeTo(e tracker.End) goodbye {
	switch e.Cause {
	case tracker.CauseReplaced:
		return goodbye{reason: fault.ReplacedStream.String(), message: "another connection of this session took over", kept: true}
	case tracker.CauseDraining:
		return goodbye{
			reason: fault.Draining.String(), message: "this node is stopping; connect again and resume the session", retryAfter: e.RetryAfter, kept: true,
		}
	}
	g := goodbye{reason: sessionClosed, why: closeReason(e.Reason), message: "the session was closed: " + e.Reason.String()}
	if e.Reason == presence.ReasonLogout || e.Reason == presence.ReasonLeft {
		g.message = ""
	}
	return g
}

// farewellOf is what ends a connection whose hello, or handshake, failed. kept
// says that there is a session which can be taken up all the same.
func (c *conn) farewellOf(err error, kept bool) goodbye {
	f := c.faultOf(frameHello, err)
	g := goodbye{reason: f.Kind.String(), message: messageOf(f), fields: f.Fields, retryAfter: f.RetryAfter, kept: kept}
	switch f.Kind {
	case fault.SessionGone, fault.SessionTokenInvalid, fault.SessionTokenNotYours:
		g.kept = false
	}
	return g
}

// faultOf is err as a fault; what is none is logged and becomes "internal error".
func (c *conn) faultOf(method string, err error) *fault.Error {
	var f *fault.Error
	if !errors.As(err, &f) {
		c.door.log.Error("internal error", "door", Name, "method", method, "error", err)
		f = fault.New(fault.Internal, internalDetail)
	}
	return f
}

// appendError appends an error frame; part is that of a hello.
func appendError(b []byte, id *uint64, part string, f *fault.Error) []byte {
	b = append(b, `{"t":"error"`...)
	b = appendID(b, id)
	b = appendField(b, "part", part)
	b = appendField(b, "reason", f.Kind.String())
	b = appendField(b, "message", messageOf(f))
	b = appendFields(b, f.Fields)
	b = appendRetry(b, f.RetryAfter)
	return append(b, '}')
}

// messageOf is a fault for people.
func messageOf(f *fault.Error) string {
	if f.Detail == "" && len(f.Fields) > 0 {
		return f.Fields[0].Path + ": " + f.Fields[0].Rule
	}
	return f.Detail
}

func appendFields(b []byte, fields []fault.Field) []byte {
	for i, f := range fields {
		if i == 0 {
			b = append(b, `,"fields":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"path":`...)
		b = appendText(b, f.Path)
		b = append(b, `,"message":`...)
		b = appendText(b, f.Rule)
		b = append(b, '}')
	}
	if len(fields) > 0 {
		b = append(b, ']')
	}
	return b
}

// appendRetry rounds up: who comes too early is refused again.
func appendRetry(b []byte, d time.Duration) []byte {
	if d <= 0 {
		return b
	}
	b = appendKey(b, "retry_after")
	return strconv.AppendInt(b, int64((d+time.Millisecond-1)/time.Millisecond), 10)
}

func appendID(b []byte, id *uint64) []byte {
	if id == nil {
		return b
	}
	return strconv.AppendUint(appendKey(b, "id"), *id, 10)
}
