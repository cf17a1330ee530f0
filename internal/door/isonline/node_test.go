package isonline

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// window is how many bytes the network between devices and door holds.
const window = 64 << 10

// node is a door on a real tracker and hub, with a log in memory and a network
// in memory. Everything that is secret and passes through it must stay out of
// its log: cleanup checks that.
type node struct {
	t        *testing.T
	store    *storetest.Memory
	wheel    *wheel.Wheel
	tracker  *tracker.Tracker
	hub      *hub.Hub
	roster   *rosterOf
	ring     *token.Ring
	texts    localize.Set
	gate     *admit.Gate
	gateOf   func(*hub.Hub) *admit.Gate // the same over another hub
	door     *Door
	listener *bufconn.Listener
	log      doortest.Book
	port     *webPort // the HTTP port, when a test uses it
	speaks   *dialect // nil: devices use the gRPC port
}

// inBubble runs a test on a node with a clock of its own.
func inBubble(t *testing.T, policy tracker.Policy, limits admit.Limits, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, policy, limits)
		// Nothing of a test may fall on a tick of the wheel.
		<-time.After(time.Millisecond)
		f(t, n)
	})
}

func newNode(t *testing.T, policy tracker.Policy, limits admit.Limits) *node {
	t.Helper()
	n := &node{t: t, store: storetest.NewMemory(), wheel: wheel.New(nil), listener: bufconn.Listen(window)}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(&n.log, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	policies := map[presence.AppID]tracker.Policy{"demo": policy, "other": {}}
	n.tracker = tracker.New(tracker.Config{Policies: policies, Log: n.store, Incarnation: 1, Wheel: n.wheel, Logger: logger})
	n.roster = &rosterOf{lists: map[presence.User][]presence.UserID{}, held: map[presence.SessionID]bool{}}
	n.hub = hub.New(n.tracker, n.roster)
	n.tracker.Listen(ears{n.hub, n.roster}, n.hub)
	n.wheel.Start()
	if err := n.tracker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.tracker.Ready()
	verifier, err := token.NewVerifier([]token.Issuer{token.Development(), doortest.OtherIssuer()}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if n.ring, err = token.DevelopmentRing(); err != nil {
		t.Fatal(err)
	}
	p := policy.WithDefaults()
	n.gateOf = func(h *hub.Hub) *admit.Gate {
		return admit.New(admit.Config{
			Tracker: n.tracker, Hub: h, Roster: n.roster, Verifier: verifier, Ring: n.ring,
			Limits: map[presence.AppID]admit.Limits{"demo": limits},
		})
	}
	n.gate = n.gateOf(n.hub)
	n.door = New(Config{
		Gate: n.gate, Tracker: n.tracker, Wheel: n.wheel, Texts: &n.texts,
		ShortestTimeout: p.HeartbeatTimeout, LongestTimeout: p.HeartbeatTimeout, Logger: logger,
	})
	served := make(chan error, 1)
	go func() { served <- n.door.Serve(n.listener) }()
	t.Cleanup(func() { n.stop(served) })
	return n
}

func (n *node) stop(served chan error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := n.door.Stop(ctx); err != nil {
		n.t.Errorf("stop of the door: %v", err)
	}
	if err := <-served; err != nil {
		n.t.Errorf("serve: %v", err)
	}
	if err := n.tracker.Stop(ctx); err != nil {
		n.t.Errorf("stop of the tracker: %v", err)
	}
	n.wheel.Stop()
	n.log.Check(n.t)
}

// device is one connection of a user with its access token, and the session
// that it made, if any.
type device struct {
	n    *node
	user string
	jwt  string
	conn grpc.ClientConnInterface
	api  isonlinev1.IsOnlineServiceClient
	tok  string // session token
	id   string // public session id
}

// device makes a connection for a user of app demo.
func (n *node) device(user string, options ...grpc.DialOption) *device {
	n.t.Helper()
	if n.speaks != nil && len(options) == 0 {
		conn := n.dialWeb(n.speaks)
		return &device{n: n, user: user, jwt: n.jwt(user), conn: conn, api: isonlinev1.NewIsOnlineServiceClient(conn)}
	}
	conn, err := grpc.NewClient("passthrough:///porchlight", append([]grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	}, options...)...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	return &device{n: n, user: user, jwt: n.jwt(user), conn: conn, api: isonlinev1.NewIsOnlineServiceClient(conn)}
}

// beside is a device of another user on the same connection, as behind a proxy.
func (d *device) beside(user string) *device {
	return &device{n: d.n, user: user, jwt: d.n.jwt(user), conn: d.conn, api: d.api}
}

func (n *node) jwt(user string) string {
	return n.sign(token.Development(), user, 24*time.Hour)
}

func (n *node) sign(iss token.Issuer, user string, ttl time.Duration) string {
	n.t.Helper()
	raw, err := token.Sign(iss, presence.UserID(user), ttl, time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	return n.log.Secret(raw)
}

func (d *device) ctx() context.Context { return d.bearer("Bearer " + d.jwt) }

// bearer is a context whose calls have these authorization entries.
func (d *device) bearer(values ...string) context.Context {
	md := metadata.MD{}
	md.Append("authorization", values...)
	return metadata.NewOutgoingContext(d.n.t.Context(), md)
}

func (d *device) make() *device {
	d.n.t.Helper()
	r, err := d.api.MakeIsOnlineSession(d.ctx(), &isonlinev1.MakeIsOnlineSessionRequest{
		Client: &isonlinev1.ClientInfo{Platform: "web", Product: "chat", Locale: "en_US"},
	})
	if err != nil {
		d.n.t.Fatalf("make for %s: %v", d.user, err)
	}
	d.tok, d.id = d.n.log.Secret(r.GetSessionToken()), r.GetSessionId()
	return d
}

func (d *device) subscribe(user string) *device {
	d.n.t.Helper()
	if _, err := d.api.SubscribeToUserIsOnline(d.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: d.tok, UserId: user}); err != nil {
		d.n.t.Fatalf("subscribe of %s to %s: %v", d.user, user, err)
	}
	return d
}

func (d *device) update(u *isonlinev1.IsOnlineUpdate) error {
	_, err := d.api.UpdateIsOnlineSession(d.ctx(), &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: d.tok, Update: u})
	return err
}

func (d *device) must(err error) {
	d.n.t.Helper()
	if err != nil {
		d.n.t.Fatal(err)
	}
}

// query asks for a user as somebody else sees him.
func (d *device) query(user string) *isonlinev1.UserIsOnline {
	d.n.t.Helper()
	r, err := d.api.GetUserIsOnline(d.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: user})
	if err != nil {
		d.n.t.Fatalf("query for %s: %v", user, err)
	}
	return r.GetUser()
}

// refusal is what a refused call says.
type refusal struct {
	code   codes.Code
	reason string
	domain string
	fields []string
	retry  time.Duration // 0: no RetryInfo
	detail string
}

func refusalOf(err error) (r refusal) {
	st := status.Convert(err)
	r.code, r.detail = st.Code(), st.Message()
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			r.reason, r.domain = d.GetReason(), d.GetDomain()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				r.fields = append(r.fields, v.GetField())
			}
		case *errdetails.RetryInfo:
			r.retry = d.GetRetryDelay().AsDuration()
		}
	}
	return r
}

// wait lets time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
