package client

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

const unfriended, unsubscribed = isonlinev1.SubscriptionEnded_NO_LONGER_FRIEND, isonlinev1.SubscriptionEnded_UNSUBSCRIBED

func expectKnown(t *testing.T, s *Session, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := s.Known(); !slices.Equal(got, want) {
		t.Errorf("known: got %q, want %q", got, want)
	}
}

// Friends are watched before the session connects, whoever they are; who is
// removed from the list leaves the picture, and who is added comes.
func TestFriends(t *testing.T) {
	t.Parallel()
	f := &fake{friends: []string{"bob"}, streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "me"})
		d.note(news("bob", "b1", current, 1, "hi"))
		d.note(offline("carol"))
		d.settledFriends()
		wait(d.stream.Context(), time.Second)
		d.ended("bob", unfriended)
		d.note(news("dave", "d1", current, 1, ""))
		d.ended("erin", unfriended) // watched by name, which the server does not know yet
		d.ended("nobody", unfriended)
		return d.hold(0)
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Friends: true, Watch: []string{"erin"}})
		expectTales(t, s, "bob online current:b1=hi", "carol offline", "unwatched bob", "dave online current:d1")
		expectQuiet(t, s, time.Second)
		expectKnown(t, s, "carol", "dave")
		f.expect(t, "make", "watch s1 erin", "friends s1", "connect s1 after - unspecified")
		if w := s.Watched(); len(w) != 1 {
			t.Errorf("watched by name: got %q, want erin alone", w)
		}
	})
}

// A list that cannot be read keeps no session from opening. It is asked for
// again, with pauses, and the reader is told once when that begins and ends.
func TestFriendsUnavailable(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "me"})
		return d.hold(0)
	}}}
	var tries atomic.Int32
	f.refuse = func(line string) error {
		if strings.HasPrefix(line, "friends") && tries.Add(1) <= 4 {
			return fault(codes.Unavailable, ReasonFriendsUnavailable, retryInfo(2*time.Second))
		}
		return nil
	}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Friends: true})
		down := next(t, s)
		if down.Kind != ChangeFriendsDown || ReasonOf(down.Err) != ReasonFriendsUnavailable {
			t.Errorf("got %+v, want friends_down with its reason", down)
		}
		expectTales(t, s, "friends_up")
		at := f.times("friends")
		if len(at) != 5 || at[1] != at[0] || at[2]-at[1] != 2*time.Second || at[3]-at[2] < 2*time.Second {
			t.Errorf("asked at %v, want before and after connecting, and then with pauses of 2 s and more", at)
		}
		if n := f.times("connect"); len(n) != 1 {
			t.Errorf("%d connects, want one: the link is well", len(n))
		}
		expectQuiet(t, s, time.Minute)
	})
}

// What cannot get better ends Open; later it is told.
func TestFriendsRefused(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "me"})
		return d.hold(0)
	}}}
	f.refuse = func(line string) error {
		if strings.HasPrefix(line, "friends") {
			return fault(codes.ResourceExhausted, ReasonLimitFriends)
		}
		return nil
	}
	bubble(t, f, func(t *testing.T, c *Client) {
		if _, err := c.Open(t.Context(), Options{Friends: true}); ReasonOf(err) != ReasonLimitFriends {
			t.Errorf("Open: got %v, want LIMIT_FRIENDS", err)
		}
		s := open(t, c, Options{})
		if err := s.WatchFriends(t.Context()); ReasonOf(err) != ReasonLimitFriends {
			t.Errorf("WatchFriends: got %v, want LIMIT_FRIENDS", err)
		}
		expectTales(t, s, "friends_down")
		expectQuiet(t, s, time.Minute)
		if n := len(f.times("friends")); n != 2 {
			t.Errorf("asked %d times, want twice: it cannot get better", n)
		}
	})
}

// When the server starts over, the friends are asked for again, and who is none
// any more leaves the picture with the snapshot's end.
func TestFriendsAfterResync(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{SessionId: "me"})
			d.note(news("bob", "b1", current, 1, ""))
			d.note(news("carol", "c1", current, 1, ""))
			d.settledFriends()
			wait(d.stream.Context(), time.Second)
			return errCut
		},
		func(d *feed) error {
			d.connected(&isonlinev1.Connected{SessionId: "me", Resumed: true, Resync: true})
			d.note(news("carol", "c1", current, 1, ""))
			d.settledAll()
			wait(d.stream.Context(), time.Second)
			d.settledFriends()
			return d.hold(0)
		},
	}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Friends: true})
		expectTales(t, s, "bob online current:b1", "carol online current:c1", "link_down", "link_up")
		if p, ok := s.Presence("bob"); !ok || p.StaleSince.IsZero() {
			t.Errorf("bob: got %+v, %v, want him stale until the snapshot's end", p, ok)
		}
		expectTales(t, s, "unwatched bob")
		expectKnown(t, s, "carol")
		f.expect(t, "make", "friends s1", "connect s1 after - unspecified", "connect s1 after 4 unspecified", "friends s1", "set s1 unspecified")
	})
}

// Unwatched by name, a friend stays and who is none leaves; nothing that was on
// its way brings him back, until he is told of anew.
func TestUnwatchAmongFriends(t *testing.T) {
	t.Parallel()
	f := &fake{friends: []string{"bob"}, streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "me"})
		d.note(news("bob", "b1", current, 1, ""))
		d.note(news("carol", "c1", current, 1, ""))
		wait(d.stream.Context(), 10*time.Second)
		d.note(news("bob", "b1", updated, 2, "a friend"))
		d.note(news("carol", "c1", updated, 2, "late"))
		d.ended("carol", unsubscribed)
		wait(d.stream.Context(), 10*time.Second)
		d.note(news("carol", "c1", current, 3, "a friend now"))
		return d.hold(0)
	}}}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{Friends: true, Watch: []string{"bob", "carol"}})
		expectTales(t, s, "bob online current:b1", "carol online current:c1")
		if err := s.Unwatch(t.Context(), "bob", "carol"); err != nil {
			t.Fatal(err)
		}
		expectKnown(t, s, "bob")
		expectTales(t, s, "bob online updated:b1=a friend", "carol online current:c1=a friend now")
	})
}

// Friends come and go while the session runs, also over a link that fails.
func TestWatchFriendsAtRunTime(t *testing.T) {
	t.Parallel()
	f := &fake{streams: []func(*feed) error{func(d *feed) error {
		d.connected(&isonlinev1.Connected{SessionId: "me"})
		for n := range 30 {
			wait(d.stream.Context(), time.Second)
			d.note(news("bob", "b1", current, uint64(n), fmt.Sprint(n)))
		}
		return d.hold(0)
	}}}
	var down atomic.Bool
	f.refuse = func(line string) error {
		if down.Load() && strings.Contains(line, "friends") {
			return errCut
		}
		return nil
	}
	bubble(t, f, func(t *testing.T, c *Client) {
		s := open(t, c, Options{})
		wait(t.Context(), 1500*time.Millisecond)
		expectKnown(t, s) // nobody asked for bob
		down.Store(true)
		if err := s.WatchFriends(t.Context()); !temporary(err) {
			t.Errorf("WatchFriends: got %v, want a temporary failure", err)
		}
		down.Store(false)
		wait(t.Context(), 5*time.Second)
		expectKnown(t, s, "bob")
		down.Store(true)
		if err := s.UnwatchFriends(t.Context()); !temporary(err) {
			t.Errorf("UnwatchFriends: got %v, want a temporary failure", err)
		}
		expectKnown(t, s)
		if err := s.WatchFriends(t.Context()); !temporary(err) {
			t.Errorf("WatchFriends again: got %v, want a temporary failure", err)
		}
		down.Store(false)
		wait(t.Context(), 5*time.Second)
		expectKnown(t, s, "bob")
		if err := s.UnwatchFriends(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.UnwatchFriends(t.Context()); err != nil {
			t.Error(err)
		}
		wait(t.Context(), 5*time.Second)
		expectKnown(t, s)
		var calls []string
		for _, l := range f.journal() {
			if strings.Contains(l, "friends") {
				calls = append(calls, l)
			}
		}
		// Before the friends are asked for anew, the server must have heard that
		// they were left: it would not tell of them again.
		want := []string{"friends s1", "friends s1", "unfriends s1", "unfriends s1", "unfriends s1", "friends s1", "unfriends s1"}
		if !slices.Equal(calls, want) {
			t.Errorf("calls: got %q, want %q", calls, want)
		}
	})
}
