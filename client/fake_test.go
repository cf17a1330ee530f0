package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// fake is a server that does what a test tells it, for the sequences of faults
// that a real one cannot be made to do on demand. It speaks real gRPC over a
// network in memory and runs in a test's bubble, on its clock.
type fake struct {
	isonlinev1.UnimplementedIsOnlineServiceServer
	listener *bufconn.Listener
	began    time.Time
	dials    atomic.Int32

	// streams answer the connects one after the other, the last one all later.
	streams   []func(*feed) error
	heartbeat time.Duration
	// refuse, if set, answers calls by their line of the journal.
	refuse  func(line string) error
	reject  []string      // users that are not watched
	friends []string      // of the user
	closed  chan struct{} // closed by the first Close call; its answer takes a second

	mu       sync.Mutex // guards all below
	lines    []string
	at       []time.Duration // since began, of lines
	makes    int
	connects int
}

// feed is one stream of a fake.
type feed struct {
	stream grpc.ServerStreamingServer[isonlinev1.ConnectToIsOnlineSessionResponse]
	number uint64
}

// do notes a call. Its token is the word after "Bearer".
func (f *fake) do(ctx context.Context, format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	f.mu.Lock()
	f.lines = append(f.lines, line)
	f.at = append(f.at, time.Since(f.began))
	f.mu.Unlock()
	if f.refuse != nil {
		if err := f.refuse(line + " as " + bearer(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func bearer(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.TrimPrefix(strings.Join(md.Get("authorization"), "?"), "Bearer ")
}

func (f *fake) MakeIsOnlineSession(ctx context.Context, r *isonlinev1.MakeIsOnlineSessionRequest) (*isonlinev1.MakeIsOnlineSessionResponse, error) {
	if r.GetIdempotencyKey() == "" {
		return nil, status.Error(codes.InvalidArgument, "no idempotency key")
	}
	if err := f.do(ctx, "make"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.makes++
	return &isonlinev1.MakeIsOnlineSessionResponse{
		SessionToken: fmt.Sprintf("s%d", f.makes), HeartbeatInterval: durationpb.New(f.heartbeat),
	}, nil
}

func (f *fake) ConnectToIsOnlineSession(r *isonlinev1.ConnectToIsOnlineSessionRequest, stream grpc.ServerStreamingServer[isonlinev1.ConnectToIsOnlineSessionResponse]) error {
	after := "-"
	if r.ResumeAfter != nil {
		after = fmt.Sprint(r.GetResumeAfter())
	}
	if err := f.do(stream.Context(), "connect %s after %s %s", r.GetSessionToken(), after, saying(r.GetInitial())); err != nil {
		return err
	}
	f.mu.Lock()
	script := f.streams[min(f.connects, len(f.streams)-1)]
	f.connects++
	f.mu.Unlock()
	return script(&feed{stream: stream, number: r.GetResumeAfter()})
}

func (f *fake) SubscribeToUsersIsOnline(ctx context.Context, r *isonlinev1.SubscribeToUsersIsOnlineRequest) (*isonlinev1.SubscribeToUsersIsOnlineResponse, error) {
	users := strings.Join(r.GetUserIds(), ",")
	if n := len(r.GetUserIds()); n > 5 {
		users = fmt.Sprint(n, " users")
	}
	if err := f.do(ctx, "watch %s %s", r.GetSessionToken(), users); err != nil {
		return nil, err
	}
	resp := &isonlinev1.SubscribeToUsersIsOnlineResponse{}
	for _, u := range r.GetUserIds() {
		if slices.Contains(f.reject, u) {
			resp.Rejected = append(resp.Rejected, u)
		}
	}
	return resp, nil
}

func (f *fake) UnsubscribeFromUserIsOnline(ctx context.Context, r *isonlinev1.UnsubscribeFromUserIsOnlineRequest) (*isonlinev1.UnsubscribeFromUserIsOnlineResponse, error) {
	err := f.do(ctx, "unwatch %s %s", r.GetSessionToken(), r.GetUserId())
	return &isonlinev1.UnsubscribeFromUserIsOnlineResponse{
		WasSubscribed: true, StillWatchedAsFriend: slices.Contains(f.friends, r.GetUserId()),
	}, err
}

func (f *fake) SubscribeToFriendsIsOnline(ctx context.Context, r *isonlinev1.SubscribeToFriendsIsOnlineRequest) (*isonlinev1.SubscribeToFriendsIsOnlineResponse, error) {
	return &isonlinev1.SubscribeToFriendsIsOnlineResponse{Friends: uint32(len(f.friends))}, f.do(ctx, "friends %s", r.GetSessionToken())
}

func (f *fake) UnsubscribeFromFriendsIsOnline(ctx context.Context, r *isonlinev1.UnsubscribeFromFriendsIsOnlineRequest) (*isonlinev1.UnsubscribeFromFriendsIsOnlineResponse, error) {
	return &isonlinev1.UnsubscribeFromFriendsIsOnlineResponse{}, f.do(ctx, "unfriends %s", r.GetSessionToken())
}

func (f *fake) UpdateIsOnlineSession(ctx context.Context, r *isonlinev1.UpdateIsOnlineSessionRequest) (*isonlinev1.UpdateIsOnlineSessionResponse, error) {
	return &isonlinev1.UpdateIsOnlineSessionResponse{}, f.do(ctx, "set %s %s", r.GetSessionToken(), saying(r.GetUpdate()))
}

func (f *fake) PartialUpdateIsOnlineSession(ctx context.Context, r *isonlinev1.PartialUpdateIsOnlineSessionRequest) (*isonlinev1.PartialUpdateIsOnlineSessionResponse, error) {
	return &isonlinev1.PartialUpdateIsOnlineSessionResponse{}, f.do(ctx, "patch %s %s", r.GetSessionToken(), saying(r.GetUpdate()))
}

func (f *fake) CloseIsOnlineSession(ctx context.Context, r *isonlinev1.CloseIsOnlineSessionRequest) (*isonlinev1.CloseIsOnlineSessionResponse, error) {
	err := f.do(ctx, "close %s %s", r.GetSessionToken(), r.GetMode())
	if f.closed != nil {
		close(f.closed)
		wait(ctx, time.Second)
	}
	return &isonlinev1.CloseIsOnlineSessionResponse{}, err
}

func (f *fake) HeartbeatIsOnlineSession(ctx context.Context, r *isonlinev1.HeartbeatIsOnlineSessionRequest) (*isonlinev1.HeartbeatIsOnlineSessionResponse, error) {
	resp := &isonlinev1.HeartbeatIsOnlineSessionResponse{NextWithin: durationpb.New(20 * time.Second), StreamAttached: true}
	return resp, f.do(ctx, "heartbeat %s", r.GetSessionToken())
}

func (f *fake) BatchGetUserIsOnline(ctx context.Context, r *isonlinev1.BatchGetUserIsOnlineRequest) (*isonlinev1.BatchGetUserIsOnlineResponse, error) {
	if err := f.do(ctx, "query %d in %s, %s", len(r.GetUserIds()), r.GetLocale(), r.GetDetail()); err != nil {
		return nil, err
	}
	resp := &isonlinev1.BatchGetUserIsOnlineResponse{}
	for _, u := range r.GetUserIds() {
		resp.Users = append(resp.Users, &isonlinev1.UserIsOnline{UserId: u, UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE})
	}
	return resp, nil
}

// saying is an update in a word.
func saying(u *isonlinev1.IsOnlineUpdate) string {
	out := strings.ToLower(strings.TrimPrefix(u.GetStatus().String(), "IS_ONLINE_STATUS_"))
	if text := u.GetRichText().GetLiteral(); text != "" {
		out += ":" + text
	}
	return out
}

// journal returns the calls so far.
func (f *fake) journal() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// times returns when the calls beginning with word came.
func (f *fake) times(word string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at []time.Duration
	for i, l := range f.lines {
		if strings.HasPrefix(l, word) {
			at = append(at, f.at[i])
		}
	}
	return at
}

func (f *fake) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := f.journal(); !slices.Equal(got, want) {
		t.Errorf("calls:\n got %q\nwant %q", got, want)
	}
}

// fault is a status with the details of the contract.
func fault(code codes.Code, reason Reason, details ...protoadapt.MessageV1) error {
	st := status.New(code, "as the test wants")
	all := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: string(reason), Domain: errorDomain}}, details...)
	st, err := st.WithDetails(all...)
	if err != nil {
		return err
	}
	return st.Err()
}

func retryInfo(d time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
}

func (d *feed) send(m *isonlinev1.ConnectToIsOnlineSessionResponse) {
	d.number++
	m.Sequence = d.number
	// A failure shows in what the client then does not know.
	_ = d.stream.Send(m)
}

func (d *feed) connected(c *isonlinev1.Connected) {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{Connected: c}})
}

func (d *feed) note(n *isonlinev1.IsOnlineNotification) {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: n}})
}

func (d *feed) settledAll() {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{
		SnapshotDone: &isonlinev1.SnapshotDone{Scope: &isonlinev1.SnapshotDone_All{All: true}},
	}})
}

func (d *feed) settledFriends() {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{
		SnapshotDone: &isonlinev1.SnapshotDone{Scope: &isonlinev1.SnapshotDone_Friends{Friends: true}},
	}})
}

func (d *feed) ended(user string, reason isonlinev1.SubscriptionEnded_Reason) {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_SubscriptionEnded{
		SubscriptionEnded: &isonlinev1.SubscriptionEnded{UserId: user, Reason: reason},
	}})
}

func (d *feed) closing(c *isonlinev1.Closing) {
	d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Closing{Closing: c}})
}

// hold keeps the stream open for so long (0: until the client goes).
func (d *feed) hold(for_ time.Duration) error {
	if for_ == 0 {
		<-d.stream.Context().Done()
	} else {
		wait(d.stream.Context(), for_)
	}
	return d.stream.Context().Err()
}

var errCut = status.Error(codes.Unavailable, "connection reset")
