package isonline

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// errorDomain is the domain of every google.rpc.ErrorInfo (protocol note A4).
const errorDomain = "isonline"

// internalDetail is all that a caller learns of what went wrong in here.
const internalDetail = "internal error; the node's log has the details"

// codeOf is the door's one table of kinds (protocol note A4, status codes).
func codeOf(k fault.Kind) codes.Code {
	switch k {
	case fault.JWTInvalid, fault.JWTExpired, fault.SessionTokenInvalid, fault.KeyInvalid:
		return codes.Unauthenticated
	case fault.SessionTokenNotYours:
		return codes.PermissionDenied
	case fault.SessionGone:
		return codes.NotFound
	case fault.SessionNotConnected:
		return codes.FailedPrecondition
	case fault.ReplacedStream:
		return codes.Aborted
	case fault.ResumeFromFuture:
		return codes.OutOfRange
	case fault.LogUnavailable, fault.FriendsUnavailable, fault.KeysUnavailable, fault.Draining, fault.NodeUnavailable:
		return codes.Unavailable
	case fault.FieldInvalid:
		return codes.InvalidArgument
	case fault.LimitSubscriptions, fault.LimitSessions, fault.LimitBatch, fault.LimitFriends,
		fault.RateLimited, fault.SlowConsumer:
		return codes.ResourceExhausted
	}
	return codes.Internal
}

// wireError turns an error of the core into a gRPC status with its details.
// What is no fault is logged and becomes "internal error".
func (d *Door) wireError(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		if _, ok := status.FromError(err); ok {
			return err
		}
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		d.log.ErrorContext(ctx, "internal error", "method", method, "error", err)
		f = fault.New(fault.Internal, internalDetail)
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.Kind.String(), Domain: errorDomain}}
	if len(f.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range f.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Path, Description: v.Rule})
		}
		details = append(details, bad)
	}
	if f.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	detail := f.Detail
	if detail == "" && len(f.Fields) > 0 {
		detail = f.Fields[0].Path + ": " + f.Fields[0].Rule
	}
	st := status.New(codeOf(f.Kind), detail)
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return st.Err()
}

// recovered is deferred where a call may panic: it becomes an internal error of
// that call, and the node lives on.
func (d *Door) recovered(ctx context.Context, method string, err *error) {
	if p := recover(); p != nil {
		d.log.ErrorContext(ctx, "panic", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = d.wireError(ctx, method, fault.New(fault.Internal, internalDetail))
	}
}

// guardUnary turns errors into statuses and a panic into an internal error.
func (d *Door) guardUnary(ctx context.Context, req any, call *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	began := time.Now()
	defer func() { d.called(call.FullMethod, err, time.Since(began)) }()
	defer d.recovered(ctx, call.FullMethod, &err)
	if resp, there, err := d.forward(ctx, call.FullMethod, req); there {
		return resp, d.wireError(ctx, call.FullMethod, err)
	}
	resp, err = next(ctx, req)
	return resp, d.wireError(ctx, call.FullMethod, err)
}

// guardStream is the same for streams.
func (d *Door) guardStream(srv any, ss grpc.ServerStream, call *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() { d.called(call.FullMethod, err, noTime) }()
	defer d.recovered(ss.Context(), call.FullMethod, &err)
	return d.wireError(ss.Context(), call.FullMethod, next(srv, ss))
}

// noTime stands for the duration of a stream: it says nothing.
const noTime = -1

// called tells of a call that was answered, with the reason of its error.
func (d *Door) called(procedure string, err error, took time.Duration) {
	if d.cfg.Called == nil {
		return
	}
	code := "OK"
	var f *fault.Error
	switch {
	case err == nil:
	case errors.As(err, &f):
		code = f.Kind.String()
	default:
		st := status.Convert(err)
		code = strings.ToUpper(st.Code().String())
		for _, detail := range st.Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				code = info.Reason
			}
		}
	}
	d.cfg.Called(procedure[strings.LastIndexByte(procedure, '/')+1:], code, took)
}
