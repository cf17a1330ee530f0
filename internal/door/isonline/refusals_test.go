package isonline

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

// shot is one call on a node that must be refused.
type shot func(t *testing.T, n *node, alice *device) error

// refusals is the protocol note's table of errors (A4), a row for each way to
// get there. alice has a session that is connected, bob watches her.
var refusals = []struct {
	name   string
	shot   shot
	code   codes.Code
	reason string
	retry  bool
}{
	{"JWT missing", getWith(), codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT twice", func(t *testing.T, n *node, d *device) error {
		return getWith("Bearer "+d.jwt, "Bearer "+d.jwt)(t, n, d)
	}, codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT with another scheme", getWith("Basic YWxpY2U6YWxpY2U="), codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT without a scheme", func(t *testing.T, n *node, d *device) error { return getWith(d.jwt)(t, n, d) }, codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT empty", getWith("Bearer "), codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT not one", getWith("Bearer not.a.jwt"), codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT too long", getWith("Bearer " + strings.Repeat("a", token.MaxAccessToken+1)), codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT with a bad signature", forged, codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT of a foreign issuer", foreign, codes.Unauthenticated, "JWT_INVALID", false},
	{"JWT expired", expired, codes.Unauthenticated, "JWT_EXPIRED", false},
	{"session token missing", heartbeatWith(func(string) string { return "" }), codes.Unauthenticated, "SESSION_TOKEN_INVALID", false},
	{"session token tampered", heartbeatWith(func(s string) string { return s[:40] + "AAAA" + s[44:] }), codes.Unauthenticated, "SESSION_TOKEN_INVALID", false},
	{"session token cut", heartbeatWith(func(s string) string { return s[:len(s)-1] }), codes.Unauthenticated, "SESSION_TOKEN_INVALID", false},
	{"session token of an unknown key", strangeKey, codes.Unauthenticated, "SESSION_TOKEN_INVALID", false},
	{"session token too long", heartbeatWith(func(s string) string { return s + strings.Repeat("A", 2000) }), codes.Unauthenticated, "SESSION_TOKEN_INVALID", false},
	{"session token of another user", notYours, codes.PermissionDenied, "SESSION_TOKEN_NOT_YOURS", false},
	{"session token of another app", otherApp, codes.PermissionDenied, "SESSION_TOKEN_NOT_YOURS", false},
	{"update of a closed session", closedThen("update"), codes.NotFound, "SESSION_GONE", false},
	{"partial update of a closed session", closedThen("partial"), codes.NotFound, "SESSION_GONE", false},
	{"heartbeat of a closed session", closedThen("heartbeat"), codes.NotFound, "SESSION_GONE", false},
	{"subscribe on a closed session", closedThen("subscribe"), codes.NotFound, "SESSION_GONE", false},
	{"subscribe to many on a closed session", closedThen("subscribe many"), codes.NotFound, "SESSION_GONE", false},
	{"unsubscribe on a closed session", closedThen("unsubscribe"), codes.NotFound, "SESSION_GONE", false},
	{"connect of a closed session", closedThen("connect"), codes.NotFound, "SESSION_GONE", false},
	{"heartbeat of a session that never was", unknownSession, codes.NotFound, "SESSION_GONE", false},
	{"update before connect", madeThen("update"), codes.FailedPrecondition, "SESSION_NOT_CONNECTED", false},
	{"partial update before connect", madeThen("partial"), codes.FailedPrecondition, "SESSION_NOT_CONNECTED", false},
	{"heartbeat before connect", madeThen("heartbeat"), codes.FailedPrecondition, "SESSION_NOT_CONNECTED", false},
	{"resume from the future", future, codes.OutOfRange, "RESUME_FROM_FUTURE", false},
	{"opening not stored", logHangs, codes.Unavailable, "LOG_UNAVAILABLE", true},
	{"opening refused by the store", logRefuses, codes.Unavailable, "LOG_UNAVAILABLE", true},
	{"over subscriptions", tooManyWatches, codes.ResourceExhausted, "LIMIT_SUBSCRIPTIONS", false},
	{"over subscriptions in one call", tooManyAtOnce, codes.ResourceExhausted, "LIMIT_SUBSCRIPTIONS", false},
	{"over sessions", tooManySessions, codes.ResourceExhausted, "LIMIT_SESSIONS", false},
	{"over a batch", tooManyInBatch, codes.ResourceExhausted, "LIMIT_BATCH", false},
	{"over updates a second", tooManyUpdates, codes.ResourceExhausted, "RATE_LIMITED", true},
	{"over openings a second", tooManyOpens, codes.ResourceExhausted, "RATE_LIMITED", true},
	{"make on a node that stops", drained("make"), codes.Unavailable, "DRAINING", true},
	{"connect to a node that stops", drained("connect"), codes.Unavailable, "DRAINING", true},
	{"unknown method", unknownMethod, codes.Unimplemented, "", false},
	{"friends on a closed session", closedThen("friends"), codes.NotFound, "SESSION_GONE", false},
	{"unsubscribe from friends on a closed session", closedThen("unsubscribe from friends"), codes.NotFound, "SESSION_GONE", false},
	{"friends whose list cannot be read", listsDown, codes.Unavailable, "FRIENDS_UNAVAILABLE", true},
	{"more friends than may be", tooManyFriends, codes.ResourceExhausted, "LIMIT_FRIENDS", false},
}

// A refused call says why in a way that programs understand, and changes
// nothing that anybody sees.
func TestRefusals(t *testing.T) {
	t.Parallel()
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		for _, row := range refusals {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				in(t, tracker.Policy{SessionsPerUser: 3, OpensPerSecond: 6}, admit.Limits{Watches: 5}, func(t *testing.T, n *node) {
					alice := n.device("alice").make()
					stream := alice.connect(nil)
					alice.must(alice.update(&isonlinev1.IsOnlineUpdate{RichText: literal("before")}))
					bob := n.device("bob").make()
					seen := bob.connect(nil)
					bob.subscribe("alice")
					stream.take()
					seen.take()
					before := bob.query("alice")

					got := refusalOf(row.shot(t, n, alice))
					if got.code != row.code || got.reason != row.reason {
						t.Errorf("got %v %s (%s), want %v %s", got.code, got.reason, got.detail, row.code, row.reason)
					}
					if row.reason != "" && got.domain != "isonline" {
						t.Errorf("domain %q, want isonline", got.domain)
					}
					if (got.retry > 0) != row.retry {
						t.Errorf("RetryInfo of %v; want one: %v", got.retry, row.retry)
					}
					if got.detail == "" || len(got.fields) > 0 {
						t.Errorf("detail %q with fields %v, want a detail and no fields", got.detail, got.fields)
					}
					if strings.HasSuffix(row.name, "a closed session") {
						return // the row's own way there shows
					}
					if after := bob.query("alice"); !proto.Equal(before, after) && row.reason != "RATE_LIMITED" {
						t.Errorf("a refused call changed what is seen:\n%v\nafter\n%v", after, before)
					}
					if told := notifications(seen.take()); len(told) > 0 && row.reason != "RATE_LIMITED" {
						t.Errorf("a refused call was told to watchers: %v", told)
					}
				})
			})
		}
	})
}

func literal(s string) *isonlinev1.RichText {
	return &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: s}}
}

// getWith queries with these authorization entries.
func getWith(authorization ...string) shot {
	return func(_ *testing.T, _ *node, d *device) error {
		_, err := d.api.GetUserIsOnline(d.bearer(authorization...), &isonlinev1.GetUserIsOnlineRequest{UserId: "alice"})
		return err
	}
}

func forged(t *testing.T, n *node, d *device) error {
	iss := token.Development()
	iss.Keys[0].Secret = []byte("another secret that is long enough for HS256")
	return getWith("Bearer "+n.sign(iss, "alice", time.Hour))(t, n, d)
}

func foreign(t *testing.T, n *node, d *device) error {
	iss := token.Development()
	iss.Issuer = "https://somebody.example"
	return getWith("Bearer "+n.sign(iss, "alice", time.Hour))(t, n, d)
}

func expired(t *testing.T, n *node, d *device) error {
	raw := n.sign(token.Development(), "alice", 5*time.Second)
	wait(5 * time.Second)
	return getWith("Bearer "+raw)(t, n, d)
}

func heartbeatWith(change func(string) string) shot {
	return func(_ *testing.T, n *node, d *device) error {
		_, err := d.api.HeartbeatIsOnlineSession(d.ctx(), &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: n.log.Secret(change(d.tok))})
		return err
	}
}

func strangeKey(t *testing.T, n *node, d *device) error {
	ring, err := token.NewRing([]token.SealKey{{ID: "dev", Key: [32]byte{1}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.ring.Open(d.tok)
	if err != nil {
		t.Fatal(err)
	}
	return heartbeatWith(func(string) string { return ring.Seal(s) })(t, n, d)
}

func notYours(_ *testing.T, n *node, d *device) error {
	mallory := n.device("mallory")
	mallory.tok = d.tok
	return mallory.update(&isonlinev1.IsOnlineUpdate{RichText: literal("hacked")})
}

// otherApp is the same user id in another app: nothing crosses apps.
func otherApp(_ *testing.T, n *node, d *device) error {
	twin := n.device("alice")
	twin.jwt, twin.tok = n.sign(doortest.OtherIssuer(), "alice", time.Hour), d.tok
	return twin.update(&isonlinev1.IsOnlineUpdate{RichText: literal("hacked")})
}

// onSession calls the named method of a session.
func onSession(method string, d *device) (err error) {
	ctx := d.ctx()
	switch method {
	case "update":
		return d.update(&isonlinev1.IsOnlineUpdate{RichText: literal("late")})
	case "partial":
		_, err = d.api.PartialUpdateIsOnlineSession(ctx, &isonlinev1.PartialUpdateIsOnlineSessionRequest{SessionToken: d.tok, ClearRichText: true})
	case "heartbeat":
		_, err = d.api.HeartbeatIsOnlineSession(ctx, &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: d.tok})
	case "subscribe":
		_, err = d.api.SubscribeToUserIsOnline(ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: d.tok, UserId: "bob"})
	case "subscribe many":
		_, err = d.api.SubscribeToUsersIsOnline(ctx, &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: d.tok, UserIds: []string{"bob"}})
	case "unsubscribe":
		_, err = d.api.UnsubscribeFromUserIsOnline(ctx, &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: d.tok, UserId: "bob"})
	case "friends":
		_, err = d.api.SubscribeToFriendsIsOnline(ctx, &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: d.tok})
	case "unsubscribe from friends":
		_, err = d.api.UnsubscribeFromFriendsIsOnline(ctx, &isonlinev1.UnsubscribeFromFriendsIsOnlineRequest{SessionToken: d.tok})
	case "connect":
		return firstError(d, nil)
	case "make":
		_, err = d.api.MakeIsOnlineSession(ctx, &isonlinev1.MakeIsOnlineSessionRequest{})
	}
	return err
}

// firstError opens a stream and returns what it ends with.
func firstError(d *device, req *isonlinev1.ConnectToIsOnlineSessionRequest) error {
	l := d.connectDeaf(req)
	for {
		if _, err := l.stream.Recv(); err != nil {
			return err
		}
	}
}

func closeSession(d *device, mode isonlinev1.CloseMode) error {
	_, err := d.api.CloseIsOnlineSession(d.ctx(), &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: d.tok, Mode: mode})
	return err
}

func closedThen(method string) shot {
	return func(_ *testing.T, _ *node, d *device) error {
		d.must(closeSession(d, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT))
		return onSession(method, d)
	}
}

func madeThen(method string) shot {
	return func(_ *testing.T, n *node, _ *device) error { return onSession(method, n.device("alice").make()) }
}

func unknownSession(_ *testing.T, n *node, d *device) error {
	d.tok = n.log.Secret(n.ring.Seal(token.Session{App: "demo", User: "alice", Session: presence.NewSessionID()}))
	return onSession("heartbeat", d)
}

func future(_ *testing.T, _ *node, d *device) error {
	beyond := uint64(1000)
	return firstError(d, &isonlinev1.ConnectToIsOnlineSessionRequest{ResumeAfter: &beyond})
}

func logHangs(t *testing.T, n *node, _ *device) error {
	release := n.store.Hold()
	defer release()
	began := time.Now()
	err := firstError(n.device("alice").make(), nil)
	if took := time.Since(began); took != 10*time.Second {
		t.Errorf("refused after %v, want the 10s that an opening may take to be stored", took)
	}
	return err
}

func logRefuses(_ *testing.T, n *node, _ *device) error {
	n.store.Refuse(errors.New("disk full"))
	defer n.store.Recover()
	return firstError(n.device("alice").make(), nil)
}

func tooManyWatches(_ *testing.T, _ *node, d *device) error {
	for _, u := range []string{"a", "b", "c", "d", "e", "e"} {
		d.subscribe(u)
	}
	_, err := d.api.SubscribeToUserIsOnline(d.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: d.tok, UserId: "f"})
	return err
}

func tooManyAtOnce(t *testing.T, n *node, d *device) error {
	d.subscribe("a")
	ids := []string{"a", "b", "c", "d", "e", "f"}
	_, err := d.api.SubscribeToUsersIsOnline(d.ctx(), &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: d.tok, UserIds: ids})
	if edges := n.hub.Counts().Edges; edges != 2 { // bob's and the one
		t.Errorf("%d subscriptions stand, want 2: all or none", edges)
	}
	return err
}

func tooManySessions(_ *testing.T, n *node, _ *device) error {
	n.device("alice").make()
	n.device("alice").make()
	return onSession("make", n.device("alice"))
}

func tooManyInBatch(_ *testing.T, _ *node, d *device) error {
	_, err := d.api.BatchGetUserIsOnline(d.ctx(), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: slices.Repeat([]string{"bob"}, 201)})
	return err
}

func tooManyUpdates(t *testing.T, _ *node, d *device) error {
	wait(2 * time.Second)
	for i := range 100 {
		if err := d.update(&isonlinev1.IsOnlineUpdate{RichText: literal(strings.Repeat("x", i+1))}); err != nil {
			t.Fatalf("update %d of a second: %v", i+1, err)
		}
	}
	return d.update(&isonlinev1.IsOnlineUpdate{RichText: literal("one too many")})
}

func tooManyOpens(_ *testing.T, n *node, _ *device) error {
	for _, user := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := onSession("make", n.device(user)); err != nil {
			return err
		}
	}
	return errors.New("six openings beside two were not refused")
}

func drained(method string) shot {
	return func(_ *testing.T, n *node, d *device) error {
		n.door.Drain()
		n.tracker.Drain(func() tracker.End { return tracker.End{Cause: tracker.CauseDraining, RetryAfter: time.Second} })
		return onSession(method, d)
	}
}

func unknownMethod(t *testing.T, _ *node, d *device) error {
	return d.conn.Invoke(d.ctx(), "/isonline.v1.IsOnlineService/NoSuch", &isonlinev1.GetUserIsOnlineRequest{}, &isonlinev1.GetUserIsOnlineResponse{})
}
