package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// steady is a stream that never ends by itself.
func steady(d *feed) error {
	d.connected(&isonlinev1.Connected{Resumed: d.number > 0})
	return d.hold(0)
}

// breaking is a fake whose link goes down after a second, and stays down until
// the flag is taken back. It tells of users, all offline.
func breaking(users ...string) (*fake, *atomic.Bool) {
	down := new(atomic.Bool)
	return &fake{
		streams: []func(*feed) error{
			func(d *feed) error {
				d.connected(&isonlinev1.Connected{})
				for _, u := range users {
					d.note(offline(u))
				}
				d.settledAll()
				d.hold(time.Second)
				down.Store(true)
				return errCut
			},
			steady,
		},
		refuse: func(line string) error {
			switch {
			case down.Load():
				return errCut
			case strings.Contains(line, ":bad"):
				return fault(codes.InvalidArgument, ReasonFieldInvalid)
			}
			return nil
		},
	}, down
}

func TestAskedWhileTheLinkIsDown(t *testing.T) {
	t.Parallel()
	f, down := breaking("bob", "carol")
	bubble(t, f, func(t *testing.T, c *Client) {
		ctx := t.Context()
		s := open(t, c, Options{Watch: []string{"bob", "carol"}})
		expectTales(t, s, "bob offline", "carol offline", "link_down")
		calls := map[string]error{
			"Set":        s.Set(ctx, Status{Show: Busy, Text: "a"}),
			"SetPartial": s.SetPartial(ctx, Patch{Text: "b"}),
			"Watch":      s.Watch(ctx, "dave"),
			"Unwatch":    s.Unwatch(ctx, "bob", "carol"),
			"Watch back": s.Watch(ctx, "carol"),
		}
		for name, err := range calls {
			var e *Error
			if !errors.As(err, &e) || !e.Temporary() || e.Code != CodeUnavailable {
				t.Errorf("%s while down: got %v, want a temporary UNAVAILABLE", name, err)
			}
		}
		if got := s.Status(); got.Show != Busy || got.Text != "b" {
			t.Errorf("Status: got %+v, want busy b", got)
		}
		if _, ok := s.Presence("bob"); ok {
			t.Error("bob is still in the picture")
		}
		before := len(f.journal())
		down.Store(false)
		expectTales(t, s, "link_up")
		synctest.Wait()
		got := f.journal()[before:]
		for len(got) > 0 && strings.HasPrefix(got[0], "connect") {
			got = got[1:]
		}
		// Whom the server still watched is unwatched first, so that carol is told of again.
		story := strings.Join(got, "; ")
		for _, want := range []string{"unwatch s1 bob", "unwatch s1 carol", "; watch s1 carol,dave; set s1 busy:b"} {
			if !strings.Contains(story, want) {
				t.Errorf("told when the link is back: got %q, want %q in it", story, want)
			}
		}
		if err := s.SetPartial(ctx, Patch{Text: "c"}); err != nil {
			t.Errorf("SetPartial: %v", err)
		}
		if all := f.journal(); all[len(all)-1] != "patch s1 unspecified:c" {
			t.Errorf("in step again: got %q, want a patch", all[len(all)-1])
		}
	})
}

func TestRefusedStatusChangesNothing(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{steady}, refuse: func(line string) error {
		if strings.Contains(line, "too long") {
			return fault(codes.InvalidArgument, ReasonFieldInvalid, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "update.rich_text", Description: "at most 256 characters"},
			}})
		}
		return nil
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Status: Status{Text: "fine"}})
		err := s.Set(t.Context(), Status{Text: "too long"})
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInvalidArgument || e.Reason != ReasonFieldInvalid || e.Temporary() ||
			len(e.Fields) != 1 || e.Fields[0] != (Field{"update.rich_text", "at most 256 characters"}) {
			t.Errorf("Set: got %#v", err)
		}
		if got := s.Status().Text; got != "fine" {
			t.Errorf("Status: got %q, want the one before", got)
		}
		if _, err := c.Open(t.Context(), Options{Status: Status{Text: "too long"}}); ReasonOf(err) != ReasonFieldInvalid {
			t.Errorf("Open: got %v, want FIELD_INVALID", err)
		}
	})
}

// A status that could not be checked while the link was down must not keep the
// link from coming back.
func TestStatusRefusedAfterTheFact(t *testing.T) {
	t.Parallel()
	f, down := breaking()
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Status: Status{Text: "good"}})
		expectTales(t, s, "link_down")
		if err := s.Set(t.Context(), Status{Text: "bad"}); err == nil {
			t.Error("Set while down: got nil")
		}
		down.Store(false)
		expectTales(t, s, "link_up")
		expectQuiet(t, s, time.Minute)
		if got := s.Status().Text; got != "good" {
			t.Errorf("Status: got %q, want good", got)
		}
	})
}

func TestCallWithoutAnswerEnds(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{steady}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		block := make(chan struct{})
		defer close(block)
		f.refuse = func(string) error { <-block; return nil }
		began := time.Now()
		err := s.Set(t.Context(), Status{Show: Busy})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != callTimeout {
			t.Errorf("Set: got %v after %v, want the deadline after %v", err, time.Since(began), callTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Query(ctx, "bob"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Query: got %v, want the deadline", err)
		}
		// One call at a time tells the server; waiting for it ends with the context too.
		var first sync.WaitGroup
		first.Go(func() { _ = s.Set(t.Context(), Status{}) })
		synctest.Wait()
		began = time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Watch(ctx, "bob"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Watch behind a Set: got %v after %v, want the deadline after 1s", err, time.Since(began))
		}
		first.Wait()
	})
}

// Everything at once, with a link that breaks all the time: for the race
// detector, and for what must hold in the end.
func TestManyCallersOnABreakingLink(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.streams = []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{Resumed: d.number > 0, Resync: d.number%3 == 0})
		for i := range 20 {
			d.note(news(fmt.Sprintf("u%d", i%4), "x", updated, d.number, "t"))
			d.hold(50 * time.Millisecond)
		}
		if d.number%2 == 0 {
			return fault(codes.NotFound, ReasonSessionGone)
		}
		return errCut
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"u0"}})
		go func() {
			for range s.Changes() { // ends with the session
			}
		}()
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				user := fmt.Sprintf("u%d", i%4)
				for n := range 50 {
					// Which of them fail is up to the link.
					_ = s.Watch(t.Context(), user)
					_ = s.Set(t.Context(), Status{Text: fmt.Sprint(i, "-", n)})
					_, _ = s.Presence(user)
					_ = s.SetPartial(t.Context(), Patch{Show: Away})
					if n%3 == 0 {
						_ = s.Unwatch(t.Context(), user)
					}
					<-time.After(time.Duration(i+1) * 37 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		for i := range 4 {
			_ = s.Watch(t.Context(), fmt.Sprintf("u%d", i))
		}
		if got := len(s.Watched()); got != 4 {
			t.Errorf("watched: got %d, want 4", got)
		}
		if err := s.Err(); err != nil {
			t.Errorf("Err: %v", err)
		}
	})
}

// A status that reaches the server while a connect with an older one is on its
// way must win.
func TestSetDuringConnect(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{
		func(d *feed) error { d.connected(&isonlinev1.Connected{}); d.hold(time.Second); return errCut },
		func(d *feed) error {
			d.hold(10 * time.Second)
			d.connected(&isonlinev1.Connected{Resumed: true})
			return d.hold(0)
		},
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectTales(t, s, "link_down")
		<-time.After(5 * time.Second)
		if err := s.Set(t.Context(), Status{Show: Busy}); err != nil {
			t.Errorf("Set: %v", err)
		}
		expectTales(t, s, "link_up")
		synctest.Wait()
		f.expect(t, "make", "connect s1 after - unspecified", "connect s1 after 1 unspecified", "set s1 busy", "set s1 busy")
	})
}

// The stream looks alive, but a call learns that the session is gone.
func TestCallLearnsThatTheSessionIsGone(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{steady}, refuse: func(line string) error {
		if strings.HasPrefix(line, "set s1") || strings.HasPrefix(line, "connect s1 after 1") {
			return fault(codes.NotFound, ReasonSessionGone)
		}
		return nil
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		if err := s.Set(t.Context(), Status{Show: Busy}); ReasonOf(err) != ReasonSessionGone || !temporary(err) {
			t.Errorf("Set: got %v, want a temporary SESSION_GONE", err)
		}
		expectLinkBack(t, s)
		synctest.Wait()
		f.expect(t, "make", "connect s1 after - unspecified", "set s1 busy", "make", "connect s2 after - unspecified", "set s2 busy")
	})
}

// The link holds, but a call fails for a while: what it asked for is told later.
func TestOwedOnALinkThatHolds(t *testing.T) {
	t.Parallel()
	var fail atomic.Bool
	fail.Store(true)
	f := &fake{streams: []func(*feed) error{steady}, refuse: func(line string) error {
		if fail.Load() && !strings.HasPrefix(line, "make") && !strings.HasPrefix(line, "connect") {
			return fault(codes.ResourceExhausted, ReasonRateLimited, retryInfo(10*time.Second))
		}
		return nil
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		for i := range 3 {
			err := s.Set(t.Context(), Status{Show: Busy, Text: fmt.Sprint(i)})
			var e *Error
			if !errors.As(err, &e) || e.RetryAfter != 10*time.Second || !e.Temporary() {
				t.Errorf("Set: got %v, want a temporary error", err)
			}
		}
		if err := s.Watch(t.Context(), "bob"); !temporary(err) {
			t.Errorf("Watch: got %v, want a temporary error", err)
		}
		fail.Store(false)
		<-time.After(9 * time.Second)
		before := len(f.journal())
		<-time.After(2 * time.Second)
		got := strings.Join(f.journal()[before:], "; ")
		if want := "watch s1 bob; set s1 busy:2"; got != want {
			t.Errorf("told after the pause: got %q, want %q", got, want)
		}
		fail.Store(true)
		_ = s.Set(t.Context(), Status{Text: "kept"})
		fail.Store(false)
		if err := s.SetPartial(t.Context(), Patch{Show: Away}); err != nil {
			t.Errorf("SetPartial: %v", err)
		}
		all := f.journal()
		if got, want := all[len(all)-1], "set s1 away:kept"; got != want {
			t.Errorf("after a lost Set: got %q, want %q: the server has another base", got, want)
		}
		<-time.After(time.Minute)
		if n := len(f.journal()); n != len(all) {
			t.Errorf("%d calls though nothing is owed", n-len(all))
		}
		fail.Store(true)
		_ = s.Set(t.Context(), Status{Text: "again"})
		fail.Store(false)
		before = len(f.journal())
		<-time.After(11 * time.Second)
		got = strings.Join(f.journal()[before:], "; ")
		if want := "watch s1 bob; set s1 unspecified:again"; got != want {
			t.Errorf("owed once more: got %q, want %q", got, want)
		}
		expectQuiet(t, s, time.Minute)
	})
}
