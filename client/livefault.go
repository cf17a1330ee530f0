package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// liveCodes are the classes of the reasons, as the gRPC door gives them.
var liveCodes = map[Reason]Code{
	ReasonJWTInvalid: CodeUnauthenticated, ReasonJWTExpired: CodeUnauthenticated, ReasonSessionTokenInvalid: CodeUnauthenticated,
	ReasonSessionTokenNotYours: CodePermissionDenied, ReasonSessionGone: CodeNotFound, ReasonSessionNotConnected: CodeFailedPrecondition,
	ReasonReplacedStream: CodeAborted, ReasonSessionClosed: CodeAborted, ReasonResumeFromFuture: CodeOutOfRange,
	ReasonLogUnavailable: CodeUnavailable, ReasonFriendsUnavailable: CodeUnavailable, ReasonDraining: CodeUnavailable,
	"KEYS_UNAVAILABLE": CodeUnavailable, ReasonFieldInvalid: CodeInvalidArgument,
	ReasonLimitSubscriptions: CodeResourceExhausted, ReasonLimitSessions: CodeResourceExhausted, ReasonLimitBatch: CodeResourceExhausted,
	ReasonLimitFriends: CodeResourceExhausted, ReasonRateLimited: CodeResourceExhausted, ReasonSlowConsumer: CodeResourceExhausted,
	"TOO_MANY_CONNECTIONS": CodeResourceExhausted, "NO_HELLO": CodeDeadlineExceeded, "ORIGIN_REFUSED": CodePermissionDenied, "FRAME_INVALID": CodeInvalidArgument,
}

// fault makes an Error of an error or a bye.
func (m *liveMessage) fault() *Error {
	e := &Error{Code: liveCodes[Reason(m.Reason)], Reason: Reason(m.Reason), Detail: m.Detail, RetryAfter: ms(m.RetryAfter)}
	if e.Code == "" {
		e.Code = CodeInternal
	}
	if e.Detail == "" {
		e.Detail = "the server refused it"
	}
	for _, f := range m.Fields {
		e.Fields = append(e.Fields, Field{f.Path, f.Rule})
	}
	return e
}

// liveCloses are the close codes that may come without a bye.
var liveCloses = map[websocket.StatusCode]Reason{
	4401: ReasonJWTInvalid, 4409: ReasonReplacedStream, 4410: ReasonSessionGone, 4413: ReasonSlowConsumer,
	4429: ReasonRateLimited, 4503: ReasonLogUnavailable, websocket.StatusGoingAway: ReasonDraining,
}

// fromClosed says why a connection ended that was read from.
func fromClosed(err error) *Error {
	var c websocket.CloseError
	if !errors.As(err, &c) {
		return &Error{Code: CodeUnavailable, Detail: "the connection broke: " + err.Error()}
	}
	e := &Error{Code: CodeUnavailable, Reason: liveCloses[c.Code], Detail: fmt.Sprintf("the server closed the connection: %d %s", c.Code, c.Reason)}
	if code, ok := liveCodes[e.Reason]; ok && e.Reason != "" {
		e.Code = code
	}
	return e
}

// fromHandshake says why there is no connection.
func fromHandshake(ctx context.Context, resp *http.Response, err error) *Error {
	if why := over(ctx); why != nil || resp == nil {
		return fromLiveEnd(ctx, err)
	}
	e := &Error{Code: CodeUnavailable, Detail: "the server answered the handshake with HTTP " + resp.Status}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusOK, http.StatusUpgradeRequired, http.StatusMethodNotAllowed:
		e.Code, e.Detail = CodeUnimplemented, e.Detail+"; is there a live door at this address?"
	case http.StatusForbidden:
		e.Code = CodePermissionDenied
	case http.StatusUnauthorized:
		e.Code, e.Reason = CodeUnauthenticated, ReasonJWTInvalid
	case http.StatusTooManyRequests:
		e.Code, e.Reason = CodeResourceExhausted, ReasonRateLimited
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(min(n, 3600)) * time.Second
	}
	return e
}

// fromLiveEnd makes an Error of what ended an attempt that was made with ctx.
func fromLiveEnd(ctx context.Context, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = &Error{Code: CodeUnavailable, Detail: strings.TrimPrefix(err.Error(), "failed to WebSocket dial: ")}
	if why := over(ctx); why != nil {
		e.cause, e.Code = why, CodeCanceled
		if errors.Is(why, context.DeadlineExceeded) {
			e.Code = CodeDeadlineExceeded
		}
	}
	return e
}
