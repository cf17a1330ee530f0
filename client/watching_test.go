package client

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestWatchAndUnwatch(t *testing.T) {
	t.Parallel()
	f := &fake{
		streams: []func(*feed) error{func(d *feed) error {
			d.connected(&isonlinev1.Connected{})
			d.hold(10 * time.Second)
			d.note(offline("dave"))
			d.hold(10 * time.Second)
			d.note(news("dave", "d1", openedN, 1, "")) // on its way when dave was unwatched
			return d.hold(0)
		}},
		reject: []string{"eve"},
		refuse: func(line string) error {
			if strings.Contains(line, "too-many") {
				return fault(codes.ResourceExhausted, ReasonLimitSubscriptions)
			}
			return nil
		},
	}
	bubble(t, f, func(t *testing.T, c *Client) {
		ctx := t.Context()
		s := open(t, c, Options{})
		err := s.Watch(ctx, "dave", "eve", "dave")
		var e *Error
		if !errors.As(err, &e) || e.Reason != ReasonWatchRejected || len(e.Fields) != 1 || e.Fields[0].Path != "eve" {
			t.Errorf("Watch with a refused user: got %v", err)
		}
		if err := s.Watch(ctx, "dave"); err != nil {
			t.Errorf("Watch again: %v", err)
		}
		if err := s.Watch(ctx, "too-many"); ReasonOf(err) != ReasonLimitSubscriptions {
			t.Errorf("Watch over the limit: got %v", err)
		}
		if got := fmt.Sprint(s.Watched()); got != "[dave]" {
			t.Errorf("Watched: got %s, want [dave]", got)
		}
		expectTales(t, s, "dave offline")
		if err := s.Unwatch(ctx, "dave", "nobody"); err != nil {
			t.Errorf("Unwatch: %v", err)
		}
		expectQuiet(t, s, time.Minute)
		if _, ok := s.Presence("dave"); ok {
			t.Error("dave is in the picture after Unwatch")
		}
		f.expect(t, "make", "connect s1 after - unspecified", "watch s1 dave,eve", "watch s1 too-many", "unwatch s1 dave")
		if _, err := c.Open(ctx, Options{Watch: []string{"eve"}}); ReasonOf(err) != ReasonWatchRejected {
			t.Errorf("Open with a refused user: got %v", err)
		}
		for _, bad := range []string{"", strings.Repeat("x", 129), "\xff"} {
			if err := s.Watch(ctx, bad); ReasonOf(err) != ReasonFieldInvalid {
				t.Errorf("Watch(%q): got %v, want FIELD_INVALID", bad, err)
			}
		}
	})
}

func TestManyUsersGoInChunks(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{steady}}
	bubble(t, f, func(t *testing.T, c *Client) {
		users := make([]string, 450)
		for i := range users {
			users[i] = fmt.Sprintf("user-%03d", i)
		}
		got, err := c.Query(t.Context(), users...)
		if err != nil || len(got) != len(users) {
			t.Fatalf("Query: got %d, %v, want %d", len(got), err, len(users))
		}
		for i := range got {
			if got[i].User != users[i] {
				t.Fatalf("Query: entry %d is %q, want %q", i, got[i].User, users[i])
			}
		}
		if got, err := c.Query(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("Query of nobody: got %v, %v", got, err)
		}
		open(t, c, Options{Watch: users})
		f.expect(t, "query 200 in , DETAIL_SESSIONS", "query 200 in , DETAIL_SESSIONS", "query 50 in , DETAIL_SESSIONS",
			"make", "watch s1 200 users", "watch s1 200 users", "watch s1 50 users", "connect s1 after - unspecified")
	})
}

func TestWatchAloneIsOwed(t *testing.T) {
	t.Parallel()
	f, down := breaking()
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		expectTales(t, s, "link_down")
		if err := s.Watch(t.Context(), "bob"); !temporary(err) {
			t.Errorf("Watch while down: got %v, want a temporary error", err)
		}
		down.Store(false)
		expectTales(t, s, "link_up")
		synctest.Wait()
		if all := strings.Join(f.journal(), "; "); !strings.HasSuffix(all, "; watch s1 bob; set s1 unspecified") {
			t.Errorf("calls: got %q, want the watch at the end", all)
		}
	})
}

// A server that still watches a user would not tell of him again.
func TestWatchAfterAnUnwatchThatFailed(t *testing.T) {
	t.Parallel()
	var fail atomic.Bool
	fail.Store(true)
	f := &fake{streams: []func(*feed) error{steady}, refuse: func(line string) error {
		if fail.Load() && strings.HasPrefix(line, "unwatch") {
			return errCut
		}
		return nil
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Watch: []string{"bob"}})
		if err := s.Unwatch(t.Context(), "bob"); !temporary(err) {
			t.Errorf("Unwatch: got %v, want a temporary error", err)
		}
		fail.Store(false)
		if err := s.Watch(t.Context(), "bob"); err != nil {
			t.Errorf("Watch: %v", err)
		}
		f.expect(t, "make", "watch s1 bob", "connect s1 after - unspecified", "unwatch s1 bob", "unwatch s1 bob", "watch s1 bob")
	})
}
