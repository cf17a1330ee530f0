package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestSnapshotThenUpdates(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "mine"})
		first := news("bob", "b1", current, 1, "hi")
		first.Session.Properties = map[string]*isonlinev1.Value{
			"map":   {Kind: &isonlinev1.Value_Text{Text: "dust"}},
			"level": {Kind: &isonlinev1.Value_Integer{Integer: 7}},
		}
		first.Attributes = map[string]*structpb.Value{"team": structpb.NewStringValue("red")}
		d.note(first)
		d.note(offline("carol"))
		d.settledAll()
		d.hold(time.Second)
		d.note(news("bob", "b2", openedN, 1, ""))
		d.hold(time.Second)
		d.note(news("bob", "b1", updated, 3, "new"))
		d.note(news("bob", "b1", updated, 2, "old")) // overtaken
		d.note(news("zoe", "z1", openedN, 1, ""))    // nobody asked
		d.hold(time.Second)
		gone := news("bob", "b1", closedN, 3, "")
		gone.Session.CloseReason = isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT
		d.note(gone)
		d.note(news("bob", "b1", updated, 2, "ghost")) // overtaken
		d.hold(time.Second)
		last := news("bob", "b2", closedN, 1, "")
		last.UserFlag, last.LastSeen = isonlinev1.UserFlag_USER_FLAG_OFFLINE, timestamppb.New(noon)
		d.note(last)
		return d.hold(0)
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Status: Status{Show: Away, Text: "lunch"}, Watch: []string{"bob", "carol"}})
		f.expect(t, "make", "watch s1 bob,carol", "connect s1 after - away:lunch")
		if got := s.ID(); got != "mine" {
			t.Errorf("ID: got %q, want mine", got)
		}
		expectTales(t, s, "bob online current:b1=hi", "carol offline")
		p, ok := s.Presence("bob")
		if !ok || len(p.Sessions) != 1 || p.Attributes["team"] != "red" || !p.StaleSince.IsZero() {
			t.Fatalf("Presence(bob): got %+v, %v", p, ok)
		}
		b1, _ := p.Session("b1")
		if b1.Properties["map"] != "dust" || b1.Properties["level"] != int64(7) || b1.Show != Busy || b1.Platform != "web" {
			t.Errorf("session b1: got %+v", b1)
		}
		b1.Properties["map"] = "mine now"
		if p, _ := s.Presence("bob"); p.Sessions[0].Properties["map"] != "dust" {
			t.Error("a reader's write changed the picture")
		}
		expectTales(t, s, "bob online opened:b2", "bob online updated:b1=new",
			"bob online closed:b1=new/heartbeat", "bob offline closed:b2")
		if p, _ := s.Presence("bob"); p.Available || len(p.Sessions) != 0 || !p.LastSeen.Equal(noon) {
			t.Errorf("Presence(bob) at the end: got %+v", p)
		}
		if _, ok := s.Presence("zoe"); ok {
			t.Error("zoe is in the picture but nobody watches her")
		}
		expectQuiet(t, s, time.Minute)
	})
}

func TestResumeAfterCut(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{})
			d.note(news("bob", "b1", current, 1, "one"))
			d.settledAll()
			d.hold(40 * time.Second)
			return errCut
		},
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			d.note(news("bob", "b1", updated, 2, "two"))
			return d.hold(0)
		},
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob"}})
		expectTales(t, s, "bob online current:b1=one")
		down := next(t, s)
		if down.Kind != ChangeLinkDown || down.Err == nil || s.Connected() {
			t.Errorf("after the cut: got %+v, Connected %v", down, s.Connected())
		}
		p, ok := s.Presence("bob")
		if !ok || !p.Available || len(p.Sessions) != 1 || !p.StaleSince.Equal(down.At) {
			t.Errorf("while down: got %+v, want bob as he was, stale since %v", p, down.At)
		}
		expectTales(t, s, "link_up", "bob online updated:b1=two")
		if p, _ := s.Presence("bob"); !p.StaleSince.IsZero() || !s.Connected() {
			t.Errorf("after the resume: stale since %v, Connected %v", p.StaleSince, s.Connected())
		}
		f.expect(t, "make", "watch s1 bob", "connect s1 after - unspecified", "connect s1 after 3 unspecified")
		at := f.times("connect")
		if pause := at[1] - at[0] - 40*time.Second; pause < 500*time.Millisecond || pause > time.Second {
			t.Errorf("first pause: got %v, want 0.5 to 1 s", pause)
		}
	})
}

func TestResyncKeepsThePicture(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{})
			d.note(news("bob", "b1", current, 50, "same"))
			d.note(news("bob", "b2", current, 60, "leaves unseen"))
			d.note(news("carol", "c1", current, 70, "late"))
			d.settledAll()
			d.hold(time.Second)
			return errCut
		},
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true, Resync: true})
			d.hold(time.Second)
			d.note(news("bob", "b1", current, 2, "same")) // numbers began anew
			d.settledAll()                                // the server has no watch on carol
			d.hold(time.Second)
			d.note(news("carol", "c1", current, 1, "late")) // but now it has
			d.settledAll()
			d.hold(time.Second)
			d.note(news("bob", "b1", updated, 3, "after"))
			return d.hold(0)
		},
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Status: Status{Show: Busy}, Watch: []string{"bob", "carol"}})
		synctest.Wait() // so that the reader finds bob's two sessions as one change
		expectTales(t, s, "bob online current:b1=same current:b2=leaves unseen", "carol online current:c1=late", "link_down", "link_up")
		if p, _ := s.Presence("bob"); p.StaleSince.IsZero() {
			t.Error("bob is not marked stale before his snapshot")
		}
		// The whole story of the resync: one session is gone. Nobody flapped.
		expectTales(t, s, "bob online closed:b2=leaves unseen", "bob online updated:b1=after")
		for _, u := range []string{"bob", "carol"} {
			if p, _ := s.Presence(u); !p.StaleSince.IsZero() || len(p.Sessions) != 1 {
				t.Errorf("%s after the resync: got %+v", u, p)
			}
		}
		f.expect(t, "make", "watch s1 bob,carol", "connect s1 after - busy",
			"connect s1 after 5 busy", "watch s1 bob,carol", "set s1 busy")
		expectQuiet(t, s, time.Minute)
	})
}

func TestSessionGoneMakesAnother(t *testing.T) {
	t.Parallel()
	for _, reason := range []Reason{ReasonSessionGone, ReasonSessionTokenInvalid} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			f := &fake{streams: []func(*feed) error{
				func(d *feed) error {
					d.connected(&isonlinev1.Connected{SessionId: "m1"})
					d.note(news("bob", "b1", current, 9, "hi"))
					d.settledAll()
					d.hold(30 * time.Second)
					return errCut
				},
				func(*feed) error { return fault(codes.NotFound, reason) },
				func(d *feed) error {
					d.connected(&isonlinev1.Connected{SessionId: "m2"})
					d.note(news("bob", "b1", current, 1, "hi"))
					d.settledAll()
					return d.hold(0)
				},
			}}
			bubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{Watch: []string{"bob"}})
				if err := s.Set(t.Context(), Status{Show: Busy, Text: "x"}); err != nil {
					t.Fatalf("Set: %v", err)
				}
				expectTales(t, s, "bob online current:b1=hi", "link_down", "link_up")
				expectQuiet(t, s, time.Minute)
				f.expect(t, "make", "watch s1 bob", "connect s1 after - unspecified", "set s1 busy:x",
					"connect s1 after 3 busy:x", "make", "watch s2 bob", "connect s2 after - busy:x")
				if s.ID() != "m2" {
					t.Errorf("ID: got %q, want m2", s.ID())
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	const asked = 2345 * time.Millisecond
	draining := &isonlinev1.Closing{
		Reason: isonlinev1.ClosingReason_CLOSING_REASON_DRAINING, RetryAfter: durationpb.New(asked), SessionKept: true,
	}
	tests := []struct {
		name string
		end  func(*feed) error
	}{
		{"closing", func(d *feed) error { d.closing(draining); return errCut }},
		{"RetryInfo", func(*feed) error { return fault(codes.Unavailable, ReasonDraining, retryInfo(asked)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{streams: []func(*feed) error{
				func(d *feed) error {
					d.connected(&isonlinev1.Connected{})
					d.hold(5 * time.Second)
					return tt.end(d)
				},
				func(d *feed) error { d.connected(&isonlinev1.Connected{Resumed: true}); return d.hold(0) },
			}}
			bubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{})
				expectTales(t, s, "link_down", "link_up")
				at := f.times("connect")
				if got, want := at[1]-at[0], 5*time.Second+asked; got != want {
					t.Errorf("second connect after %v, want %v", got, want)
				}
			})
		})
	}
}

// A server that ends every stream at once must not make us run in circles,
// whatever it says while doing so.
func TestNoTightLoop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*feed) error
	}{
		{"OK at once", func(*feed) error { return nil }},
		{"OK after connected", func(d *feed) error { d.connected(&isonlinev1.Connected{Resumed: true}); return nil }},
		{"UNIMPLEMENTED", func(*feed) error { return fault(codes.Unimplemented, "") }},
		{"SESSION_GONE", func(*feed) error { return fault(codes.NotFound, ReasonSessionGone) }},
		{"JWT_EXPIRED after connected", func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			return fault(codes.Unauthenticated, ReasonJWTExpired)
		}},
		{"RESUME_FROM_FUTURE", func(*feed) error { return fault(codes.OutOfRange, ReasonResumeFromFuture) }},
		{"a tiny retry_after", func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			d.closing(&isonlinev1.Closing{Reason: isonlinev1.ClosingReason_CLOSING_REASON_SLOW, RetryAfter: durationpb.New(time.Millisecond)})
			return errCut
		}},
		{"closing SESSION_CLOSED expired", func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			d.closing(&isonlinev1.Closing{
				Reason: isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED, SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_EXPIRED,
			})
			return errCut
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{streams: []func(*feed) error{
				func(d *feed) error { d.connected(&isonlinev1.Connected{}); d.hold(time.Second); return errCut },
				tt.end,
			}}
			bubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{})
				expectOver(t, s, 10*time.Minute, false)
				// The shortest pauses are 0.5, 1, 2, 4, 8 and then 15 s, and one
				// attempt may come without.
				if n := len(f.times("connect")); n < 20 || n > 47 {
					t.Errorf("%d connects in 10 minutes, want 20 to 47", n)
				}
			})
		})
	}
}

// expectOver waits for d, or the end of s, and compares.
func expectOver(t *testing.T, s *Session, d time.Duration, want bool) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(d):
	}
	over := false
	select {
	case <-s.Done():
		over = true
	default:
	}
	if over != want {
		t.Fatalf("over: got %v (%v), want %v", over, s.Err(), want)
	}
}

func TestEndsThatStay(t *testing.T) {
	t.Parallel()
	closing := func(reason isonlinev1.ClosingReason, session isonlinev1.CloseReason) func(*feed) error {
		return func(d *feed) error {
			d.closing(&isonlinev1.Closing{Reason: reason, SessionCloseReason: session, SessionKept: true})
			return errCut
		}
	}
	const byServer = isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED
	tests := []struct {
		name string
		end  func(*feed) error
		want Reason
	}{
		{"replaced", closing(isonlinev1.ClosingReason_CLOSING_REASON_REPLACED_STREAM, 0), ReasonReplacedStream},
		{"replaced, without closing", func(*feed) error { return fault(codes.Aborted, ReasonReplacedStream) }, ReasonReplacedStream},
		{"superseded", closing(byServer, isonlinev1.CloseReason_CLOSE_REASON_SUPERSEDED), ReasonSessionClosed},
		{"dropped", closing(byServer, isonlinev1.CloseReason_CLOSE_REASON_ADMIN), ReasonSessionClosed},
		{"another's user", func(*feed) error { return fault(codes.PermissionDenied, ReasonSessionTokenNotYours) }, ReasonSessionTokenNotYours},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{streams: []func(*feed) error{func(d *feed) error {
				d.connected(&isonlinev1.Connected{})
				d.hold(time.Second)
				return tt.end(d)
			}}}
			bubble(t, f, func(t *testing.T, c *Client) {
				s := open(t, c, Options{})
				changes := s.Changes()
				expectOver(t, s, time.Minute, true)
				if got := ReasonOf(s.Err()); got != tt.want {
					t.Errorf("Err: got %v, want reason %s", s.Err(), tt.want)
				}
				for range changes { // ends
				}
				if s.Connected() {
					t.Error("Connected after the end")
				}
				if err := s.Set(t.Context(), Status{}); ReasonOf(err) != tt.want {
					t.Errorf("Set after the end: got %v, want reason %s", err, tt.want)
				}
				<-time.After(10 * time.Minute)
				if n := len(f.times("connect")); n != 1 {
					t.Errorf("%d connects, want 1", n)
				}
			})
		})
	}
}

func TestSlowReaderIsLateButRight(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{})
		d.note(news("bob", "b1", current, 1, "0"))
		d.note(offline("carol"))
		d.settledAll()
		d.hold(time.Second)
		d.note(news("bob", "b1", updated, 1, "x"))
		d.hold(time.Second)
		for i := range uint64(1000) {
			d.note(news("bob", "b1", updated, i+2, "x"))
			d.note(news("bob", "b2", openedN, i+1, ""))
			d.note(news("bob", "b2", closedN, i+1, ""))
			d.note(news("carol", "c1", openedN, i+1, ""))
			if i < 999 {
				d.note(offline("carol"))
			}
		}
		d.note(news("bob", "b1", updated, 2000, "newest"))
		return d.hold(0)
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob", "carol"}})
		expectTales(t, s, "bob online current:b1=0", "carol offline")
		<-time.After(time.Minute)
		// The first update was already in hand when the others came.
		first := tale(next(t, s))
		if first != "bob online updated:b1=x" {
			t.Errorf("in hand: got %q", first)
		}
		s.mu.Lock()
		waiting := len(s.queue.order)
		s.mu.Unlock()
		if waiting > 2 {
			t.Errorf("%d changes wait, want at most one per user", waiting)
		}
		got := []string{tale(next(t, s)), tale(next(t, s))}
		slices.Sort(got)
		want := []string{"bob online updated:b1=newest", "carol online opened:c1"}
		if !slices.Equal(got, want) {
			t.Errorf("late reader:\n got %q\nwant %q", got, want)
		}
		expectQuiet(t, s, time.Minute)
	})
}

func TestSilentStreamIsCut(t *testing.T) {
	t.Parallel()
	f := &fake{heartbeat: 10 * time.Second, streams: []func(*feed) error{
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{})
			for range 6 {
				d.hold(10 * time.Second)
				d.send(&isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_KeepAlive{}})
			}
			return d.hold(0)
		},
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			return d.hold(20 * time.Second)
		},
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		<-time.After(59 * time.Second)
		down := next(t, s)
		if !errors.Is(down.Err, errSilent) {
			t.Errorf("link down: got %v, want %v", down.Err, errSilent)
		}
		at := f.times("connect")
		if got := down.At.Sub(f.began) - at[0]; got != 90*time.Second {
			t.Errorf("cut after %v, want 60 s with and 30 s without a sign of life", got)
		}
		expectTales(t, s, "link_up")
		if last := f.journal()[2]; !strings.HasPrefix(last, "connect s1 after 7 ") {
			t.Errorf("resume: got %q, want after 7: keep-alives count", last)
		}
	})
}

func TestHeartbeatOption(t *testing.T) {
	t.Parallel()
	f := &fake{heartbeat: 12 * time.Second, streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{})
		return d.hold(30 * time.Second)
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Heartbeat: true})
		expectOver(t, s, 25*time.Second, false)
		// After 12 s, as the session was made; then half of the 20 s answered.
		want := []time.Duration{12 * time.Second, 22 * time.Second}
		if got := f.times("heartbeat s1"); !slices.Equal(got, want) {
			t.Errorf("heartbeats at %v, want %v", got, want)
		}
		if next, err := s.Heartbeat(t.Context()); err != nil || next != 20*time.Second {
			t.Errorf("Heartbeat: got %v, %v, want 20s", next, err)
		}
	})
}

func TestPauseHasBounds(t *testing.T) {
	t.Parallel()
	b := Backoff{}.withDefaults()
	tests := []struct {
		name     string
		failures int
		asked    time.Duration
		low, top time.Duration
	}{
		{"first", 1, 0, 500 * time.Millisecond, time.Second},
		{"second", 2, 0, time.Second, 2 * time.Second},
		{"fifth", 5, 0, 8 * time.Second, 16 * time.Second},
		{"sixth", 6, 0, 15 * time.Second, 30 * time.Second},
		{"millionth", 1e6, 0, 15 * time.Second, 30 * time.Second},
		{"asked", 1, time.Millisecond, time.Millisecond, time.Millisecond},
		{"asked for little again", 3, time.Millisecond, 2 * time.Second, 4 * time.Second},
		{"asked for much again", 3, time.Minute, time.Minute, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 200 {
				if got := b.pause(tt.failures, tt.asked); got < tt.low || got > tt.top {
					t.Fatalf("pause(%d, %v): got %v, want %v to %v", tt.failures, tt.asked, got, tt.low, tt.top)
				}
			}
		})
	}
}
