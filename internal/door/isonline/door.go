package isonline

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Name of this door in devices' records.
const Name = "isonline"

// Bounds of what a peer may send (protocol note A5 and A6).
const (
	maxMessage = 512 << 10 // a SubscribeToUsers of 2,000 ids of 128 bytes, with room
	maxHeaders = 16 << 10  // a JWT is at most 8 KiB
	maxStreams = 10_000    // of one connection: a proxy may carry many users
	// minPing allows devices that ping every 10 s; grpc's default would end them
	// after half a minute (protocol note A6).
	minPing = 5 * time.Second
	// handshake is how long a peer may take to begin speaking HTTP/2.
	handshake = 10 * time.Second
)

// Config is what the door needs; all of it to Logger is required, but for Texts.
type Config struct {
	Gate    *admit.Gate
	Tracker *tracker.Tracker
	Wheel   *wheel.Wheel
	Texts   *localize.Set // nil: templates show their fallback text
	// Timeouts of all apps: the shortest sets how often the server pings, the
	// longest how long the transport waits before it gives a connection up.
	ShortestTimeout, LongestTimeout time.Duration
	Logger                          *slog.Logger

	// Nodes are the others; nil on a single node.
	Nodes Nodes
	// Called, when not nil, hears of each call that was answered: the method, OK or
	// the reason, and how long it took, or less than 0 for a stream.
	Called func(method, code string, took time.Duration)
	// Proxies are believed about the address of a client; nil: none.
	Proxies *listen.Proxies
	// TLS encrypts the gRPC port; nil leaves it in the clear.
	TLS *tls.Config
}

// Door is the IsOnline service of one node. Make it with New.
type Door struct {
	isonlinev1.UnimplementedIsOnlineServiceServer

	cfg    Config
	log    *slog.Logger
	server *grpc.Server
	health *health.Server
	enc    *encoder
	// flushers send for all streams.
	flushers *flushers
	// frames lends the room that a drain needs: most streams are idle most of the
	// time and should not own any.
	frames sync.Pool
}

var _ isonlinev1.IsOnlineServiceServer = (*Door)(nil)

// New returns a door that serves nothing yet.
func New(cfg Config) *Door {
	d := &Door{cfg: cfg, log: cfg.Logger, enc: &encoder{cfg.Texts}, flushers: newFlushers(cfg.Wheel)}
	security := insecure.NewCredentials()
	if cfg.TLS != nil {
		security = credentials.NewTLS(cfg.TLS)
	}
	d.server = grpc.NewServer(
		grpc.Creds(&counting{TransportCredentials: security, door: d}),
		grpc.ForceServerCodecV2(codec{}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: d.pingEvery(),
			// The timing wheel ends sessions, the transport never does.
			Timeout: cfg.LongestTimeout + time.Minute,
		}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshake),
		// Most connections are idle: buffers are lent while they are used (see
		// conn.ReadOnReady), and windows stay as they are, so that no ping goes
		// out with each request to measure them.
		grpc.SharedWriteBuffer(true), grpc.WriteBufferSize(8<<10), grpc.ReadBufferSize(16<<10),
		grpc.StaticStreamWindowSize(64<<10), grpc.StaticConnWindowSize(64<<10),
		grpc.ChainUnaryInterceptor(d.guardUnary), grpc.ChainStreamInterceptor(d.guardStream),
	)
	isonlinev1.RegisterIsOnlineServiceServer(d.server, d)
	d.health = health.NewServer()
	d.health.SetServingStatus(isonlinev1.IsOnlineService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(d.server, d.health)
	reflection.Register(d.server)
	return d
}

// Serve takes connections from l until Stop; then it returns nil.
func (d *Door) Serve(l net.Listener) error { return d.server.Serve(l) }

// pingEvery is how long a connection may be silent before the server pings.
func (d *Door) pingEvery() time.Duration { return PingEvery(d.cfg.ShortestTimeout) }

// PingEvery is how often the server pings a silent connection where the shortest
// heartbeat time-out is that.
func PingEvery(shortest time.Duration) time.Duration { return min(shortest/3, 10*time.Second) }

// Drain tells health checks that the node goes. Streams are told by the tracker.
func (d *Door) Drain() { d.health.Shutdown() }

// Leave is Drain where other nodes take the devices: no connection is taken any
// more, and those that there are learn that the next call needs another one, which
// may lead elsewhere. Calls and streams go on until Stop, which must follow.
func (d *Door) Leave() {
	d.Drain()
	go d.server.GracefulStop()
}

// Stop ends the door: it waits for calls that run until ctx is over, then cuts
// what is left.
func (d *Door) Stop(ctx context.Context) error {
	d.health.Shutdown()
	done := make(chan struct{})
	go func() { d.server.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		d.server.Stop()
		<-done
	}
	d.flushers.stop()
	return nil
}
