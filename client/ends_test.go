package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestGoodbyes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(context.Context, *Session) error
		want string // the last call; "" is none
	}{
		{"Leave", func(ctx context.Context, s *Session) error { return s.Leave(ctx) }, "close s1 CLOSE_MODE_LEAVE"},
		{"Logout", func(ctx context.Context, s *Session) error { return s.Logout(ctx) }, "close s1 CLOSE_MODE_LOGOUT"},
		{"Close", func(_ context.Context, s *Session) error { s.Close(); return nil }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{streams: []func(*feed) error{steady}}
			bubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{})
				changes := s.Changes()
				if err := tt.end(t.Context(), s); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				expectOver(t, s, 0, true)
				if _, ok := <-changes; ok || !errors.Is(s.Err(), ErrClosed) {
					t.Errorf("after %s: changes open %v, Err %v", tt.name, ok, s.Err())
				}
				if err := s.Watch(t.Context(), "bob"); !errors.Is(err, ErrClosed) {
					t.Errorf("Watch: got %v, want ErrClosed", err)
				}
				if err := s.Leave(t.Context()); !errors.Is(err, ErrClosed) {
					t.Errorf("Leave after the end: got %v, want ErrClosed", err)
				}
				s.Close()
				want := []string{"make", "connect s1 after - unspecified"}
				if tt.want != "" {
					want = append(want, tt.want)
				}
				f.expect(t, want...)
			})
		})
	}
}

func TestLeaveWhileTheLinkIsDown(t *testing.T) {
	t.Parallel()
	f, _ := breaking()
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectTales(t, s, "link_down")
		if err := s.Leave(t.Context()); !temporary(err) {
			t.Errorf("Leave: got %v, want a temporary error", err)
		}
		expectOver(t, s, 0, true)
		calls := len(f.journal())
		<-time.After(10 * time.Minute)
		if n := len(f.journal()); n != calls {
			t.Errorf("%d calls after the session was over, want none", n-calls)
		}
	})
}

func TestOpenWithoutAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{streams: []func(*feed) error{steady}}
		srv := f.serve(t)
		var there atomic.Bool
		var dials atomic.Int32
		c := newClient(t, f, Config{Dialer: func(ctx context.Context, _ string) (net.Conn, error) {
			dials.Add(1)
			if !there.Load() {
				return nil, errors.New("connection refused")
			}
			return f.listener.DialContext(ctx)
		}})
		began := time.Now()
		_, err := c.Open(t.Context(), Options{})
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeUnavailable || !strings.Contains(err.Error(), "connection refused") || time.Since(began) > time.Second {
			t.Errorf("Open: got %v after %v, want connection refused at once", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		_, err = c.Open(ctx, Options{Patient: true})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("patient Open: got %v, want the deadline and the last attempt", err)
		}
		// One dial for each attempt: nothing below tries on its own account.
		if n := dials.Load(); n < 20 || n > 47 {
			t.Errorf("%d dials in 10 minutes, want 20 to 47", n)
		}
		time.AfterFunc(time.Minute, func() { there.Store(true) })
		s, err := c.Open(t.Context(), Options{Patient: true})
		if err != nil {
			t.Fatalf("patient Open: %v", err)
		}
		if s.Connected() != true {
			t.Error("Open returned before the link was up")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Open(t.Context(), Options{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Open after Close: got %v, want ErrClosed", err)
		}
		if _, err := c.Query(t.Context(), "bob"); !errors.Is(err, ErrClosed) {
			t.Errorf("Query after Close: got %v, want ErrClosed", err)
		}
		srv.Stop()
	})
}

// The server ends the stream because we said goodbye: that is no reason to
// come back, nor an error.
func TestStreamEndsBeforeGoodbyeIsAnswered(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.streams = []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{})
		select {
		case <-f.closed:
		case <-d.stream.Context().Done():
		}
		d.closing(&isonlinev1.Closing{
			Reason:             isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED,
			SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_CLIENT,
		})
		return nil
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		f.closed = make(chan struct{})
		s := open(t, c, Options{})
		if err := s.Leave(t.Context()); err != nil {
			t.Errorf("Leave: %v", err)
		}
		if !errors.Is(s.Err(), ErrClosed) {
			t.Errorf("Err: got %v, want ErrClosed", s.Err())
		}
		f.expect(t, "make", "connect s1 after - unspecified", "close s1 CLOSE_MODE_LEAVE")
	})
}

// Links that hold and then break each get the first, short pause.
func TestHealthyLinkStartsOver(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{Resumed: d.number > 0})
		d.hold(31 * time.Second)
		return errCut
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectOver(t, s, 10*time.Minute, false)
		at := f.times("connect")
		for i := range at[1:] {
			if gap := at[i+1] - at[i]; gap > 32*time.Second {
				t.Errorf("connect %d came %v after the one before, want at most 32 s", i+1, gap)
			}
		}
	})
}
