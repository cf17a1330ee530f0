package bench

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// friendDevice is one session on a connection of its own.
type friendDevice struct {
	conn    *grpc.ClientConn
	service isonlinev1.IsOnlineServiceClient
	token   string // access token
	session string // session token
	stream  grpc.ServerStreamingClient[isonlinev1.ConnectToIsOnlineSessionResponse]
	cancel  context.CancelFunc
	events  chan *isonlinev1.ConnectToIsOnlineSessionResponse
	failed  chan error
}

// eventsAhead is how many events the stream's reader may be ahead of whoever
// waits for one: a whole snapshot of the longest list, so that the load never
// holds up the server.
const eventsAhead = 12_000

// device makes and connects a session of the user.
func (f *friends) device(ctx context.Context, user string) (*friendDevice, error) {
	token, err := f.cfg.Token(user, tokensPerUser)
	if err != nil {
		return nil, fmt.Errorf("access token of %s: %w", user, err)
	}
	conn, err := grpc.NewClient(f.cfg.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	d := &friendDevice{
		conn: conn, service: isonlinev1.NewIsOnlineServiceClient(conn), token: token,
		events: make(chan *isonlinev1.ConnectToIsOnlineSessionResponse, eventsAhead), failed: make(chan error, 1),
	}
	f.devices = append(f.devices, d)
	return d, d.open(ctx)
}

// as adds the access token to a call.
func (d *friendDevice) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+d.token)
}

func (d *friendDevice) open(ctx context.Context) error {
	ctx, d.cancel = context.WithCancel(ctx)
	made, err := d.service.MakeIsOnlineSession(d.as(ctx), &isonlinev1.MakeIsOnlineSessionRequest{Client: &isonlinev1.ClientInfo{Platform: "bench", Locale: "en"}})
	if err != nil {
		return fmt.Errorf("make a session: %w", err)
	}
	d.session = made.GetSessionToken()
	if d.stream, err = d.service.ConnectToIsOnlineSession(d.as(ctx), &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: d.session}); err != nil {
		return fmt.Errorf("connect the session: %w", err)
	}
	go d.read(ctx)
	return d.until(ctx, func(e *isonlinev1.ConnectToIsOnlineSessionResponse) bool { return e.GetConnected() != nil })
}

func (d *friendDevice) read(ctx context.Context) {
	for {
		e, err := d.stream.Recv()
		if err != nil {
			d.failed <- fmt.Errorf("the events stream ended: %w", err)
			return
		}
		select {
		case d.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// until takes events until one is wanted.
func (d *friendDevice) until(ctx context.Context, wanted func(*isonlinev1.ConnectToIsOnlineSessionResponse) bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for {
		select {
		case e := <-d.events:
			if wanted(e) {
				return nil
			}
		case err := <-d.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("nothing was told in time: %w", ctx.Err())
		}
	}
}

// subscribeFriends returns when the friends' snapshot is complete.
func (d *friendDevice) subscribeFriends(ctx context.Context) error {
	if _, err := d.service.SubscribeToFriendsIsOnline(d.as(ctx), &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: d.session}); err != nil {
		return fmt.Errorf("subscribe to friends: %w", err)
	}
	return d.until(ctx, func(e *isonlinev1.ConnectToIsOnlineSessionResponse) bool { return e.GetSnapshotDone().GetFriends() })
}

// close says goodbye, if there is time for it, and ends the connection.
func (d *friendDevice) close() {
	if d.stream != nil {
		ctx, cancel := context.WithTimeout(d.stream.Context(), answerLimit)
		_, _ = d.service.CloseIsOnlineSession(d.as(ctx), &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: d.session}) // its link's end says the same, later
		cancel()
	}
	if d.cancel != nil {
		d.cancel()
	}
	_ = d.conn.Close()
}
