package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

const (
	// callTimeout ends a unary call whose caller set no nearer deadline. The
	// server stores an opening within 10 s or refuses.
	callTimeout = 15 * time.Second
	// The server allows a ping every 5 s (protocol note A6) and pings by itself;
	// ours find out that the server, or the way to it, is gone.
	pingAfter   = 20 * time.Second
	pingTimeout = 10 * time.Second
	// dialTimeout is for one TCP and TLS set-up.
	dialTimeout = 10 * time.Second
	// maxMessage is far above any message of the contract.
	maxMessage = 4 << 20
)

var (
	_ door   = (*grpcDoor)(nil)
	_ stream = (*grpcStream)(nil)
)

// grpcDoor speaks to the server over gRPC. No generated type leaves it.
type grpcDoor struct {
	addrs  *addresses
	opts   []grpc.DialOption
	tokens *accessTokens
	locale string

	mu     sync.Mutex // guards all below
	conn   *grpc.ClientConn
	target string // of conn
	closed bool
}

// newGRPCDoor does not connect yet.
func newGRPCDoor(cfg *Config) *grpcDoor {
	resolver := "dns:///"
	if cfg.Dialer != nil {
		// The program's own way of connecting also does its own resolving.
		resolver = "passthrough:///"
	}
	d := &grpcDoor{addrs: newAddresses(cfg, func(addr string) string { return resolver + addr }), tokens: newAccessTokens(cfg.Token), locale: cfg.Device.Locale}
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = credentials.NewTLS(cfg.TLS)
	}
	d.opts = []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("porchlight-client"),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		// A zero Backoff here would be no pause at all.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
	if dial := cfg.Dialer; dial != nil {
		d.opts = append(d.opts, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dial(ctx, addr)
		}))
	}
	return d
}

// channel returns the shared connection. One that failed is replaced: it would
// answer from memory during its own back-off and connect again when it likes,
// but when to try is this package's decision alone.
func (d *grpcDoor) channel() (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.conn != nil && d.conn.GetState() == connectivity.TransientFailure {
		d.drop()
	}
	if d.conn == nil {
		d.target = d.addrs.now()
		conn, err := grpc.NewClient(d.target, d.opts...)
		if err != nil {
			return nil, fmt.Errorf("porchlight: address %q: %w", d.target, err)
		}
		d.conn = conn
	}
	return d.conn, nil
}

// retire closes conn if e says that it cannot connect, so that it stops trying
// by itself. Its own word for that may come a moment later than e.
func (d *grpcDoor) retire(conn *grpc.ClientConn, e *Error) (retired bool) {
	if e.Code != CodeUnavailable || e.Reason != "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if state := conn.GetState(); d.conn == conn && (state == connectivity.TransientFailure || state == connectivity.Connecting) {
		d.drop()
		return true
	}
	return false
}

// drop gives up a connection that cannot be made; the next one goes to the next
// address. mu is held.
func (d *grpcDoor) drop() {
	d.conn.Close()
	d.conn = nil
	d.addrs.failed(d.target)
}

func (d *grpcDoor) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.conn == nil {
		return nil
	}
	conn := d.conn
	d.conn = nil
	return conn.Close()
}

// stub is the generated end of the service.
type stub = isonlinev1.IsOnlineServiceClient

// with runs do with the access token in its context. When the server refuses
// the token, do runs once more with a fresh one. It returns the token last used.
func (d *grpcDoor) with(ctx context.Context, do func(context.Context, stub) error) (token string, err error) {
	var refused *Error
	elsewhere := len(d.addrs.list) - 1 // tries that are left where nothing was sent
	for {
		fresh, err := d.tokens.get(ctx)
		if err != nil {
			return "", err
		}
		if fresh == token && refused != nil {
			d.tokens.refuse(fresh)
			refused.Detail += "; there is no fresher one"
			return token, refused
		}
		token = fresh
		conn, err := d.channel()
		if err != nil {
			return token, err
		}
		err = do(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), isonlinev1.NewIsOnlineServiceClient(conn))
		if err == nil {
			return token, nil
		}
		e := fromGRPC(ctx, err)
		if d.retire(conn, e) && elsewhere > 0 && ctx.Err() == nil {
			elsewhere--
			continue
		}
		if e.Reason != ReasonJWTExpired && e.Reason != ReasonJWTInvalid {
			return token, e
		}
		d.tokens.refuse(token)
		if refused != nil {
			return token, e
		}
		refused = e
	}
}

// call is with for unary calls: it bounds the time.
func (d *grpcDoor) call(ctx context.Context, do func(context.Context, stub) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := d.with(ctx, do)
	return err
}

func (d *grpcDoor) make(ctx context.Context, dev Device, key string, _ Status) (m made, err error) {
	req := &isonlinev1.MakeIsOnlineSessionRequest{
		Client: &isonlinev1.ClientInfo{
			Platform: dev.Platform, Product: dev.Product, Locale: dev.Locale, DeviceId: dev.ID, ClientVersion: dev.Version,
		},
		IdempotencyKey: key,
	}
	err = d.call(ctx, func(ctx context.Context, s stub) error {
		resp, err := s.MakeIsOnlineSession(ctx, req)
		m = made{
			token: resp.GetSessionToken(), heartbeat: resp.GetHeartbeatInterval().AsDuration(),
			batch: int(resp.GetLimits().GetMaxBatch()),
		}
		return err
	})
	return m, err
}

func (d *grpcDoor) watch(ctx context.Context, session string, users []string) (refused []string, err error) {
	req := &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: session, UserIds: users}
	err = d.call(ctx, func(ctx context.Context, s stub) error {
		resp, err := s.SubscribeToUsersIsOnline(ctx, req)
		refused = resp.GetRejected()
		return err
	})
	return refused, err
}

func (d *grpcDoor) unwatch(ctx context.Context, session, user string) (friend bool, err error) {
	req := &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: session, UserId: user}
	err = d.call(ctx, func(ctx context.Context, s stub) error {
		resp, err := s.UnsubscribeFromUserIsOnline(ctx, req)
		friend = resp.GetStillWatchedAsFriend()
		return err
	})
	return friend, err
}

func (d *grpcDoor) watchFriends(ctx context.Context, session string) error {
	req := &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: session}
	return d.call(ctx, func(ctx context.Context, s stub) error {
		_, err := s.SubscribeToFriendsIsOnline(ctx, req)
		return err
	})
}

func (d *grpcDoor) unwatchFriends(ctx context.Context, session string) error {
	req := &isonlinev1.UnsubscribeFromFriendsIsOnlineRequest{SessionToken: session}
	return d.call(ctx, func(ctx context.Context, s stub) error {
		_, err := s.UnsubscribeFromFriendsIsOnline(ctx, req)
		return err
	})
}

func (d *grpcDoor) set(ctx context.Context, session string, status Status) error {
	req := &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: session, Update: toUpdate(status)}
	return d.call(ctx, func(ctx context.Context, s stub) error {
		_, err := s.UpdateIsOnlineSession(ctx, req)
		return err
	})
}

func (d *grpcDoor) patch(ctx context.Context, session string, p Patch) error {
	req := toPartial(session, p)
	return d.call(ctx, func(ctx context.Context, s stub) error {
		_, err := s.PartialUpdateIsOnlineSession(ctx, req)
		return err
	})
}

func (d *grpcDoor) end(ctx context.Context, session string, logout bool) error {
	req := &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: session, Mode: isonlinev1.CloseMode_CLOSE_MODE_LEAVE}
	if logout {
		req.Mode = isonlinev1.CloseMode_CLOSE_MODE_LOGOUT
	}
	return d.call(ctx, func(ctx context.Context, s stub) error {
		_, err := s.CloseIsOnlineSession(ctx, req)
		return err
	})
}

func (d *grpcDoor) heartbeat(ctx context.Context, session string) (next time.Duration, attached bool, err error) {
	req := &isonlinev1.HeartbeatIsOnlineSessionRequest{SessionToken: session}
	err = d.call(ctx, func(ctx context.Context, s stub) error {
		resp, err := s.HeartbeatIsOnlineSession(ctx, req)
		next, attached = resp.GetNextWithin().AsDuration(), resp.GetStreamAttached()
		return err
	})
	return next, attached, err
}

func (d *grpcDoor) query(ctx context.Context, users []string) (found []Presence, err error) {
	req := &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: users, Locale: d.locale, Detail: isonlinev1.Detail_DETAIL_SESSIONS}
	err = d.call(ctx, func(ctx context.Context, s stub) error {
		resp, err := s.BatchGetUserIsOnline(ctx, req)
		found = fromUsers(resp.GetUsers())
		return err
	})
	return found, err
}

// forget has nothing to do: between calls the server alone knows a session.
func (*grpcDoor) forget(string) {}

// grpcStream is a stream of events.
type grpcStream struct {
	ctx    context.Context
	door   *grpcDoor
	token  string // the access token it was opened with
	frames grpc.ServerStreamingClient[isonlinev1.ConnectToIsOnlineSessionResponse]
}

func (d *grpcDoor) connect(ctx context.Context, session string, status Status, after uint64) (stream, frame, error) {
	req := &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: session, Initial: toUpdate(status)}
	if after > 0 {
		req.ResumeAfter = &after
	}
	st := &grpcStream{ctx: ctx, door: d}
	var first frame
	token, err := d.with(ctx, func(ctx context.Context, s stub) error {
		frames, err := s.ConnectToIsOnlineSession(ctx, req)
		if err != nil {
			return err
		}
		msg, err := frames.Recv()
		if err != nil {
			return err
		}
		st.frames, first = frames, fromMessage(msg)
		return nil
	})
	if err != nil {
		return nil, frame{}, err
	}
	st.token = token
	return st, first, nil
}

func (st *grpcStream) next() (frame, error) {
	msg, err := st.frames.Recv()
	if err != nil {
		e := fromGRPC(st.ctx, err)
		if e.Reason == ReasonJWTExpired {
			st.refuseToken()
		}
		return frame{}, e
	}
	return fromMessage(msg), nil
}

func (st *grpcStream) refuseToken() { st.door.tokens.refuse(st.token) }

// leave has nothing to do: others may be on the connection, and it moves on by
// itself when the node has gone.
func (st *grpcStream) leave() {}
