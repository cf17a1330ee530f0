package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
