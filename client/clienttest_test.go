package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Short names for the contract's.
const (
	current = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT
	openedN = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED
	updated = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_UPDATED
	closedN = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// news is a notification of a session of an available user.
func news(user, id string, kind isonlinev1.SessionEventKind, revision uint64, text string) *isonlinev1.IsOnlineNotification {
	return &isonlinev1.IsOnlineNotification{
		UserId: user, UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE,
		Session: &isonlinev1.SessionNotification{
			SessionId: id, Kind: kind, Revision: revision, RichText: text, Platform: "web",
			Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_BUSY, ConnectedAt: timestamppb.New(noon),
		},
	}
}

// offline is the notification of a user without a session.
func offline(user string) *isonlinev1.IsOnlineNotification {
	return &isonlinev1.IsOnlineNotification{
		UserId: user, UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE, LastSeen: timestamppb.New(noon),
	}
}

// bubble runs a test with a fake and a Client on a clock of its own.
func bubble(t *testing.T, f *fake, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := f.serve(t)
		c := newClient(t, f, Config{})
		defer func() {
			if err := c.Close(); err != nil {
				t.Errorf("Client.Close: %v", err)
			}
			srv.Stop()
			synctest.Wait()
		}()
		test(t, c)
	})
}

func (f *fake) serve(t *testing.T) *grpc.Server {
	t.Helper()
	f.began = time.Now()
	f.listener = bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	isonlinev1.RegisterIsOnlineServiceServer(srv, f)
	go func() {
		if err := srv.Serve(f.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("fake: %v", err)
		}
	}()
	return srv
}

// newClient connects to f; cfg may set what matters to the test.
func newClient(t *testing.T, f *fake, cfg Config) *Client {
	t.Helper()
	cfg.Addr = "localhost:7401"
	if cfg.Token == nil {
		cfg.Token = func(context.Context) (string, error) { return "t1", nil }
	}
	if cfg.Dialer == nil {
		cfg.Dialer = func(ctx context.Context, _ string) (net.Conn, error) {
			f.dials.Add(1)
			return f.listener.DialContext(ctx)
		}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

func open(t *testing.T, c *Client, o Options) *Session {
	t.Helper()
	s, err := c.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// next returns the next change, which must come within a minute.
func next(t *testing.T, s *Session) Change {
	t.Helper()
	select {
	case c, ok := <-s.Changes():
		if !ok {
			t.Fatalf("Changes is closed: %v", s.Err())
		}
		return c
	case <-time.After(time.Minute):
		t.Fatal("no change within a minute")
		return Change{}
	}
}

// tale is a change in a line.
func tale(c Change) string {
	if c.Kind != ChangePresence {
		return strings.TrimSpace(string(c.Kind) + " " + c.User)
	}
	out := c.User + " offline"
	if c.Presence.Available {
		out = c.User + " online"
	}
	for _, s := range c.Sessions {
		out += fmt.Sprintf(" %s:%s", s.Kind, s.Session.ID)
		if s.Session.Text != "" {
			out += "=" + s.Session.Text
		}
		if s.Reason != "" {
			out += "/" + string(s.Reason)
		}
	}
	return out
}

func expectTales(t *testing.T, s *Session, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := tale(next(t, s)); got != w {
			t.Fatalf("change %d: got %q, want %q", i, got, w)
		}
	}
}

// expectLinkBack waits for a link that comes back without a pause: whether the
// reader still sees it go is up to the scheduler.
func expectLinkBack(t *testing.T, s *Session) {
	t.Helper()
	got := tale(next(t, s))
	if got == "link_down" {
		got = tale(next(t, s))
	}
	if got != "link_up" {
		t.Fatalf("change: got %q, want link_up", got)
	}
}

// expectQuiet fails if a change comes within d.
func expectQuiet(t *testing.T, s *Session, d time.Duration) {
	t.Helper()
	select {
	case c := <-s.Changes():
		t.Fatalf("got change %q, want none", tale(c))
	case <-time.After(d):
	}
}
