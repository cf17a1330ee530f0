package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lateTimer is a context whose deadline is over before its timer has fired.
type lateTimer struct {
	context.Context
	end time.Time
}

func (l lateTimer) Deadline() (time.Time, bool) { return l.end, true }

func TestErrorsFromTheWire(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := lateTimer{t.Context(), time.Now()}
	foreign, err := status.New(codes.Unauthenticated, "x").WithDetails(&errdetails.ErrorInfo{Reason: "JWT_EXPIRED", Domain: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		ctx       context.Context
		err       error
		code      Code
		reason    Reason
		retry     time.Duration
		temporary bool
	}{
		{"rate limited", t.Context(), fault(codes.ResourceExhausted, ReasonRateLimited, retryInfo(time.Second)), CodeResourceExhausted, ReasonRateLimited, time.Second, true},
		{"limit", t.Context(), fault(codes.ResourceExhausted, ReasonLimitSessions), CodeResourceExhausted, ReasonLimitSessions, 0, false},
		{"negative retry", t.Context(), fault(codes.Unavailable, ReasonDraining, retryInfo(-time.Second)), CodeUnavailable, ReasonDraining, 0, true},
		{"gone", t.Context(), fault(codes.NotFound, ReasonSessionGone), CodeNotFound, ReasonSessionGone, 0, true},
		{"another domain", t.Context(), foreign.Err(), CodeUnauthenticated, "", 0, false},
		{"unknown code", t.Context(), status.Error(99, "x"), CodeUnknown, "", 0, true},
		{"no status", t.Context(), errors.New("x"), CodeUnknown, "", 0, true},
		{"canceled by us", ended, status.Error(codes.Canceled, "x"), CodeCanceled, "", 0, true},
		{"canceled by the transport", t.Context(), status.Error(codes.Canceled, "x"), CodeUnavailable, "", 0, true},
	}
	if e := fromGRPC(late, status.Error(codes.DeadlineExceeded, "x")); !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("the server says first that the deadline is over: got %#v, want one that wraps it", e)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := fromGRPC(tt.ctx, tt.err)
			if e.Code != tt.code || e.Reason != tt.reason || e.RetryAfter != tt.retry || e.Temporary() != tt.temporary {
				t.Errorf("got %+v (temporary %v), want %+v", e, e.Temporary(), tt)
			}
			if errors.Is(e, context.Canceled) != (tt.ctx == ended) {
				t.Errorf("errors.Is(canceled): got %v", errors.Is(e, context.Canceled))
			}
			if !strings.Contains(e.Error(), string(tt.code)) || !strings.Contains(e.Error(), string(tt.reason)) {
				t.Errorf("text %q lacks code or reason", e)
			}
		})
	}
}

// The service repeats the first violated field as its detail; people read it once.
func TestErrorSaysEachFieldOnce(t *testing.T) {
	t.Parallel()
	e := &Error{
		Code: CodeInvalidArgument, Reason: ReasonFieldInvalid, Detail: "a: too long",
		Fields: []Field{{"a", "too long"}, {"b", "too short"}},
	}
	if got, want := e.Error(), "porchlight: a: too long [b: too short] (INVALID_ARGUMENT, FIELD_INVALID)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
