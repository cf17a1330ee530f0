package client

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

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

// Nodes that are restarted one after the other end a link every few seconds, and
// none of that is a failure: the pauses stay what the nodes ask for.
func TestPausesDoNotGrowWhileNodesAreRestarted(t *testing.T) {
	t.Parallel()
	const asked, rounds = 300 * time.Millisecond, 6
	f := &fake{}
	for range rounds {
		f.streams = append(f.streams, func(d *feed) error {
			d.connected(&isonlinev1.Connected{Resumed: true})
			d.hold(2 * time.Second)
			d.closing(&isonlinev1.Closing{
				Reason: isonlinev1.ClosingReason_CLOSING_REASON_DRAINING, RetryAfter: durationpb.New(asked), SessionKept: true,
			})
			return errCut
		})
	}
	f.streams = append(f.streams, func(d *feed) error { d.connected(&isonlinev1.Connected{Resumed: true}); return d.hold(0) })
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		for range rounds {
			expectTales(t, s, "link_down", "link_up")
		}
		at := f.times("connect")
		for i := range rounds {
			if got, want := at[i+1]-at[i], 2*time.Second+asked; got != want {
				t.Errorf("restart %d: connected again after %v, want %v", i+1, got, want)
			}
		}
	})
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

// Nobody comes back from the end that the stream names, though a call is told first
// that the session is gone, without a reason.
func TestGoneBeforeTheStreamSaysWhy(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{})
		d.hold(time.Second + 10*time.Millisecond)
		d.closing(&isonlinev1.Closing{
			Reason:             isonlinev1.ClosingReason_CLOSING_REASON_SESSION_CLOSED,
			SessionCloseReason: isonlinev1.CloseReason_CLOSE_REASON_ADMIN,
		})
		return errCut
	}}}
	f.refuse = func(line string) error {
		if strings.HasPrefix(line, "set") {
			return fault(codes.NotFound, ReasonSessionGone)
		}
		return nil
	}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		<-time.After(time.Second)
		if err := s.Set(t.Context(), Status{Show: Busy}); ReasonOf(err) != ReasonSessionGone {
			t.Errorf("Set: got %v, want SESSION_GONE", err)
		}
		expectOver(t, s, time.Minute, true)
		if ReasonOf(s.Err()) != ReasonSessionClosed {
			t.Errorf("over by %v, want what the stream said", s.Err())
		}
		f.expect(t, "make", "connect s1 after - unspecified", "set s1 busy")
	})
}

// lastWord is a stream that has a last frame.
type lastWord struct{ stream }

func (lastWord) next() (frame, error) {
	return frame{closing: &closing{reason: closingReplaced}}, nil
}

// What a stream's last frame says counts though this end cuts the stream meanwhile.
func TestLastFrameOfACutStream(t *testing.T) {
	t.Parallel()
	ctx, cut := context.WithCancelCause(t.Context())
	cut(errSilent)
	guard := time.NewTimer(time.Hour)
	if err := (&keeper{}).receive(ctx, lastWord{}, guard); ReasonOf(err) != ReasonReplacedStream {
		t.Errorf("got %v, want REPLACED_STREAM", err)
	}
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
