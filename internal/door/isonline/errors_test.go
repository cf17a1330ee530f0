package isonline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Every kind of fault has its code: protocol note A4, table of status codes.
func TestCodeOfIsTotal(t *testing.T) {
	t.Parallel()
	want := map[fault.Kind]codes.Code{
		fault.Internal:             codes.Internal,
		fault.JWTInvalid:           codes.Unauthenticated,
		fault.JWTExpired:           codes.Unauthenticated,
		fault.SessionTokenInvalid:  codes.Unauthenticated,
		fault.SessionTokenNotYours: codes.PermissionDenied,
		fault.SessionGone:          codes.NotFound,
		fault.SessionNotConnected:  codes.FailedPrecondition,
		fault.ReplacedStream:       codes.Aborted,
		fault.ResumeFromFuture:     codes.OutOfRange,
		fault.LogUnavailable:       codes.Unavailable,
		fault.FriendsUnavailable:   codes.Unavailable,
		fault.KeysUnavailable:      codes.Unavailable,
		fault.NodeUnavailable:      codes.Unavailable,
		fault.FieldInvalid:         codes.InvalidArgument,
		fault.LimitSubscriptions:   codes.ResourceExhausted,
		fault.LimitSessions:        codes.ResourceExhausted,
		fault.LimitBatch:           codes.ResourceExhausted,
		fault.LimitFriends:         codes.ResourceExhausted,
		fault.RateLimited:          codes.ResourceExhausted,
		fault.SlowConsumer:         codes.ResourceExhausted,
		fault.Draining:             codes.Unavailable,
		fault.KeyInvalid:           codes.Unauthenticated,
	}
	for _, k := range fault.Kinds() {
		code, listed := want[k]
		if !listed {
			t.Errorf("%v is not in the note's table as this test has it: add it", k)
		}
		if got := codeOf(k); got != code {
			t.Errorf("codeOf(%v) = %v, want %v", k, got, code)
		}
	}
}

// All that can fail at once, on one node that logs all it can: its log has
// causes, and no token (see node.stop).
func TestLogsHoldNoTokens(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{SessionsPerUser: 100}, admit.Limits{}, func(t *testing.T, n *node) {
		for _, row := range refusals {
			switch row.reason {
			case "LIMIT_SESSIONS", "LIMIT_SUBSCRIPTIONS", "RATE_LIMITED", "DRAINING":
				continue // they need bounds of their own
			}
			alice := n.device("alice").make()
			alice.connect(nil)
			if err := row.shot(t, n, alice); err == nil {
				t.Errorf("%s: was not refused", row.name)
			}
		}
		alice := n.device("alice").make()
		n.door.cfg.Gate = n.gateOf(hub.New(&brokenSource{Source: n.tracker}, nil))
		alice.api.SubscribeToUserIsOnline(alice.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: alice.tok, UserId: "bob"})
		n.door.cfg.Gate = n.gate
		if text := n.log.String(); !strings.Contains(text, "stack=") {
			t.Errorf("the log has no stack of the panic, so this test looks at nothing:\n%s", text)
		}
		if n.log.Secrets() < 50 {
			t.Errorf("%d secrets went through the node, want many", n.log.Secrets())
		}
	})
}

// What is no fault is the node's own affair: its log has it, the wire has not.
func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		err := n.door.wireError(t.Context(), "/m", errors.New("dial 10.0.0.7: no route"))
		got := refusalOf(err)
		if got.code != codes.Internal || got.reason != "INTERNAL" || strings.Contains(got.detail, "10.0.0.7") {
			t.Errorf("got %+v, want INTERNAL without the cause", got)
		}
		if !strings.Contains(n.log.String(), "10.0.0.7") {
			t.Errorf("the log has no cause: %s", n.log.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := refusalOf(n.door.wireError(ctx, "/m", context.Canceled)); got.code != codes.Canceled {
			t.Errorf("a call that was cancelled ends with %v, want Canceled", got.code)
		}
	})
}

// A panic in a call is that call's internal error, and the node lives.
func TestPanicsEndOneCallOnly(t *testing.T) {
	t.Parallel()
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		in(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			alice := n.device("alice").make()
			broken := &brokenSource{Source: n.tracker}
			n.door.cfg.Gate = n.gateOf(hub.New(broken, nil))
			_, err := alice.api.SubscribeToUserIsOnline(alice.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: alice.tok, UserId: "bob"})
			if got := refusalOf(err); got.code != codes.Internal || got.reason != "INTERNAL" || strings.Contains(got.detail, "boom") {
				t.Errorf("a call that panics: got %+v, want INTERNAL without the cause", got)
			}
			n.door.cfg.Gate = n.gateOf(nil) // whoever connects meets a nil
			if got := refusalOf(firstError(alice, nil)); got.code != codes.Internal || got.reason != "INTERNAL" {
				t.Errorf("a stream that panics: got %+v, want INTERNAL", got)
			}
			n.door.cfg.Gate = n.gate
			bob := n.device("bob").make()
			bob.connect(nil).stands()
			if text := n.log.String(); !strings.Contains(text, "boom") || strings.Count(text, "msg=panic") != 2 {
				t.Errorf("the log has not both panics:\n%s", text)
			}
			next := func(context.Context, any) (any, error) { panic("in a stream") }
			if _, err := n.door.guardUnary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/m"}, next); refusalOf(err).code != codes.Internal {
				t.Errorf("got %v, want Internal", err)
			}
			synctest.Wait()
		})
	})
}

type brokenSource struct{ hub.Source }

// Presence panics.
func (*brokenSource) Presence(presence.User) *presence.Presence { panic("boom") }
