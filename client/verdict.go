package client

import (
	"context"
	"errors"
	"time"
)

// What the end of a stream, or a failed attempt, means for the session.

// Why this end cut a stream.
var (
	errSilent   = &Error{Code: CodeUnavailable, Detail: "the server was silent for too long"}
	errDetached = &Error{Code: CodeUnavailable, Detail: "the server has no stream of this session"}
)

// judge says whether trying again makes sense, and after what pause. An
// attempt without a pause is made once for each time the link held: a server
// that refuses at once must not make us run in circles.
func (k *keeper) judge(err error) (again bool, pause time.Duration) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{}
	}
	swift := false
	switch {
	case e.definite(), errors.Is(err, ErrClosed):
		return false, 0
	case sessionLost(e.Reason):
		k.lose()
		swift = true
	case e.Reason == ReasonResumeFromFuture:
		k.sequence, k.restate = 0, true
		swift = true
	case e.Reason == ReasonJWTExpired:
		swift = true
	}
	if swift && !k.swift && e.RetryAfter == 0 {
		k.swift = true
		return true, 0
	}
	k.failures++
	return true, k.s.client.cfg.Backoff.pause(k.failures, e.RetryAfter)
}

// lose forgets the session, so that the next attempt makes a new one.
func (k *keeper) lose() {
	k.sequence, k.watched, k.restate, k.key = 0, false, false, ""
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.door.forget(s.link.token)
	s.link.token = ""
}

// cause prefers why this end cut the stream to what the cut looked like.
func cause(ctx context.Context, err error) error {
	var e *Error
	if c := context.Cause(ctx); errors.As(c, &e) {
		return c
	}
	return err
}

// closed turns the server's last frame into an error for judge.
func (k *keeper) closed(st stream, c *closing) error {
	e := &Error{Code: CodeUnavailable, Detail: "the server closed the stream", RetryAfter: c.retryAfter}
	switch c.reason {
	case closingReplaced:
		e.Code, e.Reason, e.Detail = CodeAborted, ReasonReplacedStream, "another connection took this session over"
	case closingSlow:
		e.Code, e.Reason = CodeResourceExhausted, ReasonSlowConsumer
	case closingDraining:
		e.Reason = ReasonDraining
		st.leave()
	case closingToken:
		e.Code, e.Reason = CodeUnauthenticated, ReasonJWTExpired
		st.refuseToken()
	case closingSession:
		e.Detail = "the server closed the session: " + string(c.session)
		switch c.session {
		case ClosedByUser, ClosedBySupersession, ClosedByAdmin:
			e.Code, e.Reason = CodeAborted, ReasonSessionClosed
		case ClosedByExpiry:
			st.refuseToken()
		}
	}
	return e
}
