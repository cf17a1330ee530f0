package rest

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// internalDetail is all that a caller learns of what went wrong in here.
const internalDetail = "internal error; the node's log has the details beside the request's id"

// Codes of what is wrong with a request as HTTP; all other codes are kinds of
// faults.
const (
	codePath   = "PATH_UNKNOWN"
	codeMethod = "METHOD_NOT_ALLOWED"
	codeLarge  = "BODY_TOO_LARGE"
	codeType   = "BODY_TYPE_UNKNOWN"
	codeSlow   = "BODY_TOO_SLOW"
)

// statusOf is the door's one table of kinds.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.KeyInvalid, fault.JWTInvalid, fault.JWTExpired, fault.SessionTokenInvalid:
		return http.StatusUnauthorized
	case fault.SessionTokenNotYours:
		return http.StatusForbidden
	case fault.SessionGone:
		return http.StatusNotFound
	case fault.SessionNotConnected, fault.ReplacedStream, fault.ResumeFromFuture,
		fault.LimitSubscriptions, fault.LimitSessions, fault.LimitFriends:
		return http.StatusConflict
	case fault.FieldInvalid, fault.LimitBatch:
		return http.StatusUnprocessableEntity
	case fault.RateLimited:
		return http.StatusTooManyRequests
	case fault.LogUnavailable, fault.FriendsUnavailable, fault.KeysUnavailable, fault.SlowConsumer, fault.Draining, fault.NodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Problem is what every error is answered with (RFC 9457).
type Problem struct {
	Title   string         `json:"title" doc:"The HTTP status in words." example:"Unprocessable Entity"`
	Status  int            `json:"status" doc:"The HTTP status." example:"422"`
	Code    string         `json:"code" doc:"What went wrong, for programs." example:"FIELD_INVALID"`
	Detail  string         `json:"detail" doc:"What went wrong and what to do, for people." example:"the request has a field that is wrong"`
	Errors  []ProblemField `json:"errors,omitempty" nullable:"false" doc:"With FIELD_INVALID: each field that is wrong."`
	Request string         `json:"request" doc:"The request's id, as in the X-Request-Id header and in the log." example:"NXGWIZDP2HAAKSZ5GHCWIZL6ZA"`

	retryAfter time.Duration
}

// ProblemField is one field that is wrong.
type ProblemField struct {
	Location string `json:"location" doc:"Where it is in the request." example:"body.users[3]"`
	Message  string `json:"message" doc:"What is wrong, and what is allowed." example:"expected length <= 128"`
}

// Error makes a Problem an error that huma answers with.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are the headers that go with it.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

// problem makes of an error what the caller may know. What is no fault is logged
// and becomes an internal error.
func (d *Door) problem(ctx context.Context, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	req := requestOf(ctx)
	var f *fault.Error
	if !errors.As(err, &f) {
		if ctx.Err() == nil { // else nobody waits for the answer, and that is why
			d.log.ErrorContext(ctx, "internal error", "door", "rest", "method", req.method, "request", req.id, "error", err)
		}
		f = fault.New(fault.Internal, internalDetail)
	}
	p = newProblem(statusOf(f.Kind), f.Kind.String(), f.Detail)
	p.retryAfter = f.RetryAfter
	for _, v := range f.Fields {
		p.Errors = append(p.Errors, ProblemField{Location: v.Path, Message: v.Rule})
	}
	if p.Detail == "" && len(f.Fields) > 0 {
		p.Detail = f.Fields[0].Path + ": " + f.Fields[0].Rule
	}
	return p
}

// at puts a fault's fields below a place in the request, or names the place.
func at(err error, place string) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind == fault.Internal {
		return err
	}
	moved := *f
	moved.Fields = nil
	for _, v := range f.Fields {
		moved.Fields = append(moved.Fields, fault.Field{Path: place, Rule: v.Path + ": " + v.Rule})
	}
	if len(f.Fields) == 0 {
		moved.Fields = []fault.Field{{Path: place, Rule: f.Detail}}
	}
	return &moved
}

func newProblem(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// refuse answers with a problem outside of an operation.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, req := d.problem(r.Context(), err), requestOf(r.Context())
	p.Request, req.code = req.id, p.Code
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		json.NewEncoder(w).Encode(p)
	}
}

func (d *Door) refusePath(w http.ResponseWriter, r *http.Request, detail string) {
	d.refuse(w, r, newProblem(http.StatusNotFound, codePath, detail))
}

func (d *Door) refuseMethod(w http.ResponseWriter, r *http.Request, allowed string) {
	w.Header().Set("Allow", allowed)
	d.refuse(w, r, newProblem(http.StatusMethodNotAllowed, codeMethod, "this path takes "+allowed))
}

// translate is a huma.Transformer: errors of huma become problems, and every
// problem gets the id of its request.
func translate(ctx huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*Problem)
	if e, huma := v.(*huma.ErrorModel); huma {
		p, ok = problemOf(e), true
	}
	if ok {
		req := requestOf(ctx.Context())
		p.Request, req.code = req.id, p.Code
		return p, nil
	}
	return v, nil
}

// problemOf tells what huma found wrong with a request in our words. The values
// that it found are left out: they are the caller's, and may be long.
func problemOf(e *huma.ErrorModel) *Problem {
	code := fault.FieldInvalid.String()
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		code = codeLarge
	case http.StatusUnsupportedMediaType:
		code = codeType
	case http.StatusRequestTimeout:
		code = codeSlow
	case http.StatusInternalServerError:
		return newProblem(e.Status, fault.Internal.String(), internalDetail)
	}
	p := newProblem(e.Status, code, e.Detail)
	for _, one := range e.Errors {
		if one != nil && (len(p.Errors) == 0 || one.Location != "body") { // of the body as a whole after a part of it: only follows from that
			message := one.Message
			if strings.Contains(message, validation.MsgExpectedMatchExactlyOneSchema) { // Value is the only choice there is
				message = wantValue
			}
			p.Errors = append(p.Errors, ProblemField{Location: one.Location, Message: message})
		}
	}
	switch {
	case code == codeType:
		p.Detail, p.Errors = "the body must be JSON: send Content-Type: application/json (curl does with --json)", nil
	case len(p.Errors) > 0:
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
	}
	return p
}
